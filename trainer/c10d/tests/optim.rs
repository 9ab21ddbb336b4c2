//! Optimizers and clipping: equal to their definitions, resumable to the bit.
#![allow(clippy::disallowed_methods)] // what these tests compare with has no reducer
#![allow(clippy::unwrap_used)] // Test code, helpers included.

mod support;

use lockstep_c10d::{AdamW, AdamWOptions, Decay, Error, Optimizer, Parameters, Sgd, SgdOptions};
use support::{Model, bits, max_difference, noise};
use tch::{Device, Kind, Tensor};

type State = Vec<(String, Tensor)>;

/// One parameter of 500 numbers.
fn one_param() -> (Parameters, Tensor) {
    let tensor = noise(7, 500).set_requires_grad(true);
    (Parameters::new(vec![("w".to_owned(), tensor.shallow_clone())]).unwrap(), tensor)
}

/// Gives `tensor` the gradient `grad`.
fn set_grad(params: &Parameters, tensor: &Tensor, grad: &Tensor) {
    params.zero_grad().unwrap();
    (tensor * grad).sum(Kind::Float).backward();
}

fn grad_of(step: i64) -> Tensor {
    noise(10_000 + 500 * step, 500) * 3.0
}

/// Runs 20 steps with a schedule and compares with `reference`, which is given the parameter and the gradient in f64.
fn compare(
    mut optimizer: Box<dyn Optimizer>,
    params: &Parameters,
    tensor: &Tensor,
    mut reference: impl FnMut(&Tensor, &Tensor, f64) -> Tensor,
) {
    let mut expected = tensor.detach().to_kind(Kind::Double);
    for step in 0..20 {
        let lr = 0.1 / (1.0 + step as f64);
        set_grad(params, tensor, &grad_of(step));
        optimizer.step(lr, None).unwrap();
        expected = reference(&expected, &grad_of(step).to_kind(Kind::Double), lr);
        let difference = max_difference(&tensor.detach().to_kind(Kind::Double), &expected);
        assert!(difference < 2e-6, "step {step}: {difference:e}");
    }
}

#[test]
fn adamw_follows_its_definition() {
    let (params, tensor) = one_param();
    let options = AdamWOptions { betas: (0.8, 0.99), eps: 1e-6, weight_decay: 0.1, ..Default::default() };
    let (mut m, mut v, mut t) = (Tensor::from(0f64), Tensor::from(0f64), 0);
    compare(Box::new(AdamW::new(&params, options).unwrap()), &params, &tensor, move |w, g, lr| {
        t += 1;
        m = &m * 0.8 + g * 0.2;
        v = &v * 0.99 + g * g * 0.01;
        let (m_hat, v_hat) = (&m / (1.0 - 0.8f64.powi(t)), &v / (1.0 - 0.99f64.powi(t)));
        w * (1.0 - lr * 0.1) - lr * m_hat / (v_hat.sqrt() + 1e-6)
    });
}

#[test]
fn sgd_follows_its_definition() {
    for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
        let (params, tensor) = one_param();
        let options = SgdOptions { momentum, weight_decay: 0.05, nesterov, ..Default::default() };
        let mut buffer = Tensor::from(0f64);
        compare(Box::new(Sgd::new(&params, options).unwrap()), &params, &tensor, move |w, g, lr| {
            let g = g + w * 0.05;
            buffer = &buffer * momentum + &g;
            w - lr * if nesterov { g + &buffer * momentum } else { buffer.copy() }
        });
    }
}

fn optimizers(params: &Parameters) -> Vec<Box<dyn Optimizer>> {
    let momentum = SgdOptions { momentum: 0.9, weight_decay: 0.01, nesterov: true, ..Default::default() };
    vec![
        Box::new(AdamW::new(params, AdamWOptions::default()).unwrap()),
        Box::new(Sgd::new(params, momentum).unwrap()),
        Box::new(Sgd::new(params, SgdOptions::default()).unwrap()),
    ]
}

fn train(model: &Model, optimizer: &mut dyn Optimizer, steps: std::ops::Range<i64>) {
    for step in steps {
        model.params.zero_grad().unwrap();
        model.loss(step * 8, 8).backward();
        let norm = model.params.clip_grad_norm(Some(0.5)).unwrap();
        optimizer.step(0.05, Some(&norm.non_finite)).unwrap();
    }
}

#[test]
fn a_resumed_optimizer_has_the_same_bits() {
    for kind in 0..3 {
        let straight = Model::new();
        train(&straight, &mut *optimizers(&straight.params).swap_remove(kind), 0..10);

        let first = Model::new();
        let mut optimizer = optimizers(&first.params).swap_remove(kind);
        train(&first, &mut *optimizer, 0..4);
        let saved: Vec<_> =
            optimizer.state().into_iter().map(|(name, tensor)| (name, tensor.copy())).collect();

        let second = Model::new();
        tch::no_grad(|| {
            for (to, from) in second.params.tensors().iter().zip(first.params.tensors()) {
                to.shallow_clone().copy_(from);
            }
        });
        let mut optimizer = optimizers(&second.params).swap_remove(kind);
        optimizer.load_state(&saved).unwrap();
        train(&second, &mut *optimizer, 4..10);
        assert!(bits(&second.values()) == bits(&straight.values()), "optimizer {kind}");
    }
}

#[test]
fn state_has_plain_names_and_refuses_what_does_not_fit() {
    let (params, _) = one_param();
    let names =
        |optimizer: &dyn Optimizer| optimizer.state().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let mut all = optimizers(&params);
    assert_eq!(names(&*all[0]), ["step", "w.exp_avg", "w.exp_avg_sq"]);
    assert_eq!(names(&*all[1]), ["w.momentum_buffer"]);
    assert!(all[2].state().is_empty());

    let good = all[0].state();
    let with = |change: &dyn Fn(&mut State)| {
        let mut state: Vec<_> = good.iter().map(|(name, tensor)| (name.clone(), tensor + 1.0)).collect();
        change(&mut state);
        state
    };
    let bad = [
        ("\"w.exp_avg\" is missing", with(&|state| drop(state.remove(1)))),
        (
            "\"more\" is not of this optimizer",
            with(&|state| state.push(("more".to_owned(), Tensor::from(1f32)))),
        ),
        ("given twice", with(&|state| state.push(("step".to_owned(), Tensor::from(1f32))))),
        ("(Float, [500])", with(&|state| state[2].1 = Tensor::zeros([499], (Kind::Float, Device::Cpu)))),
        ("(Float, [])", with(&|state| state[0].1 = Tensor::from(1f64))),
        ("\"step\" is missing", with(&|state| state[0].1 = Tensor::new())),
    ];
    for (what, state) in bad {
        let error = all[0].load_state(&state).unwrap_err().to_string();
        assert!(error.contains(what), "{what}: {error}");
        assert!(all[0].state().iter().all(|(_, tensor)| tensor.abs().max().double_value(&[]) == 0.0));
    }
}

#[test]
fn a_step_with_infinite_gradients_changes_nothing() {
    for value in [f64::INFINITY, f64::NAN] {
        let (params, tensor) = one_param();
        for mut optimizer in optimizers(&params) {
            set_grad(&params, &tensor, &grad_of(0));
            optimizer.step(0.1, None).unwrap();
            let before: Vec<_> = optimizer.state().iter().map(|(_, tensor)| bits(tensor)).collect();
            let weights = bits(&tensor);

            let grad = grad_of(1);
            let _ = grad.get(17).fill_(value);
            set_grad(&params, &tensor, &grad);
            let norm = params.clip_grad_norm(Some(1.0)).unwrap();
            assert_eq!(norm.non_finite.double_value(&[]), 1.0);
            assert!(!norm.norm.double_value(&[]).is_finite());
            optimizer.step(0.1, Some(&norm.non_finite)).unwrap();

            assert!(bits(&tensor) == weights);
            let after: Vec<_> = optimizer.state().iter().map(|(_, tensor)| bits(tensor)).collect();
            assert!(after == before);
        }
    }
}

#[test]
fn clipping_scales_all_gradients_to_the_norm() {
    let model = Model::new();
    model.loss(0, 8).backward();
    let before = model.grads().copy();
    let norm = before.to_kind(Kind::Double).norm().double_value(&[]);

    let measured = model.params.clip_grad_norm(None).unwrap();
    assert!((measured.norm.double_value(&[]) / norm - 1.0).abs() < 1e-6);
    assert_eq!(measured.non_finite.double_value(&[]), 0.0);
    assert!(bits(&model.grads()) == bits(&before), "no maximum, no change");
    model.params.clip_grad_norm(Some(norm * 2.0)).unwrap();
    assert!(bits(&model.grads()) == bits(&before), "below the maximum, no change");

    let clipped = model.params.clip_grad_norm(Some(norm / 4.0)).unwrap();
    assert!(max_difference(&model.grads(), &(&before / 4.0)) < 1e-6);
    assert!((clipped.norm.double_value(&[]) / norm - 1.0).abs() < 1e-6, "the norm before clipping");
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(model.params.clip_grad_norm(Some(bad)), Err(Error::Invalid { .. })));
    }
}

#[test]
fn a_missing_gradient_is_an_exception_of_cpp_and_an_error_here() {
    let (params, _) = one_param();
    params.zero_grad().unwrap();
    let mut errors: Vec<Error> =
        optimizers(&params).iter_mut().map(|optimizer| optimizer.step(0.1, None).unwrap_err()).collect();
    errors.push(params.clip_grad_norm(None).unwrap_err());
    for error in errors {
        let text = error.to_string();
        assert!(matches!(error, Error::Torch { .. }) && text.contains("has no gradient"), "{text}");
        assert!(!text.contains("Exception raised from") && !text.contains(".so"), "{text}");
    }
}

#[test]
fn bad_options_and_flags_are_refused() {
    let (params, tensor) = one_param();
    for betas in [(1.0, 0.9), (0.9, -0.1), (f64::NAN, 0.9)] {
        assert!(AdamW::new(&params, AdamWOptions { betas, ..Default::default() }).is_err());
    }
    for momentum in [1.0, -0.1, f64::NAN] {
        assert!(Sgd::new(&params, SgdOptions { momentum, ..Default::default() }).is_err());
    }
    assert!(Sgd::new(&params, SgdOptions { nesterov: true, ..Default::default() }).is_err());
    set_grad(&params, &tensor, &grad_of(0));
    for mut optimizer in optimizers(&params) {
        for flag in [Tensor::new(), Tensor::from(1f64), Tensor::zeros([2], (Kind::Float, Device::Cpu))] {
            assert!(matches!(optimizer.step(0.1, Some(&flag)), Err(Error::Invalid { .. })));
        }
    }
}

#[test]
fn parameters_are_checked_and_ordered_by_creation() {
    let model = Model::new();
    assert_eq!(model.params.names(), ["hidden.bias", "hidden.weight", "out.bias", "out.weight"]);
    let leaf = || Tensor::ones([4, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let named = |tensor: Tensor| vec![("w".to_owned(), tensor)];
    let bad = [
        vec![],
        named(Tensor::new()),
        named(Tensor::ones([2], (Kind::Float, Device::Cpu))),
        named(leaf() * 2.0),
        named(Tensor::ones([4, 4], (Kind::Float, Device::Cpu)).tr().narrow(0, 0, 2).set_requires_grad(true)),
        [named(leaf()), named(leaf())].into_iter().flatten().collect(),
        vec![("a\0b".to_owned(), leaf())],
    ];
    for (i, named) in bad.into_iter().enumerate() {
        assert!(matches!(Parameters::new(named), Err(Error::Invalid { .. })), "{i}");
    }
}

/// Without gradients nothing moves but what decays.
#[test]
fn weights_decay_of_the_parameters_that_are_meant_to() {
    let made = |shape: &[i64]| {
        let tensor = Tensor::ones(shape, (Kind::Float, Device::Cpu)).set_requires_grad(true);
        (tensor.square().sum(Kind::Float) * 0.0).backward();
        tensor
    };
    for (decay, expected) in [(Decay::All, [0.99; 3]), (Decay::Matrices, [1.0, 0.99, 1.0])] {
        let tensors = [made(&[3]), made(&[2, 2]), made(&[])];
        let named = ["bias", "weight", "scale"].map(str::to_owned).into_iter();
        let params = Parameters::new(named.zip(tensors.iter().map(Tensor::shallow_clone)).collect()).unwrap();
        let sgd = SgdOptions { weight_decay: 0.1, decay, momentum: 0.9, ..Default::default() };
        let adamw = AdamWOptions { weight_decay: 0.1, decay, ..Default::default() };
        let optimizers: [Box<dyn Optimizer>; 2] =
            [Box::new(AdamW::new(&params, adamw).unwrap()), Box::new(Sgd::new(&params, sgd).unwrap())];
        for mut optimizer in optimizers {
            tensors.iter().for_each(|tensor| drop(tch::no_grad(|| tensor.shallow_clone().fill_(1.0))));
            optimizer.step(0.1, None).unwrap();
            let found = tensors.each_ref().map(|tensor| tensor.mean(Kind::Double).double_value(&[]));
            let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6);
            assert!(close, "{decay:?}: {found:?} in {optimizer:?}");
            let names: Vec<_> = optimizer.state().into_iter().map(|(name, _)| name).collect();
            let place = |name: &str| names.iter().position(|n| n.starts_with(name)).unwrap();
            assert!(place("bias.") < place("weight.") && place("weight.") < place("scale."), "{names:?}");
        }
    }
}
