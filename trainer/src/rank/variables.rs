use super::World;
use crate::Result;
use lockstep_c10d::{Parameters, WeightAverage};
use lockstep_run::Step;
use std::collections::HashSet;
use tch::Tensor;
use tch::nn::VarStore;

/// All tensors of a model that a checkpoint holds: its parameters, and buffers such as running means.
#[derive(Debug)]
pub(crate) struct Variables {
    parameters: Parameters,
    buffers: Vec<(String, Tensor)>,
}

impl Variables {
    /// Parameters in the order of their creation, buffers by name.
    pub(crate) fn of(model: &VarStore) -> Result<Self> {
        let parameters = Parameters::of(model)?;
        let trained: HashSet<&String> = parameters.names().iter().collect();
        let mut buffers: Vec<_> =
            model.variables().into_iter().filter(|(name, _)| !trained.contains(name)).collect();
        buffers.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Self { parameters, buffers })
    }

    /// What is trained.
    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Names and tensors, parameters first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let parameters = self.parameters.iter().map(|(name, t)| (name.to_owned(), t));
        parameters.chain(self.buffers.iter().map(|(name, t)| (name.clone(), t)))
    }

    /// The model with averaged parameters, and with its buffers as they are.
    pub(crate) fn averaged(&self, average: &WeightAverage) -> Vec<(String, Tensor)> {
        let buffers = self.buffers.iter().map(|(name, t)| (name.clone(), t.shallow_clone()));
        average.state().into_iter().chain(buffers).collect()
    }

    /// Handles on the tensors, parameters first.
    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        self.all().map(|(_, t)| t.shallow_clone()).collect()
    }

    /// Number of trained numbers.
    pub(crate) fn num_parameters(&self) -> usize {
        self.parameters.tensors().iter().map(Tensor::numel).sum()
    }

    /// Replaces the buffers by those of rank 0. Ranks see different samples, so running statistics drift apart between
    /// these points; gradients don't depend on them.
    ///
    /// Collective.
    pub(crate) fn sync_buffers(&self, world: &World, step: Step) -> Result<()> {
        if self.buffers.is_empty() {
            return Ok(());
        }
        let tensors: Vec<_> = self.buffers.iter().map(|(_, t)| t.shallow_clone()).collect();
        world.broadcast("the exchange of buffers", step, &tensors)
    }
}
