use super::World;
use crate::Result;
use lockstep_c10d::{Masters, Parameters, WeightAverage};
use lockstep_run::Step;
use std::collections::HashSet;
use tch::nn::VarStore;
use tch::{Kind, Tensor};

/// All tensors of a model that a checkpoint holds: its parameters, and buffers such as running means.
#[derive(Debug)]
pub(crate) struct Variables {
    trained: Trained,
    buffers: Vec<(String, Tensor)>,
}

/// The parameters that are trained.
#[derive(Debug)]
enum Trained {
    /// Those that the model computes with.
    Themselves(Parameters),
    /// A copy of them; the model computes with what it is rounded to.
    Copy(Masters),
}

impl Variables {
    /// Parameters in the order of their creation, buffers by name. The model computes with matrices of that kind from now on,
    /// where one is given.
    pub(crate) fn of(model: &VarStore, kind: Option<Kind>) -> Result<Self> {
        let parameters = Parameters::of(model)?;
        let trained: HashSet<&String> = parameters.names().iter().collect();
        let mut buffers: Vec<_> =
            model.variables().into_iter().filter(|(name, _)| !trained.contains(name)).collect();
        buffers.sort_by(|(a, _), (b, _)| a.cmp(b));
        let trained = match kind {
            None => Trained::Themselves(parameters),
            Some(kind) => Trained::Copy(Masters::of(parameters, kind)?),
        };
        Ok(Self { trained, buffers })
    }

    /// What is trained, saved and compared.
    pub(crate) fn parameters(&self) -> &Parameters {
        match &self.trained {
            Trained::Themselves(parameters) => parameters,
            Trained::Copy(masters) => masters.trained(),
        }
    }

    /// What the model computes with; gradients arrive there.
    pub(crate) fn computing(&self) -> &Parameters {
        match &self.trained {
            Trained::Themselves(parameters) => parameters,
            Trained::Copy(masters) => masters.computing(),
        }
    }

    /// Forgets the gradients.
    pub(crate) fn zero_grad(&self) -> Result<()> {
        self.computing().zero_grad()?;
        Ok(self.parameters().zero_grad()?)
    }

    /// Takes the gradients from where they arrived to what is trained.
    pub(crate) fn lift_gradients(&self) -> Result<()> {
        match &self.trained {
            Trained::Themselves(_) => Ok(()),
            Trained::Copy(masters) => Ok(masters.lift_gradients()?),
        }
    }

    /// Lets the model compute with what [`Variables::parameters`] has become. To be called whenever that changed.
    pub(crate) fn changed(&self) -> Result<()> {
        match &self.trained {
            Trained::Themselves(_) => Ok(()),
            Trained::Copy(masters) => Ok(masters.round()?),
        }
    }

    /// Names and tensors, parameters first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let parameters = self.parameters().iter().map(|(name, t)| (name.to_owned(), t));
        parameters.chain(self.buffers.iter().map(|(name, t)| (name.clone(), t)))
    }

    /// The model with averaged parameters, and with its buffers as they are.
    pub(crate) fn averaged(&self, average: &WeightAverage) -> Vec<(String, Tensor)> {
        let buffers = self.buffers.iter().map(|(name, t)| (name.clone(), t.shallow_clone()));
        average.state().into_iter().chain(buffers).collect()
    }

    /// Handles on the buffers.
    pub(crate) fn buffers(&self) -> Vec<Tensor> {
        self.buffers.iter().map(|(_, t)| t.shallow_clone()).collect()
    }

    /// Number of trained numbers.
    pub(crate) fn num_parameters(&self) -> usize {
        self.parameters().tensors().iter().map(Tensor::numel).sum()
    }

    /// Replaces the buffers by those of rank 0. Ranks see different samples, so running statistics drift apart between
    /// these points; gradients don't depend on them.
    ///
    /// Collective.
    pub(crate) fn sync_buffers(&self, world: &World, step: Step) -> Result<()> {
        if self.buffers.is_empty() {
            return Ok(());
        }
        world.broadcast("the exchange of buffers", step, &self.buffers())
    }
}
