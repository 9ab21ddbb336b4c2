//! Whether all ranks hold the same: nothing that is saved or handed on is a replica's private opinion.

use super::World;
use crate::{Error, Result};
use lockstep_run::{Rank, Step, ranges};
use std::ops::Range;
use std::slice;
use tch::Tensor;
use xxhash_rust::xxh3::Xxh3;

/// So many bytes of a replica are compared for each step of training, at the end of a logging interval.
const BYTES_OF_A_STEP: u64 = 32 << 10;
/// Tensors are copied in pieces of this many bytes, which stay in a core's cache until they are hashed.
const PIECE: usize = 256 << 10;

/// Makes sure that all ranks hold the same tensors, by a hash of all their bytes.
///
/// Collective: all ranks, after the same step.
///
/// # Errors
/// [`Error::Diverged`], on all ranks.
pub(crate) fn check(world: &World, tensors: &[Tensor], step: Step) -> Result<()> {
    check_of(world, tensors, |_| true, step)
}

/// The same of some ranks only, before the others get what those hold.
///
/// Collective: all ranks.
///
/// # Errors
/// [`Error::Diverged`], on all ranks.
pub(crate) fn check_of(
    world: &World,
    tensors: &[Tensor],
    holds: impl Fn(Rank) -> bool,
    step: Step,
) -> Result<()> {
    let mine = match holds(world.rank()) {
        true => fingerprint(tensors, slice::from_ref(&(0..u64::MAX)))?,
        false => 0,
    };
    let all = world.gather_words("comparing replicas", step, mine)?;
    let held: Vec<_> = ranked(all).filter(|(rank, _)| holds(*rank)).collect();
    judge(&held, world.rank(), step)
}

/// Words in rank order, each with its rank.
pub(crate) fn ranked(words: Vec<u128>) -> impl Iterator<Item = (Rank, u128)> {
    (0..).map(Rank).zip(words)
}

/// What [`judge`] compares of a replica after `step`, where `steps` were done since the last time: another part of it each time,
/// until it was all.
pub(crate) fn sample(tensors: &[Tensor], step: Step, steps: u64) -> Result<u128> {
    let total = tensors.iter().map(num_bytes).sum::<Result<u64>>()?;
    fingerprint(tensors, &turn(step, steps, total))
}

/// Compares what ranks hold, by its hashes in rank order.
///
/// # Errors
/// [`Error::Diverged`] where they differ. More than half of the ranks, which hold the same, are right; else nobody knows who is.
pub(crate) fn judge(held: &[(Rank, u128)], rank: Rank, step: Step) -> Result<()> {
    let differ = |hash: u128| held.iter().filter(move |(_, other)| *other != hash).map(|(rank, _)| *rank);
    let right = held.iter().find(|(_, hash)| 2 * differ(*hash).count() < held.len());
    let Some((like, hash)) = right.or(held.first()).copied() else { return Ok(()) };
    let odd: Vec<_> = differ(hash).collect();
    let Some(first) = odd.first() else { return Ok(()) };
    let reason = match right {
        None => format!(
            "rank {first} differs in what it holds from rank {like}, and nobody can tell which of them is right"
        ),
        Some(_) if odd.len() == 1 => format!("rank {first} differs in what it holds from all other ranks"),
        Some(_) => {
            let names = ranges(odd.iter().map(|rank| rank.0));
            format!("ranks {names} differ in what they hold from all other ranks")
        }
    };
    Err(Error::Diverged { step, reason, is_right: right.is_some() && !odd.contains(&rank) })
}

/// Which bytes of so many it is the turn of.
fn turn(step: Step, steps: u64, total: u64) -> Vec<Range<u64>> {
    let length = (steps * BYTES_OF_A_STEP).min(total);
    // A replica of no bytes has no turns.
    let Some(end) = (step.0 * BYTES_OF_A_STEP).checked_rem(total) else { return vec![] };
    // What lies before the end, and what is left of the turn at the other end.
    let first = end.saturating_sub(length);
    vec![first..end, total - (length - (end - first))..total]
}

fn num_bytes(tensor: &Tensor) -> Result<u64> {
    Ok((tensor.numel() * tensor.f_kind()?.elt_size_in_bytes()) as u64)
}

/// Hash of these parts of the tensors, one after the other; where a part begins or ends within a number, of the whole number.
fn fingerprint(tensors: &[Tensor], parts: &[Range<u64>]) -> Result<u128> {
    let _no_grad = tch::no_grad_guard();
    let (mut hash, mut piece) = (Xxh3::new(), vec![0; PIECE]);
    let mut begin = 0;
    for tensor in tensors {
        let (size, end) = (tensor.f_kind()?.elt_size_in_bytes() as u64, begin + num_bytes(tensor)?);
        for part in parts.iter().filter(|part| part.start < end && part.end > begin) {
            let numbers = tensor.f_detach()?.f_reshape([-1])?;
            let (first, last) = (part.start.max(begin) - begin, part.end.min(end) - begin);
            let (mut first, last) = (first / size, last.div_ceil(size));
            while first < last {
                let num = (last - first).min(PIECE as u64 / size);
                let bytes = &mut piece[..(num * size) as usize];
                numbers.f_narrow(0, first as i64, num as i64)?.f_copy_data_u8(bytes, num as usize)?;
                hash.update(bytes);
                first += num;
            }
        }
        begin = end;
    }
    Ok(hash.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn tensors() -> Vec<Tensor> {
        vec![
            Tensor::arange(100_000, (Kind::Float, Device::Cpu)).reshape([100, 1000]),
            Tensor::arange(7, (Kind::Int64, Device::Cpu)),
            Tensor::zeros([0], (Kind::Float, Device::Cpu)),
            Tensor::arange(9, (Kind::BFloat16, Device::Cpu)),
        ]
    }

    fn whole(tensors: &[Tensor]) -> u128 {
        fingerprint(tensors, slice::from_ref(&(0..u64::MAX))).unwrap()
    }

    #[test]
    fn any_bit_and_any_order_count() {
        let same = whole(&tensors());
        assert_eq!(whole(&tensors()), same);
        for (tensor, at) in [(0, 99_999), (1, 6), (3, 0)] {
            let changed = tensors();
            let _ = changed[tensor].view([-1]).narrow(0, at, 1).fill_(3);
            assert_ne!(whole(&changed), same, "tensor {tensor}");
        }
        let mut swapped = tensors();
        swapped[0] = swapped[0].flip([1]);
        assert_ne!(whole(&swapped), same, "a sum would not see it");
    }

    #[test]
    fn what_lies_otherwise_in_memory_is_the_same() {
        let mut strided = tensors();
        strided[0] = strided[0].transpose(0, 1).contiguous().transpose(0, 1);
        assert!(!strided[0].is_contiguous());
        assert_eq!(whole(&strided), whole(&tensors()));
    }

    #[test]
    fn turns_go_round_and_leave_nothing_out() {
        const A_STEP: u64 = BYTES_OF_A_STEP;
        for (step, steps, total, expected) in [
            (0, 0, 0, vec![]),
            (9, 3, 0, vec![]),
            (10, 10, 1000, vec![0..(10 * A_STEP) % 1000, (10 * A_STEP) % 1000..1000]),
            (3, 2, 10 * A_STEP, vec![A_STEP..3 * A_STEP, 10 * A_STEP..10 * A_STEP]),
            (10, 5, 10 * A_STEP, vec![0..0, 5 * A_STEP..10 * A_STEP]),
            (12, 4, 10 * A_STEP, vec![0..2 * A_STEP, 8 * A_STEP..10 * A_STEP]),
        ] {
            assert_eq!(turn(Step(step), steps, total), expected, "{step} {steps} {total}");
        }
        let changed = tensors();
        let _ = changed[0].view([-1]).narrow(0, 77_777, 1).fill_(3);
        let found = (1..=13).filter(|step| {
            sample(&changed, Step(*step), 1).unwrap() != sample(&tensors(), Step(*step), 1).unwrap()
        });
        assert_eq!(found.collect::<Vec<_>>(), [10], "400 kB take 13 turns");
    }

    #[test]
    fn a_majority_is_right_and_two_don_t_know() {
        let judged = |hashes: &[u128], rank| match judge(
            &ranked(hashes.to_vec()).collect::<Vec<_>>(),
            Rank(rank),
            Step(4),
        ) {
            Ok(()) => None,
            Err(Error::Diverged { reason, is_right, .. }) => Some((reason, is_right)),
            Err(other) => panic!("{other}"),
        };
        for same in [&[5][..], &[5, 5], &[5, 5, 5]] {
            assert_eq!(judged(same, 0), None);
        }
        let one = "rank 1 differs in what it holds from all other ranks";
        let two = "ranks 0,3 differ in what they hold from all other ranks";
        let open = "rank 1 differs in what it holds from rank 0, and nobody can tell which of them is right";
        for (hashes, rank, reason, is_right) in [
            (&[5, 6, 5][..], 0, one, true),
            (&[5, 6, 5], 1, one, false),
            (&[6, 5, 5, 7, 5], 4, two, true),
            (&[6, 5, 5, 7, 5], 3, two, false),
            (&[5, 6], 0, open, false),
            (&[5, 6], 1, open, false),
            (&[5, 6, 7], 0, open, false),
            (&[5, 6, 5, 6], 0, open, false),
        ] {
            assert_eq!(judged(hashes, rank), Some((reason.to_owned(), is_right)), "{hashes:?} {rank}");
        }
    }
}
