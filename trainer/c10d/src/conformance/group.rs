//! The contract of [`ProcessGroup`].

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use crate::{Error, ProcessGroup, ReduceOp, Result};

/// Forms the group of that name with the same ranks. Called with the same names in the same order on all ranks.
pub type Form<'a> = &'a dyn Fn(&str) -> Result<Box<dyn ProcessGroup>>;

/// A blocked collective must fail within this time once a peer has aborted.
const FREED_WITHIN: Duration = Duration::from_secs(5);
const BARRIER: Duration = Duration::from_secs(30);

/// Checks a kind of process group. Each rank calls this, as it would call a collective.
///
/// # Errors
///
/// A group that could not be formed, or a collective that failed and should not have.
pub fn process_group(device: Device, form: Form<'_>) -> Result<()> {
    let group = form("collectives")?;
    reductions(&*group, device)?;
    reductions_that_are_waited_for_later(&*group, device)?;
    broadcasts(&*group, device)?;
    gathers(&*group, device)?;
    misuse_is_refused_and_harmless(&*group, device)?;
    group.barrier(BARRIER)?;
    drop(group);

    groups_are_independent(&*form("first")?, &*form("second")?, device)?;
    // Who has formed a group knows that all have formed the one before: nobody aborts while another still connects.
    let (abort, late) = (form("abort")?, form("late")?);
    abort_is_final_and_frees_the_others(&*abort, device);
    a_late_rank_fails_a_barrier(&*late, &*form("afterwards")?)
}

fn values(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.to_device(Device::Cpu).to_kind(Kind::Double).view([-1]);
    let mut values = vec![0.0; flat.numel()];
    flat.copy_data(&mut values, flat.numel());
    values
}

fn reductions(group: &dyn ProcessGroup, device: Device) -> Result<()> {
    let (rank, n) = (group.rank() as f64, group.world_size() as f64);
    let kinds = [
        Kind::Float,
        Kind::Double,
        Kind::Half,
        Kind::BFloat16,
        Kind::Int64,
        Kind::Int,
        Kind::Int8,
        Kind::Uint8,
    ];
    for kind in kinds {
        let sum = n * (n + 1.0) / 2.0;
        for (op, expected) in [(ReduceOp::Sum, sum), (ReduceOp::Min, 1.0), (ReduceOp::Max, n)] {
            let tensor = Tensor::full([2, 3], rank + 1.0, (kind, device));
            group.all_reduce(&tensor, op)?;
            assert_eq!(values(&tensor), [expected; 6], "{op:?} of {kind:?}");
        }
        if matches!(kind, Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16) {
            let tensor = Tensor::full([3], 2.0 * rank, (kind, device));
            group.all_reduce(&tensor, ReduceOp::Avg)?;
            assert_eq!(values(&tensor), [n - 1.0; 3], "average of {kind:?}");
        }
    }
    let empty = Tensor::zeros([0], (Kind::Float, device));
    group.all_reduce(&empty, ReduceOp::Sum)?;
    // Too long for one message, and sums that depend on their order: all ranks must take the same one.
    let long = Tensor::arange(300_000, (Kind::Float, device)) * (0.1 + rank) + 1.0 / 3.0;
    group.all_reduce(&long, ReduceOp::Sum)?;
    let all = group.all_gather(&long)?;
    for other in 1..group.world_size() as i64 {
        assert!(all.get(0).equal(&all.get(other)), "rank {other} got other bits than rank 0");
    }
    Ok(())
}

fn reductions_that_are_waited_for_later(group: &dyn ProcessGroup, device: Device) -> Result<()> {
    let n = group.world_size() as f64;
    let start = |value: f64| {
        group.start_all_reduce(Tensor::full([70_000], value, (Kind::Double, device)), ReduceOp::Sum)
    };
    let (first, second) = (start(1.0)?, start(2.0)?);
    let between = Tensor::ones([3], (Kind::Float, device));
    group.all_reduce(&between, ReduceOp::Sum)?;
    assert_eq!(values(&between), [n; 3], "another one meanwhile");
    for (pending, value) in [(second, 2.0), (first, 1.0)] {
        assert!(values(&pending.wait()?).iter().all(|&sum| sum == n * value), "waited for in another order");
    }
    drop(start(3.0)?);
    group.barrier(BARRIER)
}

fn broadcasts(group: &dyn ProcessGroup, device: Device) -> Result<()> {
    let rank = group.rank() as f64;
    for root in 0..group.world_size() {
        let tensor = Tensor::full([2, 2], rank, (Kind::Float, device)).set_requires_grad(true);
        group.broadcast(&tensor, root)?;
        assert_eq!(values(&tensor), [root as f64; 4], "broadcast from {root}");
        assert!(tensor.requires_grad() && tensor.is_leaf(), "broadcast leaves autograd alone");

        let many = [(1, Kind::Float), (70_000, Kind::Float), (3, Kind::Int64), (5, Kind::Double)]
            .map(|(n, kind)| Tensor::full([n], rank + n as f64, (kind, device)));
        group.broadcast_coalesced(&many, root)?;
        for tensor in &many {
            let expected = root as f64 + tensor.numel() as f64;
            assert!(values(tensor).iter().all(|&value| value == expected), "coalesced broadcast from {root}");
        }
    }
    group.broadcast_coalesced(&[], 0)
}

fn gathers(group: &dyn ProcessGroup, device: Device) -> Result<()> {
    let n = group.world_size();
    let tensor = Tensor::full([2], group.rank() as i64, (Kind::Int64, device));
    let all = group.all_gather(&tensor)?;
    assert_eq!(all.size(), [n as i64, 2]);
    assert_eq!(
        values(&all),
        (0..2 * n).map(|i| (i / 2) as f64).collect::<Vec<_>>(),
        "ranks are stacked in order"
    );
    let scalar = group.all_gather(&Tensor::from(group.rank() as f32).to_device(device))?;
    assert_eq!(scalar.size(), [n as i64]);
    let empty = group.all_gather(&Tensor::zeros([2, 0], (Kind::Float, device)))?;
    assert_eq!(empty.size(), [n as i64, 2, 0]);
    Ok(())
}

fn misuse_is_refused_and_harmless(group: &dyn ProcessGroup, device: Device) -> Result<()> {
    let fine = Tensor::ones([4, 4], (Kind::Float, device));
    let refused = [
        ("a rank that is not there", group.broadcast(&fine, group.world_size())),
        ("a tensor that is not contiguous", group.all_reduce(&fine.narrow(1, 0, 2), ReduceOp::Sum)),
        ("an undefined tensor", group.all_reduce(&Tensor::new(), ReduceOp::Sum)),
        ("a sparse tensor", group.all_reduce(&fine.to_sparse_sparse_dim(2), ReduceOp::Sum)),
        ("bools", group.broadcast(&Tensor::ones([2], (Kind::Bool, device)), 0)),
        (
            "an average of integers",
            group.all_reduce(&Tensor::ones([2], (Kind::Int64, device)), ReduceOp::Avg),
        ),
        ("a list with one bad tensor", group.broadcast_coalesced(&[fine.shallow_clone(), Tensor::new()], 0)),
    ];
    for (what, result) in refused {
        assert!(matches!(result, Err(Error::Invalid { .. })), "{what}: {result:?}");
    }
    assert_eq!(group.aborted(), None);
    group.all_reduce(&fine, ReduceOp::Sum)?;
    assert_eq!(values(&fine), [group.world_size() as f64; 16]);
    Ok(())
}

fn groups_are_independent(first: &dyn ProcessGroup, second: &dyn ProcessGroup, device: Device) -> Result<()> {
    first.abort("only the first");
    let tensor = Tensor::ones([1], (Kind::Float, device));
    second.all_reduce(&tensor, ReduceOp::Sum)?;
    assert_eq!(values(&tensor), [second.world_size() as f64]);
    second.barrier(BARRIER)
}

fn abort_is_final_and_frees_the_others(group: &dyn ProcessGroup, device: Device) {
    let tensor = Tensor::ones([1 << 16], (Kind::Float, device));
    let blocked_since = Instant::now();
    if group.rank() == 0 {
        group.abort("for a test");
    } else {
        let error = group.all_reduce(&tensor, ReduceOp::Sum);
        assert!(matches!(error, Err(Error::PeerLost { operation: "all_reduce", .. })), "{error:?}");
    }
    assert!(blocked_since.elapsed() < FREED_WITHIN, "an abort frees the others soon");
    assert!(group.aborted().is_some());
    let errors = [
        group.all_reduce(&tensor, ReduceOp::Sum),
        group.start_all_reduce(tensor.shallow_clone(), ReduceOp::Sum).map(drop),
        group.broadcast(&tensor, 0),
        group.broadcast_coalesced(&[], 0),
        group.all_gather(&tensor).map(drop),
        group.barrier(BARRIER),
    ];
    for error in errors {
        assert!(matches!(&error, Err(lost @ Error::Aborted { .. }) if lost.is_group_lost()), "{error:?}");
    }
}

fn a_late_rank_fails_a_barrier(group: &dyn ProcessGroup, afterwards: &dyn ProcessGroup) -> Result<()> {
    // Rank 0 does not come, but it is there: it waits in another group until the others have given up.
    if group.rank() != 0 {
        let deadline = Duration::from_millis(300);
        let since = Instant::now();
        let error = group.barrier(deadline);
        assert!(matches!(error, Err(Error::PeerLost { operation: "barrier", .. })), "{error:?}");
        assert!(since.elapsed() < deadline + FREED_WITHIN, "a barrier ends at its deadline");
    }
    afterwards.barrier(BARRIER)
}
