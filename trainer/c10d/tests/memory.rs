//! Training takes no memory from step to step. Alone in its process, so that it can measure it.
#![allow(clippy::unwrap_used)] // Test code, helpers included.

mod support;

use lockstep_c10d::{Parameters, Reducer};
use support::ranks;
use tch::{Device, Kind, Tensor};

#[test]
fn the_notes_for_rebuilding_buckets_do_not_pile_up() {
    ranks(1, |rank| {
        let group = rank.form("group").unwrap();
        // As many parameters as make a leak of 16 bytes each a step plain to see: 4 MB in 600 steps.
        let tensors: Vec<Tensor> =
            (0..400).map(|_| Tensor::ones([1], (Kind::Float, Device::Cpu)).set_requires_grad(true)).collect();
        let named = tensors.iter().enumerate().map(|(i, tensor)| (i.to_string(), tensor.shallow_clone()));
        let params = Parameters::new(named.collect()).unwrap();
        let mut reducer = Reducer::new(&group, &params, &params.bucket_plan().unwrap()).unwrap();
        let mut run = |steps| {
            for _ in 0..steps {
                params.zero_grad().unwrap();
                reducer.backward(&Tensor::cat(&tensors, 0).sum(Kind::Float)).unwrap();
            }
            resident_bytes()
        };
        let before = run(100);
        let after = run(600);
        assert!(after < before + (2 << 20), "{before} -> {after} bytes");
    });
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
