//! Gradients that are exchanged in 16 bits: close to those in 32, and the same on all ranks.
#![allow(clippy::unwrap_used)] // Test code, helpers included.

mod support;

use lockstep_c10d::{BucketPlan, Error, Exchange, GlooGroup, Parameters, Reducer};
use support::{Model, bits, ranks};
use tch::{Device, Kind, Tensor};

/// What a rounding may move a number by, relative to it.
fn rounding(exchange: Exchange) -> f64 {
    match exchange {
        Exchange::Whole => f64::from(f32::EPSILON) / 2.0,
        Exchange::BFloat16 => 1.0 / 256.0,
        Exchange::Half => 1.0 / 2048.0,
    }
}

fn reducer(group: &GlooGroup, params: &Parameters, exchange: Exchange) -> Reducer {
    let plan = BucketPlan::new(&params.sizes().unwrap(), 64, 600).unwrap();
    Reducer::exchanging(group, params, &plan, exchange).unwrap()
}

/// The averaged gradients of a few steps, of all ranks. Beside each, what this rank has put in.
fn steps(world_size: usize, exchange: Exchange) -> Vec<Vec<(Tensor, Tensor)>> {
    ranks(world_size, move |rank| {
        let group = rank.form("group").unwrap();
        let (model, alone) = (Model::new(), Model::new());
        let mut reducer = reducer(&group, &model.params, exchange);
        let step = |step: usize| {
            let start = (step * world_size + rank.rank) as i64 * 8;
            model.params.zero_grad().unwrap();
            // In two parts: what is added up on a rank is not rounded in between.
            reducer.accumulate(&(model.loss(start, 4) / 2)).unwrap();
            reducer.backward(&(model.loss(start + 4, 4) / 2)).unwrap();
            alone.params.zero_grad().unwrap();
            for part in [0, 4] {
                #[allow(clippy::disallowed_methods)] // what is compared with has no reducer
                (alone.loss(start + part, 4) / 2).backward();
            }
            (model.grads().copy(), alone.grads())
        };
        (0..3).map(step).collect()
    })
}

#[test]
fn all_ranks_get_the_same_bits_within_the_rounding_of_the_kind() {
    for world_size in [2, 3] {
        for exchange in [Exchange::BFloat16, Exchange::Half] {
            let of_ranks = steps(world_size, exchange);
            for step in 0..3 {
                let averaged = &of_ranks[0][step].0;
                for (rank, steps) in of_ranks.iter().enumerate() {
                    assert!(
                        bits(&steps[step].0) == bits(averaged),
                        "rank {rank} of {world_size}, {exchange:?}"
                    );
                }
                let parts =
                    || of_ranks.iter().map(|steps| steps[step].1.to_kind(Kind::Double) / world_size as f64);
                let exact = parts().reduce(|sum, part| sum + part).unwrap();
                let sizes = parts().map(|part| part.abs()).reduce(|sum, part| sum + part).unwrap();
                // Each part is rounded by the cast and by the division, and each sum of two once more. Below the smallest normal
                // number of Half, roundings are absolute.
                let within = sizes * (rounding(exchange) * (world_size + 1) as f64) + 1e-6;
                let apart = (averaged.to_kind(Kind::Double) - exact).abs();
                assert!(bool::try_from(apart.le_tensor(&within).all()).unwrap(), "{exchange:?}: {apart:?}");
                assert!(apart.max().double_value(&[]) > 1e-6, "{exchange:?} was not rounded");
            }
        }
    }
}

/// Casts and sums of two ranks are few enough to be done by hand: the cast first, then the division, then the sum.
#[test]
fn two_ranks_get_the_bits_that_the_definition_says() {
    for (exchange, kind) in [(Exchange::BFloat16, Kind::BFloat16), (Exchange::Half, Kind::Half)] {
        let of_ranks = steps(2, exchange);
        for (step, ((averaged, a), (_, b))) in of_ranks[0].iter().zip(&of_ranks[1]).enumerate() {
            let part = |mine: &Tensor| mine.to_kind(kind) / 2;
            let expected = (part(a) + part(b)).to_kind(Kind::Float);
            assert!(bits(averaged) == bits(&expected), "{exchange:?}, step {step}");
        }
    }
}

#[test]
fn one_rank_rounds_nothing() {
    let whole = steps(1, Exchange::Whole);
    for exchange in [Exchange::BFloat16, Exchange::Half] {
        for (a, b) in whole[0].iter().zip(&steps(1, exchange)[0]) {
            assert!(bits(&a.0) == bits(&b.0), "{exchange:?}");
        }
    }
}

/// One parameter whose gradient is this number on each rank.
fn average_of(number: f64, exchange: Exchange) -> f64 {
    let all = ranks(2, move |rank| {
        let group = rank.form("group").unwrap();
        let weight = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let params = Parameters::new(vec![("weight".to_owned(), weight.shallow_clone())]).unwrap();
        let mut reducer = reducer(&group, &params, exchange);
        reducer.backward(&(weight.sum(Kind::Float) * number)).unwrap();
        weight.grad().double_value(&[1])
    });
    assert!(all[0].to_bits() == all[1].to_bits(), "{all:?}");
    all[0]
}

#[test]
fn a_gradient_beyond_the_range_of_half_becomes_infinite() {
    assert!((average_of(1e5, Exchange::BFloat16) - 1e5).abs() < 500.0);
    assert!(average_of(1e5, Exchange::Half).is_infinite());
    assert!((average_of(6e4, Exchange::Half) - 6e4).abs() < 40.0, "its half is sent, so the sum has room");
}

#[test]
fn ranks_that_exchange_other_numbers_all_learn_so() {
    let all = ranks(3, |rank| {
        let group = rank.form("group").unwrap();
        let model = Model::new();
        let exchange = if rank.rank == 1 { Exchange::Half } else { Exchange::BFloat16 };
        let plan = model.params.bucket_plan().unwrap();
        let error = Reducer::exchanging(&group, &model.params, &plan, exchange).unwrap_err();
        let Error::Mismatch { ranks, .. } = &error else { panic!("{error:?}") };
        ranks.clone()
    });
    assert_eq!(all, vec![vec![1]; 3]);
}

#[test]
fn a_rank_that_leaves_fails_the_others_backward() {
    ranks(3, |rank| {
        let group = rank.form("group").unwrap();
        let model = Model::new();
        let mut reducer = reducer(&group, &model.params, Exchange::BFloat16);
        reducer.backward(&model.loss(0, 8)).unwrap();
        if rank.rank != 2 {
            let error = reducer.backward(&model.loss(0, 8)).unwrap_err();
            assert!(matches!(error, Error::PeerLost { operation: "backward", .. }), "{error:?}");
        }
    });
}
