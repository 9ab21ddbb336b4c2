//! Makes the groups of a generation, from its members in their order. Nothing else knows how that is done.

use super::World;
use super::device::{Compute, Found, place};
use crate::link::Outbox;
use crate::{Error, Result};
use lockstep_c10d::{
    GlooGroup, GlooOptions, Listen, NcclGroup, NcclOptions, PrefixStore, ProcessGroup, Store,
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
    found: Found,
    outbox: &Outbox,
) -> Result<(World, Compute)> {
    let options = GlooOptions {
        listen: Listen::Host(start.host.clone()),
        form_timeout: job.recovery.form.duration(),
        collective_timeout: job.recovery.collective().duration(),
        ..GlooOptions::default()
    };
    let (rank, size) = (start.rank, start.world_size);
    let prefixed = |prefix: &str| Arc::new(PrefixStore::new(prefix, Arc::clone(store)));
    let group = GlooGroup::form(prefixed("group"), rank.0 as usize, size as usize, &options);
    let control: Arc<dyn ProcessGroup> = Arc::new(group.map_err(lost(rank))?);
    let world = World::new(rank, size, control);

    let has_gpu = if found.has_gpu() { 1.0 } else { 0.0 };
    let of_rank = world.gather("choosing the device", Step(0), has_gpu)?;
    let of_rank: Vec<bool> = of_rank.into_iter().map(|has| has > 0.0).collect();
    let (compute, warning) = found.agree(rank, &of_rank);
    if let Some(warning) = warning {
        outbox.send(WorkerMsg::Warning(warning));
    }
    let Some(cuda) = &compute.cuda else { return Ok((world, compute)) };
    outbox.send(WorkerMsg::Computes { gpu: place(start).uuid().map(GpuUuid) });
    let options = NcclOptions {
        // NCCL looks at the machine first. Within the agent's own budget, so that this rank says what it waited for.
        form_timeout: job.recovery.first_step_budget.duration() / 2,
        collective_timeout: job.recovery.collective().duration(),
    };
    let group = NcclGroup::form(prefixed("nccl"), rank.0 as usize, size as usize, cuda, &options);
    let tensors: Arc<dyn ProcessGroup> = Arc::new(group.map_err(lost(rank))?);
    Ok((world.with_tensors(tensors), compute))
}

fn lost(rank: Rank) -> impl Fn(lockstep_c10d::Error) -> Error {
    move |e| Error::PeerLost { rank, step: Step(0), during: "rendezvous", reason: e.to_string() }
}
