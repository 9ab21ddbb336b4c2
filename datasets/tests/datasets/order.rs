//! The sample order: exact, elastic, resumable anywhere, and well mixed.

use std::collections::BTreeSet;

use lockstep_datasets::{Error, Order, OrderOptions, Replica, Shuffle, Tail};
use proptest::prelude::*;

fn make(shards: &[u64], seed: u64, global_batch: u32, shuffle: Option<Shuffle>, tail: Tail) -> Order {
    Order::new(OrderOptions { seed, global_batch, shuffle, tail }, shards).unwrap()
}

fn slots(order: &Order, step: u64, rank: u32, world_size: u32) -> Vec<Option<u64>> {
    let (epoch, step) = order.epoch_of(step);
    order.epoch(epoch).slots(step, Replica::new(rank, world_size).unwrap())
}

prop_compose! {
    fn cases()(
        shards in prop::collection::vec(0_u64..60, 1..12),
        seed: u64,
        share in 1_u32..5,
        lanes in 1_u32..20,
        block in 2_u32..70,
        shuffled: bool,
    ) -> (Vec<u64>, u64, u32, Option<Shuffle>) {
        // Divisible by 1, 2, 3, 4, 6 and 12.
        (shards, seed, 12 * share, shuffled.then_some(Shuffle { lanes, block }))
    }
}

proptest! {
    #[test]
    fn each_sample_comes_exactly_once_per_epoch((shards, seed, batch, shuffle) in cases(), epoch in 0_u64..1000) {
        let total: u64 = shards.iter().sum();
        prop_assume!(total > 0);
        let order = make(&shards, seed, batch, shuffle, Tail::Pad);
        let all: Vec<u64> = (0..total).map(|position| order.epoch(epoch).sample(position)).collect();
        let distinct: BTreeSet<u64> = all.iter().copied().collect();
        prop_assert_eq!(distinct, (0..total).collect::<BTreeSet<_>>());

        let mut seen: Vec<u64> = (0..order.steps_per_epoch())
            .flat_map(|step| slots(&order, epoch * order.steps_per_epoch() + step, 0, 1))
            .flatten()
            .collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..total).collect::<Vec<_>>());
    }

    #[test]
    fn a_step_holds_the_same_samples_for_any_world_size((shards, seed, batch, shuffle) in cases(), step in 0_u64..500) {
        prop_assume!(shards.iter().sum::<u64>() > 0);
        let order = make(&shards, seed, batch, shuffle, Tail::Pad);
        let alone = slots(&order, step, 0, 1);
        prop_assert_eq!(alone.len(), batch as usize);
        for world_size in [2, 3, 4, 6, 12] {
            let together: Vec<_> = (0..world_size)
                .flat_map(|rank| {
                    let slots = slots(&order, step, rank, world_size);
                    assert_eq!(slots.len() as u32, batch / world_size);
                    slots
                })
                .collect();
            prop_assert_eq!(&together, &alone);
        }
    }

    #[test]
    fn a_dropped_tail_is_less_than_a_step((shards, seed, batch, shuffle) in cases()) {
        let total: u64 = shards.iter().sum();
        prop_assume!(total >= u64::from(batch));
        let order = make(&shards, seed, batch, shuffle, Tail::Drop);
        let steps = order.steps_per_epoch();
        let seen: Vec<_> = (0..steps).flat_map(|step| slots(&order, step, 0, 1)).collect();
        prop_assert!(seen.iter().all(Option::is_some));
        prop_assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
        prop_assert!(total - (seen.len() as u64) < u64::from(batch));
    }
}

#[test]
fn the_order_never_changes() {
    // Runs resume from it: another order under the same name would repeat samples and lose others.
    let order = make(&[40, 0, 25, 35], 7, 10, Some(Shuffle { lanes: 3, block: 16 }), Tail::Drop);
    let of = |step| slots(&order, step, 0, 1).into_iter().flatten().collect::<Vec<_>>();
    // The same numbers came from a second implementation, in Python.
    assert_eq!(of(0), [21, 8, 4, 3, 36, 41, 42, 75, 68, 73]);
    assert_eq!(of(10), [22, 7, 1, 21, 50, 35, 37, 72, 85, 86]);
}

#[test]
fn seeds_and_epochs_differ() {
    let of = |seed, step| {
        let order = make(&[500, 500], seed, 100, Some(Shuffle::default()), Tail::Drop);
        slots(&order, step, 0, 1)
    };
    assert_ne!(of(1, 0), of(2, 0));
    assert_ne!(of(1, 0), of(1, 10), "the second epoch repeats the first");
    assert_eq!(of(1, 3), of(1, 3));
}

#[test]
fn without_shuffle_samples_come_as_stored() {
    let order = make(&[3, 4], 1, 2, None, Tail::Pad);
    let all: Vec<_> = (0..4).flat_map(|step| slots(&order, step, 0, 1)).collect();
    assert_eq!(all, [Some(0), Some(1), Some(2), Some(3), Some(4), Some(5), Some(6), None]);
}

#[test]
fn any_step_of_a_huge_dataset_is_found_at_once() {
    let shards = vec![100_000; 100_000];
    let order = make(&shards, 1, 4096, Some(Shuffle::default()), Tail::Drop);
    let begin = std::time::Instant::now();
    let step = slots(&order, 123_456_789, 5, 64);
    assert_eq!(step.len(), 64);
    assert!(begin.elapsed().as_secs() < 5, "ten billion samples took {:?}", begin.elapsed());
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let of = |global_batch, lanes, block| {
        let shuffle = Some(Shuffle { lanes, block });
        Order::new(OrderOptions { seed: 0, global_batch, shuffle, tail: Tail::Drop }, &[10])
    };
    assert!(of(10, 1, 2).is_ok());
    assert!(matches!(of(11, 1, 2), Err(Error::NoSteps { samples: 10, global_batch: 11 })));
    for bad in [of(0, 1, 2), of(1, 0, 2), of(1, 1, 1)] {
        assert!(matches!(bad, Err(Error::BadOption { .. })), "{bad:?}");
    }
    assert!(Replica::new(2, 2).is_err());
}

/// Distinct shards per batch, distance from the stored place, correlation of neighbours: against a full shuffle. A block
/// is a quarter of a lane here, so that at most half of the shards are in use at once.
#[test]
fn the_shuffle_is_almost_as_good_as_a_full_one() {
    const SHARDS: u64 = 64;
    const SHARD: u64 = 1000;
    const N: u64 = SHARDS * SHARD;
    const BATCH: usize = 256;
    let order = make(
        &[SHARD; SHARDS as usize],
        11,
        BATCH as u32,
        Some(Shuffle { lanes: 8, block: 2048 }),
        Tail::Drop,
    );
    let epoch = order.epoch(3);
    let ours: Vec<u64> = (0..N).map(|position| epoch.sample(position)).collect();
    // One lane and one block over everything, twice: a full shuffle.
    let full = make(&[N], 12, BATCH as u32, Some(Shuffle { lanes: 1, block: N as u32 }), Tail::Drop).epoch(0);
    let full: Vec<u64> = (0..N).map(|position| full.sample(position)).collect();

    let shards = |all: &[u64]| {
        let per_batch =
            |batch: &[u64]| batch.iter().map(|sample| sample / SHARD).collect::<BTreeSet<_>>().len();
        all.chunks_exact(BATCH).map(per_batch).sum::<usize>() as f64 / (all.len() / BATCH) as f64
    };
    let displacement = |all: &[u64]| {
        all.iter().enumerate().map(|(place, sample)| place.abs_diff(*sample as usize) as f64).sum::<f64>()
            / (N * N) as f64
    };
    let correlation = |all: &[u64], lag: usize| {
        let mean = (N - 1) as f64 / 2.0;
        let centred = |sample: &u64| *sample as f64 - mean;
        let together: f64 = all.windows(lag + 1).map(|pair| centred(&pair[0]) * centred(&pair[lag])).sum();
        together / all.iter().map(|sample| centred(sample).powi(2)).sum::<f64>()
    };
    assert!(shards(&ours) > 0.45 * shards(&full), "{} of {} shards per batch", shards(&ours), shards(&full));
    assert!(
        displacement(&ours) > 0.85 * displacement(&full),
        "{} of {}",
        displacement(&ours),
        displacement(&full)
    );
    for lag in 1..8 {
        assert!(correlation(&ours, lag).abs() < 0.1, "lag {lag}: {}", correlation(&ours, lag));
        assert!(correlation(&full, lag).abs() < 0.02, "lag {lag}: {}", correlation(&full, lag));
    }
}
