//! Gradients of fp16 kept within its range.

use tch::{Device, Kind, Tensor};

use crate::ffi::{self, check, raw, raw_list};
use crate::{Error, Parameters, Result};

const GROWTH: f64 = 2.0;
const BACKOFF: f64 = 0.5;
/// So many steps in a row whose gradient is finite let the scale grow. Unit: steps.
const GROWTH_INTERVAL: i64 = 2000;
/// Where a smaller scale would help no more: gradients overflow without one.
const LEAST: f64 = 1.0;

/// A factor on the loss, under which small gradients don't vanish in fp16. It is halved when the gradient overflows, whose update
/// is left out, and doubled after 2000 steps without that. It starts at 65536. The rules and numbers are those of PyTorch's
/// `GradScaler`.
///
/// All of it happens on the device; nobody waits for it.
///
/// Source: Micikevicius and others, Mixed Precision Training (2017).
#[derive(Debug)]
pub struct LossScale {
    scale: Tensor,
    finite_steps: Tensor,
}

/// What a loss scale is between two steps.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LossScaleState {
    /// The factor.
    pub scale: f64,
    /// Steps since it changed.
    pub finite_steps: u32,
}

/// What was found in a step's gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finiteness {
    /// It is finite.
    Finite,
    /// It is not, and the next step has a smaller loss scale.
    Overflow,
    /// It is not, and no loss scale helps.
    NonFinite,
}

impl Default for LossScaleState {
    fn default() -> Self {
        Self { scale: 65536.0, finite_steps: 0 }
    }
}

impl Finiteness {
    /// What the number says that [`LossScale::update`] leaves, or [`GradNorm::non_finite`](crate::GradNorm) where there is no
    /// scale.
    pub fn of(flag: f64) -> Self {
        match flag {
            0.0 => Self::Finite,
            OVERFLOW => Self::Overflow,
            _ => Self::NonFinite,
        }
    }
}

const OVERFLOW: f64 = 0.5;

impl LossScale {
    /// Goes on from a state.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the scale is no positive number.
    pub fn new(state: LossScaleState, device: Device) -> Result<Self> {
        if !(state.scale.is_finite() && state.scale > 0.0) {
            let problem = format!("a loss scale of {} is not a positive number", state.scale);
            return Err(Error::invalid("LossScale::new", problem));
        }
        let full = |value: f64, kind| {
            Tensor::f_full([], value, (kind, device)).map_err(|error| Error::torch("LossScale::new", error))
        };
        let (scale, finite_steps) =
            (full(state.scale, Kind::Float)?, full(f64::from(state.finite_steps), Kind::Int)?);
        Ok(Self { scale, finite_steps })
    }

    /// The loss to go backward from.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn scaled(&self, loss: &Tensor) -> Result<Tensor> {
        loss.f_mul(&self.scale).map_err(|error| Error::torch("LossScale::scaled", error))
    }

    /// Takes the factor out of the gradients.
    ///
    /// # Errors
    /// [`Error::Torch`] where one has none; nothing has changed then.
    pub fn unscale(&self, params: &Parameters) -> Result<()> {
        let factor = self.scale.f_reciprocal().map_err(|error| Error::torch("LossScale::unscale", error))?;
        let list = raw_list(params.tensors());
        // SAFETY: the list, its tensors and the factor live through the call.
        check(unsafe { ffi::ls_scale_gradients(list.as_ptr(), list.len(), raw(&factor)) })
            .map_err(|raised| raised.torch("LossScale::unscale"))
    }

    /// After a step: changes the scale as its gradient asks. `non_finite` holds 1 where that is not finite. Returns what was
    /// found, as a number on the device that [`Finiteness::of`] understands.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn update(&mut self, non_finite: &Tensor) -> Result<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let mut updated = || -> Result<Tensor, tch::TchError> {
            let helps = self.scale.f_gt(LEAST)?.f_to_kind(Kind::Float)?;
            let found = non_finite.f_mul(&helps.f_mul_scalar(OVERFLOW - 1.0)?.f_add_scalar(1.0)?)?;
            let _ = self.scale.f_internal_amp_update_scale_(
                &self.finite_steps,
                non_finite,
                GROWTH,
                BACKOFF,
                GROWTH_INTERVAL,
            )?;
            Ok(found)
        };
        updated().map_err(|error| Error::torch("LossScale::update", error))
    }

    /// The factor, on the device.
    pub fn scale(&self) -> &Tensor {
        &self.scale
    }

    /// Its state. Waits for the device.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn state(&self) -> Result<LossScaleState> {
        let read = || -> Result<_, tch::TchError> {
            let finite_steps = self.finite_steps.f_int64_value(&[])?;
            // It counts up to the growth interval.
            Ok(LossScaleState { scale: self.scale.f_double_value(&[])?, finite_steps: finite_steps as u32 })
        };
        read().map_err(|error| Error::torch("LossScale::state", error))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // there is no reducer here
mod tests {
    use super::*;

    fn flag(value: f32) -> Tensor {
        Tensor::from(value)
    }

    fn at(scale: f64, finite_steps: u32) -> LossScale {
        LossScale::new(LossScaleState { scale, finite_steps }, Device::Cpu).unwrap()
    }

    #[test]
    fn it_is_halved_by_an_overflow_and_doubled_after_2000_steps_without() {
        for ((scale, finite_steps), non_finite, (then, steps), found) in [
            ((65536.0, 0), 0.0, (65536.0, 1), Finiteness::Finite),
            ((65536.0, 1999), 0.0, (131_072.0, 0), Finiteness::Finite),
            ((65536.0, 1999), 1.0, (32768.0, 0), Finiteness::Overflow),
            ((2.0, 7), 1.0, (1.0, 0), Finiteness::Overflow),
            ((1.0, 7), 1.0, (0.5, 0), Finiteness::NonFinite),
        ] {
            let mut loss_scale = at(scale, finite_steps);
            let seen = loss_scale.update(&flag(non_finite)).unwrap();
            assert_eq!(Finiteness::of(seen.double_value(&[])), found);
            let expected = LossScaleState { scale: then, finite_steps: steps };
            assert_eq!(loss_scale.state().unwrap(), expected, "{scale} {finite_steps}");
        }
        assert_eq!(Finiteness::of(1.0), Finiteness::NonFinite, "a flag without a scale");
    }

    #[test]
    fn a_gradient_is_what_it_is_without_one_and_one_that_overflows_is_seen() {
        let weight = Tensor::from_slice(&[3.0f32, 4.0]).set_requires_grad(true);
        let params = Parameters::new(vec![("weight".to_owned(), weight.shallow_clone())]).unwrap();
        let loss_scale = at(65536.0, 0);
        for (factor, non_finite) in [(1.0, 0.0), (f64::from(f32::MAX), 1.0)] {
            params.zero_grad().unwrap();
            let loss = (&weight * &weight).sum(Kind::Float) * factor;
            loss_scale.scaled(&loss).unwrap().backward();
            loss_scale.unscale(&params).unwrap();
            assert_eq!(params.clip_grad_norm(None).unwrap().non_finite.double_value(&[]), non_finite);
            if non_finite == 0.0 {
                assert_eq!(Vec::<f32>::try_from(weight.grad()).unwrap(), [6.0, 8.0]);
            }
        }
    }

    #[test]
    fn a_scale_that_is_none_is_refused() {
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(
                LossScale::new(LossScaleState { scale, finite_steps: 0 }, Device::Cpu).is_err(),
                "{scale}"
            );
        }
    }
}
