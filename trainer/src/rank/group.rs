//! Makes the groups of a generation, from its members in their order. Nothing else knows how that is done.

use super::World;
use super::device::{Compute, Found, place};
use crate::control::Control;
use crate::link::Outbox;
use crate::{Error, Result};
use lockstep_c10d::{
    Cuda, GlooGroup, GlooOptions, Listen, NcclGroup, NcclOptions, PrefixStore, ProcessGroup, Store,
};
use lockstep_job::JobSpec;
use lockstep_run::link::{Start, WorkerMsg};
use lockstep_run::{GpuUuid, Rank, Step};
use std::sync::Arc;

/// Meets the other ranks through `store`, and agrees with them on what all compute on.
///
/// What ranks tell one another goes over CPUs on any device: no number has to come back from a GPU for it. On GPUs there is a
/// second group, for gradients and all that lies there.
///
/// Collective: all ranks of the generation.
pub(crate) fn form(
    job: &JobSpec,
    start: &Start,
    store: &Arc<dyn Store>,
    found: &Found,
    control: &Control,
    outbox: &Outbox,
) -> Result<(World, Compute)> {
    let former = Former { job, start, store, control };
    let control = former.on_cpus("group", GlooOptions::default().threads)?;
    let world = World::new(start.rank, start.world_size, control);

    let has_gpu = if found.has_gpu() { 1.0 } else { 0.0 };
    let of_rank = world.gather("choosing the device", Step(0), has_gpu)?;
    let of_rank: Vec<bool> = of_rank.into_iter().map(|has| has > 0.0).collect();
    let (compute, warning) = found.agree(start.rank, &of_rank);
    if let Some(warning) = warning {
        outbox.send(WorkerMsg::Warning(warning));
    }
    match &compute.cuda {
        None => Ok((world, compute)),
        Some(cuda) => {
            outbox.send(WorkerMsg::Computes { gpu: place(start).uuid().map(GpuUuid) });
            let tensors = former.on_gpus("nccl", cuda)?;
            Ok((world.with_tensors(tensors), compute))
        }
    }
}

/// A group of all ranks on what they compute on, beside those that there are.
///
/// Collective: all ranks of the generation.
pub(crate) fn form_another(
    name: &str,
    job: &JobSpec,
    start: &Start,
    store: &Arc<dyn Store>,
    control: &Control,
    compute: &Compute,
) -> Result<Arc<dyn ProcessGroup>> {
    let former = Former { job, start, store, control };
    match &compute.cuda {
        // One operation at a time.
        None => former.on_cpus(name, 1),
        Some(cuda) => former.on_gpus(name, cuda),
    }
}

/// What groups are formed by. Each has a name of its own.
struct Former<'a> {
    job: &'a JobSpec,
    start: &'a Start,
    store: &'a Arc<dyn Store>,
    /// Told of each group, to end a wait in it.
    control: &'a Control,
}

impl Former<'_> {
    fn on_cpus(&self, name: &str, threads: usize) -> Result<Arc<dyn ProcessGroup>> {
        let options = GlooOptions {
            listen: Listen::Host(self.start.host.clone()),
            form_timeout: self.job.recovery.form.duration(),
            collective_timeout: self.job.recovery.collective().duration(),
            threads,
        };
        let (rank, size) = self.ranks();
        let group = GlooGroup::form(self.keys(name), rank, size, &options);
        self.formed(Arc::new(group.map_err(lost(self.start.rank))?))
    }

    fn on_gpus(&self, name: &str, cuda: &Cuda) -> Result<Arc<dyn ProcessGroup>> {
        let options = NcclOptions {
            // NCCL looks at the machine first. Within the agent's own budget, so that this rank says what it waited for.
            form_timeout: self.job.recovery.first_step_budget.duration() / 2,
            collective_timeout: self.job.recovery.collective().duration(),
        };
        let (rank, size) = self.ranks();
        let group = NcclGroup::form(self.keys(name), rank, size, cuda, &options);
        self.formed(Arc::new(group.map_err(lost(self.start.rank))?))
    }

    fn formed(&self, group: Arc<dyn ProcessGroup>) -> Result<Arc<dyn ProcessGroup>> {
        self.control.waits_in(&group);
        Ok(group)
    }

    fn keys(&self, name: &str) -> Arc<dyn Store> {
        Arc::new(PrefixStore::new(name, Arc::clone(self.store)))
    }

    fn ranks(&self) -> (usize, usize) {
        (self.start.rank.0 as usize, self.start.world_size as usize)
    }
}

fn lost(rank: Rank) -> impl Fn(lockstep_c10d::Error) -> Error {
    move |e| Error::PeerLost { rank, step: Step(0), during: "rendezvous", reason: e.to_string() }
}
