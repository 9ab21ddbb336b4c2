use super::World;
use crate::{Error, Result};
use lockstep_run::{Rank, Step};
use tch::{Kind, Tensor};

/// Makes sure that all ranks hold the same tensors, by a sum over their bits: nothing that is saved or handed on is a replica's
/// private opinion.
///
/// Collective: all ranks, after the same step.
pub(crate) fn check(world: &World, tensors: &[Tensor], step: Step) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    let sums = tensors.iter().map(|t| bits(t)?.f_sum(Kind::Int64)).collect::<Result<Vec<_>, _>>()?;
    // 53 bits pass through the gather unchanged.
    let fingerprint = Tensor::f_stack(&sums, 0)?.f_sum(Kind::Int64)?.f_int64_value(&[])? & ((1 << 53) - 1);
    let all = world.gather("comparing replicas", step, fingerprint as f64)?;
    match all.iter().position(|other| *other != all[0]) {
        Some(rank) => Err(Error::Diverged { step, rank: Rank(rank as u32) }),
        None => Ok(()),
    }
}

fn bits(tensor: &Tensor) -> Result<Tensor, tch::TchError> {
    let kind = match tensor.f_kind()?.elt_size_in_bytes() {
        1 => Kind::Uint8,
        2 => Kind::Int16,
        4 => Kind::Int,
        _ => Kind::Int64,
    };
    tensor.f_view_dtype(kind)
}
