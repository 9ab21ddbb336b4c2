//! One copy of all that is trained.

use super::{Peers, RunningBuffers, Variables};
use crate::checkpoint::Held;
use crate::task::Model;
use crate::{Result, precision};
use lockstep_c10d::{LossScale, Optimizer, WeightAverage};
use lockstep_job::Precision;
use tch::{Device, Tensor};

/// A model and everything that a step changes, as one rank has it. It outlives the generation that it was trained in: survivors go on
/// with theirs, and newcomers get it from one of them.
pub(crate) struct Replica {
    pub(crate) device: Device,
    pub(crate) model: Box<dyn Model>,
    pub(crate) variables: Variables,
    pub(crate) running: Option<RunningBuffers>,
    pub(crate) optimizer: Box<dyn Optimizer>,
    /// With numbers of little range.
    pub(crate) loss_scale: Option<LossScale>,
    pub(crate) average: Option<WeightAverage>,
    /// Layers that ask the other ranks.
    pub(crate) peers: Option<Peers>,
    /// What it is, between two generations; none of one that was never trained. Nothing where it isn't whole.
    pub(crate) held: Option<Held>,
    is_whole: bool,
}

/// What a [`Replica`] is made of, before it is trained.
pub(crate) struct Parts {
    pub(crate) device: Device,
    pub(crate) model: Box<dyn Model>,
    pub(crate) variables: Variables,
    pub(crate) running: Option<RunningBuffers>,
    pub(crate) optimizer: Box<dyn Optimizer>,
    pub(crate) average: Option<WeightAverage>,
    pub(crate) peers: Option<Peers>,
}

impl Replica {
    /// One that nobody has trained.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { device, model, variables, running, optimizer, average, peers } = parts;
        let (loss_scale, held, is_whole) = (None, None, true);
        Self { device, model, variables, running, optimizer, loss_scale, average, peers, held, is_whole }
    }

    /// Applies a step's gradient, unless `non_finite` holds 1; `running` is what all ranks have staged for running statistics. Returns
    /// what was found in the gradient, as [`Finiteness::of`](lockstep_c10d::Finiteness::of) understands it. Talks to nobody.
    ///
    /// An error leaves it torn between two steps: see [`Replica::is_whole`].
    pub(crate) fn update(
        &mut self,
        learning_rate: f64,
        non_finite: &Tensor,
        running: Option<Tensor>,
    ) -> Result<Tensor> {
        self.is_whole = false;
        self.optimizer.step(learning_rate, Some(non_finite))?;
        self.variables.changed()?;
        if let Some(average) = &mut self.average {
            average.update(non_finite)?;
        }
        if let (Some(buffers), Some(sums)) = (&mut self.running, running) {
            buffers.apply(&sums, non_finite)?;
        }
        let found = match &mut self.loss_scale {
            Some(loss_scale) => loss_scale.update(non_finite)?,
            None => non_finite.shallow_clone(),
        };
        self.is_whole = true;
        Ok(found)
    }

    /// Whether all of it is of the same step.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Exchanges the parameters with their averages, where there are such.
    pub(crate) fn swap_averages(&mut self) -> Result<()> {
        let Some(average) = &mut self.average else { return Ok(()) };
        self.is_whole = !self.is_whole;
        average.swap()?;
        self.variables.changed()
    }

    /// Overwrites its tensors by `fill`, which says what they are then. After an error it is torn.
    pub(crate) fn filled<T>(&mut self, fill: impl FnOnce(&Self) -> Result<(Option<Held>, T)>) -> Result<T> {
        self.is_whole = false;
        let (held, more) = fill(self)?;
        (self.held, self.is_whole) = (held, true);
        Ok(more)
    }

    /// A generation begins, from what it holds.
    pub(crate) fn begin(&mut self, precision: Precision) -> Result<()> {
        let loss_scale = self.held.as_ref().and_then(|held| held.state.loss_scale);
        self.loss_scale = precision::loss_scale(precision, loss_scale, self.device)?;
        self.variables.changed()
    }

    /// Handles on all tensors that a step changes, in the same order on all ranks.
    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        let moments = self.optimizer.state().into_iter();
        let averages = self.average.iter().flat_map(WeightAverage::state);
        self.variables.tensors().into_iter().chain(moments.chain(averages).map(|(_, t)| t)).collect()
    }
}
