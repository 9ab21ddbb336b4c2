//! Makes the group of a generation, from its members in their order. Nothing else knows how that is done.

use super::World;
use crate::{Error, Result};
use lockstep_c10d::{GlooGroup, GlooOptions, Listen, PrefixStore, ProcessGroup, Store};
use lockstep_job::JobSpec;
use lockstep_run::Step;
use lockstep_run::link::Start;
use std::sync::Arc;

/// Meets the other ranks through `store`.
///
/// Collective: all ranks of the generation.
pub(crate) fn form(job: &JobSpec, start: &Start, store: &Arc<dyn Store>) -> Result<World> {
    let options = GlooOptions {
        listen: Listen::Host(start.host.clone()),
        form_timeout: job.recovery.form.duration(),
        collective_timeout: job.recovery.collective().duration(),
        ..GlooOptions::default()
    };
    let (rank, size) = (start.rank, start.world_size);
    let store = Arc::new(PrefixStore::new("group", Arc::clone(store)));
    let group = GlooGroup::form(store, rank.0 as usize, size as usize, &options);
    let lost = |e: lockstep_c10d::Error| Error::PeerLost {
        rank,
        step: Step(0),
        during: "rendezvous",
        reason: e.to_string(),
    };
    let group: Arc<dyn ProcessGroup> = Arc::new(group.map_err(lost)?);
    Ok(World::new(rank, size, group))
}
