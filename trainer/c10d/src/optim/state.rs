//! What the optimizers do alike with their state.

use std::collections::HashMap;

use tch::{Kind, Tensor};

use crate::{Error, Parameters, Result};

/// One tensor of zeros for each parameter.
pub(super) fn zeros_like(params: &Parameters) -> Result<Vec<Tensor>> {
    let _no_grad = tch::no_grad_guard();
    let zeros =
        |tensor: &Tensor| tensor.f_zeros_like().map_err(|error| Error::torch("optimizer state", error));
    params.tensors().iter().map(zeros).collect()
}

/// Handles on one tensor for each parameter, each named after its parameter and `suffix`.
pub(super) fn named(
    names: &[String],
    suffix: &str,
    tensors: &[Tensor],
) -> impl Iterator<Item = (String, Tensor)> {
    names.iter().zip(tensors).map(move |(name, tensor)| (format!("{name}.{suffix}"), tensor.shallow_clone()))
}

/// Copies `from` into `to`, by name, after checking that they match.
pub(super) fn load(to: Vec<(String, Tensor)>, from: &[(String, Tensor)]) -> Result<()> {
    let invalid = |problem: String| Error::invalid("load_state", problem);
    let given: HashMap<&str, &Tensor> = from.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    for (name, own) in &to {
        let tensor = given.get(name.as_str()).filter(|tensor| tensor.defined());
        let tensor = tensor.ok_or_else(|| invalid(format!("{name:?} is missing")))?;
        let describe = |tensor: &Tensor| {
            let kind = tensor.f_kind().map_err(|error| Error::torch("load_state", error))?;
            Ok::<_, Error>((kind, tensor.size()))
        };
        let (expected, got) = (describe(own)?, describe(tensor)?);
        if expected != got {
            return Err(invalid(format!("{name:?} is {got:?}, this optimizer needs {expected:?}")));
        }
    }
    if given.len() != to.len() || from.len() != to.len() {
        let extra = from.iter().map(|(name, _)| name).find(|name| !to.iter().any(|(own, _)| own == *name));
        return Err(invalid(match extra {
            Some(name) => format!("{name:?} is not of this optimizer"),
            None => "a name is given twice".to_owned(),
        }));
    }
    let _no_grad = tch::no_grad_guard();
    for (name, mut own) in to {
        own.f_copy_(given[name.as_str()]).map_err(|error| Error::torch("load_state", error))?;
    }
    Ok(())
}

/// The kernels read the flag as one `f32`, on the parameters' device.
pub(super) fn require_skip(skip: Option<&Tensor>) -> Result<()> {
    match skip {
        Some(flag) if !flag.defined() || flag.numel() != 1 || flag.f_kind().ok() != Some(Kind::Float) => {
            Err(Error::invalid("step", "`skip` must be a tensor of one f32"))
        }
        _ => Ok(()),
    }
}
