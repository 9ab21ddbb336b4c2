//! Optimizers: libtorch's fused kernels, with their state in plain named tensors.

mod adamw;
mod group;
mod sgd;
mod state;

use std::fmt::Debug;

use tch::Tensor;

pub use adamw::{AdamW, AdamWOptions};
pub use group::Decay;
pub use sgd::{Sgd, SgdOptions};

use crate::Result;

/// Changes parameters by their gradients.
///
/// The learning rate is an argument of each step: schedules are pure functions of the step and need no state here.
pub trait Optimizer: Debug + Send {
    /// One step. If `skip` is given and holds 1, parameters and state stay as they are: pass
    /// [`GradNorm::non_finite`](crate::GradNorm) and no infinite gradient gets in, without waiting for the device.
    ///
    /// # Errors
    ///
    /// [`Error::Torch`](crate::Error::Torch) when a parameter has no gradient; nothing has changed then.
    fn step(&mut self, lr: f64, skip: Option<&Tensor>) -> Result<()>;

    /// Everything that the optimizer remembers between steps, for the checkpoint: handles on its own tensors, under names
    /// such as `layer.weight.exp_avg`, in the order of the parameters.
    fn state(&self) -> Vec<(String, Tensor)>;

    /// Goes on from a state that [`state`](Self::state) returned: copies the values.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`](crate::Error::Invalid) when a tensor is missing, is too many, or has another shape or kind;
    /// nothing has changed then.
    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<()>;
}
