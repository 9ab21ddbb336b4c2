//! What a collective asks of its tensors, checked before anything is sent.

use tch::{Device, Kind, Tensor};

use crate::{Error, ReduceOp, Result};

/// Refuses a tensor that libtorch would refuse in the middle of a collective, or worse on some ranks only.
pub(super) fn require_dense(operation: &'static str, tensor: &Tensor, device: Device) -> Result<()> {
    let refuse = |problem: String| Err(Error::invalid(operation, problem));
    if !tensor.defined() {
        return refuse("the tensor is undefined".to_owned());
    }
    if tensor.device() != device {
        return refuse(format!("the tensor is on {:?}, this group works on {device:?}", tensor.device()));
    }
    if tensor.is_sparse() || tensor.is_mkldnn() {
        return refuse("the tensor is sparse or opaque, only dense ones can be sent".to_owned());
    }
    if !tensor.is_contiguous() {
        return refuse("the tensor is not contiguous: pass a contiguous copy".to_owned());
    }
    let kind = tensor.f_kind().map_err(|error| Error::torch(operation, error))?;
    if !is_reducible(kind) {
        return refuse(format!("tensors of {kind:?} cannot be sent: convert it first"));
    }
    Ok(())
}

/// Refuses reductions that have no exact meaning on integers.
pub(super) fn require_reducible(operation: &'static str, tensor: &Tensor, op: ReduceOp) -> Result<()> {
    let kind = tensor.f_kind().map_err(|error| Error::torch(operation, error))?;
    if op == ReduceOp::Avg && !is_float(kind) {
        return Err(Error::invalid(
            operation,
            format!("an average of {kind:?} is not exact: sum and divide"),
        ));
    }
    Ok(())
}

fn is_float(kind: Kind) -> bool {
    matches!(kind, Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double)
}

fn is_reducible(kind: Kind) -> bool {
    is_float(kind) || matches!(kind, Kind::Uint8 | Kind::Int8 | Kind::Int | Kind::Int64)
}
