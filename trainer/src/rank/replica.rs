//! One copy of all that is trained.

use super::{Peers, Running, RunningBuffers, Variables};
use crate::checkpoint::Held;
use crate::data::Data;
use crate::seed::{Stream, seed_of};
use crate::task::{Batch, Model, Setup, Task};
use crate::{Error, Result, optimizer, precision};
use lockstep_c10d::{LossScale, Optimizer, WeightAverage, rng};
use lockstep_job::{JobSpec, Precision};
use lockstep_run::{Rank, Step};
use std::sync::{Mutex, PoisonError};
use tch::nn::VarStore;
use tch::{Device, Tensor};

/// Held while a model draws its initial values.
static BUILDING: Mutex<()> = Mutex::new(());

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
    content: Content,
    /// All of it is of the same step.
    is_whole: bool,
}

/// What the tensors of a replica are.
enum Content {
    /// As the seed makes them.
    Initial,
    /// A trained state; and of each shard of the data the hash of what this rank has read or expects there.
    Held { held: Box<Held>, read: Vec<Option<u128>> },
    /// They are being trained or overwritten, or that was interrupted: nobody may take them for anything.
    Unknown,
}

/// What a replica is built from.
pub(crate) struct Seed<'a> {
    pub(crate) task: &'a dyn Task,
    pub(crate) config: &'a serde_json::Value,
    pub(crate) data: &'a dyn Data,
    pub(crate) empty: &'a Batch,
    pub(crate) job: &'a JobSpec,
}

impl Replica {
    /// One that nobody has trained, as the job's seed makes it.
    pub(crate) fn build(seed: &Seed<'_>, device: Device, rank: Rank) -> Result<Self> {
        let Seed { task, config, data, empty, job } = *seed;
        // On the CPU, whose generator gives the same initial values whatever the model computes on.
        let mut vars = VarStore::new(Device::Cpu);
        let running = Running::default();
        let (num_classes, vocab) = (data.num_classes(), data.vocab());
        let setup = Setup { config, columns: empty, num_classes, vocab, device, running: &running };
        let built = {
            // One generator serves all ranks of a process, where they are threads.
            let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
            rng::seed(seed_of(job.train.seed, Stream::Init))?;
            task.build(&setup, &vars.root())
        };
        let model = built.map_err(|source| Error::Task { rank, step: Step(0), source })?;
        if device != Device::Cpu {
            let _no_grad = tch::no_grad_guard();
            vars.set_device(device);
        }
        let peers = running.asked().cloned();
        let running = running.close(device)?;
        let variables = Variables::of(&vars, precision::of_parameters(job.train.precision))?;
        let optimizer = optimizer::build(&job.optimizer, variables.parameters())?;
        let average =
            job.train.ema.map(|ema| WeightAverage::new(variables.parameters(), ema.decay)).transpose()?;
        let (loss_scale, content, is_whole) = (None, Content::Initial, true);
        Ok(Self {
            device,
            model,
            variables,
            running,
            optimizer,
            loss_scale,
            average,
            peers,
            content,
            is_whole,
        })
    }

    /// Whether it is known what its tensors are.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(self.content, Content::Unknown)
    }

    /// What is known of a trained state; none where nobody has trained it.
    pub(crate) fn held(&self) -> Option<&Held> {
        match &self.content {
            Content::Held { held, .. } => Some(held),
            Content::Initial | Content::Unknown => None,
        }
    }

    /// The step of the state that it holds.
    pub(crate) fn step(&self) -> Option<Step> {
        self.held().map(|held| held.state.step)
    }

    /// Of each shard the hash of what this rank had read or expected there when its generation ended.
    pub(crate) fn read(&self) -> &[Option<u128>] {
        match &self.content {
            Content::Held { read, .. } => read,
            Content::Initial | Content::Unknown => &[],
        }
    }

    /// The same state, in the words of the rank that hands it on.
    pub(crate) fn described(&mut self, described: Held) {
        if let Content::Held { held, .. } = &mut self.content {
            **held = described;
        }
    }

    /// Overwrites its tensors by `fill`, which says what they are then; none, where they are as the seed makes them.
    pub(crate) fn filled<T>(&mut self, fill: impl FnOnce(&Self) -> Result<(Option<Held>, T)>) -> Result<T> {
        let read = self.read().to_vec();
        self.content = Content::Unknown;
        let (held, more) = fill(self)?;
        self.content = match held {
            Some(held) => Content::Held { held: Box::new(held), read },
            None => Content::Initial,
        };
        Ok(more)
    }

    /// Brings what depends on the tensors in line with them, before a generation.
    pub(crate) fn begin(&mut self, precision: Precision) -> Result<()> {
        let loss_scale = self.held().and_then(|held| held.state.loss_scale);
        self.loss_scale = precision::loss_scale(precision, loss_scale, self.device)?;
        self.variables.changed()
    }

    /// Steps follow.
    pub(crate) fn train(&mut self) {
        self.content = Content::Unknown;
    }

    /// No step follows. Where one was torn, nothing is known of it.
    pub(crate) fn hold(&mut self, held: Held, read: Vec<Option<u128>>) {
        if self.is_whole {
            self.content = Content::Held { held: Box::new(held), read };
        }
    }

    /// Applies a step's gradient, unless `non_finite` holds 1; `running` is what all ranks have staged for running statistics. Returns
    /// what was found in the gradient, as [`Finiteness::of`](lockstep_c10d::Finiteness::of) understands it. Talks to nobody.
    ///
    /// An error leaves it torn between two steps, for good.
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

    /// Exchanges the parameters with their averages, where there are such; to be called twice.
    pub(crate) fn swap_averages(&mut self) -> Result<()> {
        let Some(average) = &mut self.average else { return Ok(()) };
        let was_whole = std::mem::replace(&mut self.is_whole, false);
        average.swap()?;
        self.variables.changed()?;
        self.is_whole = !was_whole;
        Ok(())
    }

    /// Handles on all tensors that a step changes, in the same order on all ranks.
    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        self.trained().into_iter().chain(self.variables.buffers()).collect()
    }

    /// Those that are the same on all ranks after each step, as buffers of a user's own needn't be.
    pub(crate) fn trained(&self) -> Vec<Tensor> {
        let parameters = self.variables.parameters().tensors().iter().map(Tensor::shallow_clone);
        let moments = self.optimizer.state().into_iter();
        let averages = self.average.iter().flat_map(WeightAverage::state);
        parameters.chain(moments.chain(averages).map(|(_, t)| t)).collect()
    }
}
