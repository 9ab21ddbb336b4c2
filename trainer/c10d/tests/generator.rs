//! The generator of random numbers. There is one in each process, so its test shares a program with no other that draws.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_c10d::rng;
use tch::{Device, Kind, Tensor};

fn bits(tensor: &Tensor) -> Vec<u32> {
    Vec::<f32>::try_from(tensor).unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn the_generator_goes_on_from_its_state() {
    let draw = || {
        let x = Tensor::randn([33], (Kind::Float, Device::Cpu));
        bits(&x.dropout(0.5, true))
    };
    rng::seed(42).unwrap();
    let first = draw();
    let state = rng::state().unwrap();
    let second = draw();
    rng::seed(42).unwrap();
    assert_eq!(draw(), first);
    rng::set_state(&state).unwrap();
    assert_eq!(draw(), second);
    tch::manual_seed(42);
    assert_eq!(draw(), first, "the same seed as in libtorch");
    rng::seed(u64::MAX).unwrap();

    rng::set_state(&state).unwrap();
    let bad = [
        Tensor::new(),
        Tensor::zeros([3], (Kind::Uint8, Device::Cpu)),
        Tensor::zeros(state.size(), (Kind::Uint8, Device::Cpu)),
        Tensor::zeros(state.size(), (Kind::Float, Device::Cpu)),
    ];
    for (i, bad) in bad.iter().enumerate() {
        assert!(rng::set_state(bad).is_err(), "{i}");
    }
    assert_eq!(draw(), second, "a refused state changes nothing");
}
