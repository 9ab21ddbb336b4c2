//! The reducer: gradients of several ranks equal those of one, on all ranks, in every run.
#![allow(clippy::disallowed_methods)] // what these tests compare with has no reducer
#![allow(clippy::unwrap_used)] // Test code, helpers included.

mod support;

use std::time::{Duration, Instant};

use lockstep_c10d::{
    BucketPlan, Error, Exchange, GlooGroup, Optimizer, Parameters, ProcessGroup, Reducer, Sgd, SgdOptions,
};
use support::{Model, bits, max_difference, ranks};
use tch::{Device, Kind, Tensor};

const BATCH: i64 = 32;

/// Several buckets for the small model: its parameters have 16 B to 2 KB.
fn small_buckets(params: &Parameters) -> BucketPlan {
    let plan = BucketPlan::new(&params.sizes().unwrap(), 64, 600).unwrap();
    assert!(plan.buckets().len() > 2);
    plan
}

fn reducer(group: &GlooGroup, model: &Model) -> Reducer {
    group.broadcast_coalesced(model.params.tensors(), 0).unwrap();
    Reducer::new(group, &model.params, &small_buckets(&model.params)).unwrap()
}

/// Steps of SGD on `world_size` ranks that share a batch, each rank's part in `micro` pieces.
fn train(world_size: usize, micro: i64, steps: i64) -> Vec<(Vec<u32>, Tensor, Tensor)> {
    ranks(world_size, move |rank| {
        let group = rank.form("group").unwrap();
        let model = Model::new();
        let mut reducer = reducer(&group, &model);
        let options = SgdOptions { momentum: 0.9, ..SgdOptions::default() };
        let mut sgd = Sgd::new(&model.params, options).unwrap();
        let samples = BATCH / (world_size as i64 * micro);
        let mut first_grads = Tensor::new();
        for step in 0..steps {
            model.params.zero_grad().unwrap();
            let start = step * BATCH + rank.rank as i64 * samples * micro;
            for i in 0..micro {
                let loss = model.loss(start + i * samples, samples) / micro;
                if i + 1 < micro {
                    reducer.accumulate(&loss).unwrap();
                } else {
                    reducer.backward(&loss).unwrap();
                }
            }
            if step == 0 {
                first_grads = model.grads().copy();
            }
            sgd.step(0.1, None).unwrap();
        }
        (bits(&model.values()), first_grads, model.values())
    })
}

#[test]
fn gradients_equal_those_of_one_process_with_the_whole_batch() {
    let model = Model::new();
    model.loss(0, BATCH).backward();
    for (world_size, micro) in [(1, 1), (1, 4), (2, 1), (2, 2), (4, 1), (4, 2)] {
        for (_, grads, _) in train(world_size, micro, 1) {
            let difference = max_difference(&grads, &model.grads());
            assert!(difference <= 1e-6, "{world_size} ranks, {micro} micro batches: {difference:e}");
        }
    }
}

#[test]
fn four_ranks_have_the_same_bits_in_every_run() {
    let first = train(4, 2, 10);
    let again = train(4, 2, 10);
    for (rank, run) in first.iter().chain(&again).enumerate() {
        assert!(run.0 == first[0].0, "rank {} of run {} has other bits", rank % 4, rank / 4);
    }
    let alone = train(1, 2, 10);
    let difference = max_difference(&first[0].2, &alone[0].2);
    assert!(difference <= 1e-5, "after 10 steps: {difference:e}");
}

#[test]
fn one_small_bucket_is_added_up_in_rank_order() {
    for world_size in [2, 3, 4] {
        let of_ranks = ranks(world_size, move |rank| {
            let group = rank.form("group").unwrap();
            let model = Model::new();
            let plan = model.params.bucket_plan().unwrap();
            assert_eq!(plan.buckets().len(), 1);
            let mut reducer = Reducer::new(&group, &model.params, &plan).unwrap();
            let steps = (0..3).map(|step| {
                let start = (step * world_size as i64 + rank.rank as i64) * 8;
                model.params.zero_grad().unwrap();
                reducer.backward(&model.loss(start, 8)).unwrap();
                let averaged = model.grads().copy();
                let alone = Model::new();
                alone.loss(start, 8).backward();
                (averaged, alone.grads() / world_size as i64)
            });
            steps.collect::<Vec<_>>()
        });
        for step in 0..3 {
            let parts = of_ranks.iter().map(|steps| steps[step].1.copy());
            // A ring begins the sum of each of its segments at another rank, and gets other bits.
            let expected = parts.reduce(|sum, part| sum + part).unwrap();
            for (rank, steps) in of_ranks.iter().enumerate() {
                let averaged = bits(&steps[step].0);
                assert!(averaged == bits(&expected), "rank {rank} of {world_size}, step {step}");
            }
        }
    }
}

#[test]
fn buckets_change_the_bits_so_they_must_not_change() {
    let grads = |caps: (u64, u64)| {
        let all = ranks(4, move |rank| {
            let group = rank.form("group").unwrap();
            let model = Model::new();
            let plan = BucketPlan::new(&model.params.sizes().unwrap(), caps.0, caps.1).unwrap();
            let mut reducer = Reducer::new(&group, &model.params, &plan).unwrap();
            let step = |reducer: &mut Reducer, at: i64| {
                model.params.zero_grad().unwrap();
                reducer.backward(&model.loss(at, 8)).unwrap();
                bits(&model.grads())
            };
            // libtorch lays its buckets out anew after the first backward; ours stay.
            let first = step(&mut reducer, rank.rank as i64 * 8);
            let second = step(&mut reducer, rank.rank as i64 * 8);
            (first, second)
        });
        assert!(all[0].0 == all[0].1, "the same batch gave other bits in the second step");
        all[0].0.clone()
    };
    assert!(grads((64, 600)) != grads((1 << 20, 25 << 20)), "this test needs plans that make a difference");
}

#[test]
fn gradients_that_are_not_cleared_add_up() {
    ranks(2, |rank| {
        let group = rank.form("group").unwrap();
        let model = Model::new();
        let mut reducer = reducer(&group, &model);
        reducer.backward(&model.loss(0, 8)).unwrap();
        let once = model.grads().copy();
        reducer.accumulate(&model.loss(0, 8)).unwrap();
        assert!(max_difference(&model.grads(), &(&once * 2)) <= 1e-6);
        // A new step starts from nothing, views of buckets or not.
        model.params.zero_grad().unwrap();
        assert!(model.params.tensors().iter().all(|tensor| !tensor.grad().defined()));
        reducer.backward(&model.loss(0, 8)).unwrap();
        assert_eq!(bits(&model.grads()), bits(&once));
    });
}

fn param(name: &str, size: i64, kind: Kind) -> (String, Tensor) {
    (name.to_owned(), Tensor::zeros([size], (kind, Device::Cpu)).set_requires_grad(true))
}

#[test]
fn ranks_with_different_models_all_learn_so() {
    let ranks_that_differ = |what: fn(usize) -> Vec<(String, Tensor)>| {
        ranks(3, move |rank| {
            let group = rank.form("group").unwrap();
            let params = Parameters::new(what(rank.rank)).unwrap();
            let error = Reducer::new(&group, &params, &params.bucket_plan().unwrap()).unwrap_err();
            assert!(!error.is_group_lost());
            group.barrier(Duration::from_secs(10)).unwrap();
            let Error::Mismatch { ranks, .. } = &error else { panic!("{error:?}") };
            assert!(!error.to_string().contains("Exception raised from"));
            ranks.clone()
        })
    };
    let shapes = ranks_that_differ(|rank| vec![param("a", if rank == 2 { 4 } else { 3 }, Kind::Float)]);
    assert_eq!(shapes, vec![vec![2]; 3]);
    let kinds =
        ranks_that_differ(|rank| vec![param("a", 3, if rank == 1 { Kind::Double } else { Kind::Float })]);
    assert_eq!(kinds, vec![vec![1]; 3]);
    let names = ranks_that_differ(|rank| vec![param(if rank == 1 { "b" } else { "a" }, 3, Kind::Float)]);
    assert_eq!(names, vec![vec![1]; 3]);
    let counts =
        ranks_that_differ(|rank| (0..=rank / 2).map(|i| param(&i.to_string(), 3, Kind::Float)).collect());
    assert!(counts.iter().all(|ranks| ranks.contains(&2)), "{counts:?}");
}

#[test]
fn a_parameter_without_gradient_is_told_in_the_same_step() {
    ranks(2, |rank| {
        let group = rank.form("group").unwrap();
        let used = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let unused = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let params =
            Parameters::new(vec![("used".to_owned(), used.shallow_clone()), ("unused".to_owned(), unused)])
                .unwrap();
        let mut reducer = Reducer::new(&group, &params, &params.bucket_plan().unwrap()).unwrap();
        let error = reducer.backward(&used.sum(Kind::Float)).unwrap_err();
        assert!(matches!(error, Error::Torch { operation: "backward", .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("did not receive grad") && !text.contains("Exception raised from"), "{text}");
        assert!(matches!(reducer.backward(&used.sum(Kind::Float)), Err(Error::Aborted { .. })));
    });
}

#[test]
fn a_rank_that_leaves_fails_the_others_backward() {
    ranks(4, |rank| {
        let group = rank.form("group").unwrap();
        let model = Model::new();
        let mut reducer = reducer(&group, &model);
        reducer.backward(&model.loss(0, 8)).unwrap();
        if rank.rank != 2 {
            let error = reducer.backward(&model.loss(0, 8)).unwrap_err();
            assert!(matches!(error, Error::PeerLost { operation: "backward", .. }), "{error:?}");
            // The group's first error closed it; backward without it is still possible.
            model.params.zero_grad().unwrap();
            model.loss(0, 8).backward();
        }
    });
}

#[test]
fn a_bad_loss_is_refused_before_anything_is_sent() {
    ranks(2, |rank| {
        let group = rank.form("group").unwrap();
        let model = Model::new();
        let mut reducer = reducer(&group, &model);
        for loss in [Tensor::new(), Tensor::from(1f32), model.params.tensors()[0].shallow_clone()] {
            assert!(matches!(reducer.backward(&loss), Err(Error::Invalid { .. })));
        }
        reducer.backward(&model.loss(0, 8)).unwrap();
    });
}

/// What the wait of a rank for a late one is called, by all ways to average; of many rounds, since machines that run tests
/// are busy. With several buckets the early rank has its last gradient only because it waits for none of them on the way.
#[test]
fn a_rank_that_is_early_has_exposed_communication_and_one_that_is_late_has_less() {
    const LATE: Duration = Duration::from_millis(50);
    for (one_shot, exchange) in
        [(true, Exchange::Whole), (false, Exchange::Whole), (false, Exchange::BFloat16)]
    {
        let rounds = ranks(2, move |rank| {
            let group = rank.form("group").unwrap();
            let model = Model::new();
            let plan =
                if one_shot { model.params.bucket_plan().unwrap() } else { small_buckets(&model.params) };
            let mut reducer = Reducer::exchanging(&group, &model.params, &plan, exchange).unwrap();
            let round = |_| {
                model.params.zero_grad().unwrap();
                let loss = model.loss(0, 8);
                group.barrier(Duration::from_secs(10)).unwrap();
                if rank.rank == 1 {
                    std::thread::sleep(LATE);
                }
                reducer.backward(&loss).unwrap()
            };
            (0..10).map(round).collect::<Vec<_>>()
        });
        let is_told = |(early, late): (&Duration, &Duration)| *early > LATE / 2 && *late < LATE / 2;
        assert!(
            rounds[0].iter().zip(&rounds[1]).any(is_told),
            "one shot: {one_shot}, {exchange:?}, {rounds:?}"
        );
    }
}

#[test]
fn computing_is_no_communication() {
    let shares = ranks(1, |rank| {
        let group = rank.form("group").unwrap();
        let model = Model::new();
        let mut reducer = reducer(&group, &model);
        let round = |_| {
            model.params.zero_grad().unwrap();
            let loss = model.loss(0, 50_000);
            let since = Instant::now();
            let exposed = reducer.backward(&loss).unwrap();
            exposed.as_secs_f64() / since.elapsed().as_secs_f64()
        };
        (0..10).map(round).collect::<Vec<_>>()
    });
    assert!(shares[0].iter().any(|share| *share < 0.5), "{shares:?}");
}
