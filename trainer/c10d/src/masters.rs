//! Parameters in 16 bits, and those in 32 that are trained.

use tch::{Kind, Tensor};

use crate::ffi::{self, check, raw_list};
use crate::{Error, Parameters, Result};

/// A model that computes with parameters in 16 bits, and a copy of them in 32 bits: gradients are taken to the copy, the
/// optimizer changes that, and the model gets it rounded. Updates that are small beside a parameter add up in the copy, where
/// they would be lost in 16 bits.
///
/// Only matrices and what has more dimensions is rounded. Biases and the weights of normalisations are few, and stay one tensor
/// in 32 bits.
///
/// Source: Micikevicius and others, Mixed Precision Training (2017).
#[derive(Debug)]
pub struct Masters {
    /// What the model computes with.
    computing: Parameters,
    /// What is trained.
    trained: Parameters,
    /// Those of the model that are rounded, and what they are copies of.
    rounded: Vec<Tensor>,
    masters: Vec<Tensor>,
}

impl Masters {
    /// Rounds a model's parameters to `kind` in place, and keeps what they were.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn of(model: Parameters, kind: Kind) -> Result<Self> {
        let failed = |error| Error::torch("Masters::of", error);
        let (mut rounded, mut masters, mut trained) = (Vec::new(), Vec::new(), Vec::new());
        for (name, tensor) in model.iter() {
            let mut tensor = tensor.shallow_clone();
            if tensor.dim() >= 2 {
                let kept = tensor.f_detach().map_err(failed)?;
                tensor.f_set_data(&kept.f_to_kind(kind).map_err(failed)?).map_err(failed)?;
                let kept = kept.f_set_requires_grad(true).map_err(failed)?;
                rounded.push(tensor);
                masters.push(kept.shallow_clone());
                trained.push((name.to_owned(), kept));
            } else {
                trained.push((name.to_owned(), tensor));
            }
        }
        // In kinds of their own now, which the lists are checked for.
        let computing =
            model.iter().map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())).collect();
        Ok(Self {
            computing: Parameters::new(computing)?,
            trained: Parameters::new(trained)?,
            rounded,
            masters,
        })
    }

    /// What the model computes with; gradients arrive there.
    pub fn computing(&self) -> &Parameters {
        &self.computing
    }

    /// What is trained, saved and compared, all in 32 bits.
    pub fn trained(&self) -> &Parameters {
        &self.trained
    }

    /// Takes the gradients, in 32 bits, to the parameters that are trained.
    ///
    /// # Errors
    /// [`Error::Torch`] where one has none; nothing has changed then.
    pub fn lift_gradients(&self) -> Result<()> {
        let (rounded, masters) = (raw_list(&self.rounded), raw_list(&self.masters));
        // SAFETY: both lists are of the same length, and they and their tensors live through the call.
        check(unsafe { ffi::ls_lift_gradients(rounded.as_ptr(), masters.as_ptr(), rounded.len()) })
            .map_err(|raised| raised.torch("lift_gradients"))
    }

    /// Gives the model what is trained now.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn round(&self) -> Result<()> {
        let (rounded, masters) = (raw_list(&self.rounded), raw_list(&self.masters));
        // SAFETY: both lists are of the same length, and they and their tensors live through the call.
        check(unsafe { ffi::ls_round_masters(rounded.as_ptr(), masters.as_ptr(), rounded.len()) })
            .map_err(|raised| raised.torch("round"))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // there is no reducer here
mod tests {
    use super::*;
    use crate::{Optimizer, Sgd, SgdOptions};
    use tch::{Device, nn};

    #[test]
    fn steps_too_small_for_16_bits_add_up() {
        let vars = nn::VarStore::new(Device::Cpu);
        let matrix = vars.root().ones("matrix", &[2, 2]);
        let bias = vars.root().ones("bias", &[2]);
        let masters = Masters::of(Parameters::of(&vars).unwrap(), Kind::BFloat16).unwrap();
        assert_eq!((matrix.kind(), bias.kind()), (Kind::BFloat16, Kind::Float), "the model's own handles");
        let mut sgd = Sgd::new(masters.trained(), SgdOptions::default()).unwrap();
        for _ in 0..8 {
            masters.trained().zero_grad().unwrap();
            masters.computing().zero_grad().unwrap();
            (matrix.sum(Kind::Float) + bias.sum(Kind::Float)).backward();
            masters.lift_gradients().unwrap();
            // Beside 1, bf16 holds no step smaller than 2^-8 downwards.
            sgd.step(1.0 / 1024.0, None).unwrap();
            masters.round().unwrap();
        }
        let first = |tensor: &Tensor| tensor.to_kind(Kind::Double).double_value(&vec![0; tensor.dim()]);
        let trained: Vec<_> = masters.trained().tensors().iter().map(first).collect();
        assert_eq!(trained, [1.0 - 8.0 / 1024.0; 2]);
        assert_eq!((first(&matrix), first(&bias)), (1.0 - 8.0 / 1024.0, 1.0 - 8.0 / 1024.0));
    }

    #[test]
    fn a_parameter_without_a_gradient_is_named_and_nothing_changes() {
        let vars = nn::VarStore::new(Device::Cpu);
        let used = vars.root().ones("used", &[2, 2]);
        let _unused = vars.root().ones("unused", &[2, 2]);
        let masters = Masters::of(Parameters::of(&vars).unwrap(), Kind::BFloat16).unwrap();
        used.sum(Kind::Float).backward();
        let error = masters.lift_gradients().unwrap_err().to_string();
        assert!(error.contains("parameter 1 of 2 has no gradient"), "{error}");
        assert!(masters.trained().tensors().iter().all(|tensor| !tensor.grad().defined()));
    }
}
