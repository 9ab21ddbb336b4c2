//! What backward computes again has the bits of what is kept.
#![allow(clippy::disallowed_methods)] // there is no reducer here
#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use lockstep_c10d::{Autocast, BucketPlan, Error, Parameters, Reducer, Result, recompute, rng};
use support::{bits, noise, ranks};
use tch::{Device, Kind, TchError, Tensor, nn};

/// Held by each test: a process has one generator, and keeps what was cast for all its threads. Where another thread clears that
/// between two uses of a matrix, its gradient is added up of two casts, in other bits.
static ALONE: Mutex<()> = Mutex::new(());

fn block(weight: &Tensor, x: &Tensor) -> Result<Tensor, TchError> {
    x.f_matmul(weight)?.f_tanh()?.f_dropout(0.5, true)?.f_matmul(weight)?.f_add(x)
}

/// What comes out of two blocks, and the gradients of their weights and of the input.
fn learned(recomputes: bool, precision: Kind, is_cast_in_backward: bool) -> [Tensor; 4] {
    rng::seed(5).unwrap();
    let options = (Kind::Float, Device::Cpu);
    let [first, second] = [0, 1].map(|_| Tensor::randn([16, 16], options).set_requires_grad(true));
    let x = Tensor::randn([4, 16], options).set_requires_grad(true);
    let mut autocast = (precision != Kind::Float).then(|| Autocast::begin(Device::Cpu, precision).unwrap());
    let once = |weight: &Tensor, x: &Tensor| {
        let weight = weight.shallow_clone();
        match recomputes {
            true => recompute(x, move |x| block(&weight, x)).unwrap(),
            false => block(&weight, x).unwrap(),
        }
    };
    let made = once(&second, &once(&first, &x));
    let loss = made.sum(Kind::Float);
    let drawn = rng::state().unwrap();
    if !is_cast_in_backward {
        autocast = None;
    }
    loss.backward();
    drop(autocast);
    assert_eq!(rng::state().unwrap(), drawn, "backward draws nothing that others see");
    [made, first.grad(), second.grad(), x.grad()]
}

#[test]
fn gradients_have_the_bits_of_what_is_kept() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (precision, inside) in [(Kind::Float, false), (Kind::BFloat16, false), (Kind::BFloat16, true)] {
        let (again, kept) = (learned(true, precision, inside), learned(false, precision, false));
        assert!(kept.iter().all(|t| f64::try_from(t.abs().max()).unwrap() > 0.1));
        assert_eq!(again, kept, "{precision:?} {inside}");
    }
}

#[test]
fn what_goes_wrong_is_told_in_either_pass() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let x = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let error = recompute(&x, |_| Err::<Tensor, _>("no luck")).unwrap_err();
    assert!(matches!(&error, Error::Torch { message, .. } if message.contains("no luck")), "{error}");
    let error = recompute(&x, |_| -> Result<Tensor> { panic!("oh") }).unwrap_err();
    assert!(error.to_string().contains("panicked: oh"), "{error}");
    let calls = AtomicU32::new(0);
    let made = recompute(&x, move |x| match calls.fetch_add(1, Ordering::Relaxed) {
        0 => Ok(x.sin()),
        _ => Err("not twice"),
    });
    let error = made.unwrap().sum(Kind::Float).f_backward().unwrap_err();
    assert!(error.to_string().contains("not twice"), "{error}");
    let error = recompute(&x.detach(), |x| x.f_sin()).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}

#[test]
fn what_it_holds_is_released_with_the_graph() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    struct Released<'a>(&'a AtomicU32);
    impl Drop for Released<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let x = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let held = Released(&COUNT);
    let made = recompute(&x, move |x| {
        let _held = &held;
        x.f_sin()
    });
    assert_eq!(COUNT.load(Ordering::Relaxed), 0);
    drop(made);
    assert_eq!(COUNT.load(Ordering::Relaxed), 1);
    let held = Released(&COUNT);
    let refused = recompute(&x, move |_| {
        let _held = &held;
        Err::<Tensor, _>("no")
    });
    refused.unwrap_err();
    assert_eq!(COUNT.load(Ordering::Relaxed), 2);
}

/// Gradients of three matrices on two ranks after each of two steps; each has a bucket of its own. Those at the end are computed
/// again.
fn averaged(computed_again: usize) -> Vec<Vec<Vec<u32>>> {
    ranks(2, move |rank| {
        let group = rank.form("group").unwrap();
        let vars = nn::VarStore::new(Device::Cpu);
        let weights: Vec<_> = (0..3)
            .map(|i| {
                let mut weight = vars.root().zeros(&format!("{i}"), &[16, 16]);
                tch::no_grad(|| weight.copy_(&noise(1000 * i, 256).view([16, 16])));
                weight
            })
            .collect();
        let params = Parameters::of(&vars).unwrap();
        let plan = BucketPlan::new(&params.sizes().unwrap(), 64, 600).unwrap();
        assert_eq!(plan.buckets().len(), 3);
        let mut reducer = Reducer::new(&group, &params, &plan).unwrap();
        let step = |step: i64| {
            params.zero_grad().unwrap();
            let start = 64 * (2 * step + rank.rank as i64);
            let mut x = noise(start, 64).view([4, 16]).set_requires_grad(true);
            for (i, weight) in weights.iter().enumerate() {
                let weight = weight.shallow_clone();
                let forward = move |x: &Tensor| x.f_matmul(&weight)?.f_tanh();
                x = match i + computed_again < 3 {
                    true => forward(&x).unwrap(),
                    false => recompute(&x, forward).unwrap(),
                };
            }
            reducer.backward(&x.square().sum(Kind::Float)).unwrap();
            weights.iter().flat_map(|weight| bits(&weight.grad())).collect()
        };
        (0..2).map(step).collect()
    })
}

/// With all three, the last bucket is full in the middle of an inner backward pass.
#[test]
fn the_reducer_averages_what_is_computed_again() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = averaged(0);
    assert!(kept[0] == kept[1] && kept[0][0] != kept[0][1]);
    for computed_again in [2, 3] {
        assert!(averaged(computed_again) == kept, "{computed_again} of 3");
    }
}
