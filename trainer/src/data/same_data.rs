//! All ranks see the same data, and it is what the checkpoint was trained on.

use super::Data;
use crate::checkpoint::{Dataset, Sameness};
use crate::link::Outbox;
use crate::rank::World;
use crate::{Error, Result};
use lockstep_c10d::Store;
use lockstep_datasets::Contents;
use lockstep_run::Step;
use lockstep_run::link::WorkerMsg;
use std::sync::Arc;
use std::time::Duration;

/// Where rank 0 tells the others which data it sees.
const KEY: &str = "lockstep/data";

/// Nothing was read of a shard. No hash is that: both of its halves would have to be the smallest number.
const UNREAD: i64 = i64::MIN;

/// Makes sure that this rank opened the same data as rank 0: nodes may have copies of their own, or it may have been
/// replaced between one look and the other.
///
/// Collective.
pub(crate) fn check_ranks(
    world: &World,
    store: &Arc<dyn Store>,
    data: &dyn Data,
    patience: Duration,
) -> Result<()> {
    let mine = data.uses().into_iter().map(|used| used.digest).collect::<Vec<_>>().join(" and ");
    let lost = |e: lockstep_c10d::StoreError| Error::PeerLost {
        rank: world.rank(),
        step: Step(0),
        during: "comparing data",
        reason: e.to_string(),
    };
    if world.is_first() {
        return store.set(KEY, mine.as_bytes()).map_err(lost);
    }
    let first = store.get(KEY, patience).map_err(lost)?;
    if first == mine.as_bytes() {
        return Ok(());
    }
    let first = String::from_utf8_lossy(&first);
    let what = format!("{} has the digests {mine}, but on rank 0 they are {first}", data.dataset().uri);
    Err(Error::DataDiffers { rank: world.rank(), what })
}

/// Makes sure that the data is what `before` was trained on; rank 0 tells what can't be known.
///
/// Blocking: where files are not those of the checkpoint, some are read.
pub(crate) fn check_checkpoint(
    world: &World,
    before: &Dataset,
    data: &dyn Data,
    outbox: &Outbox,
    step: Step,
) -> Result<()> {
    let now = data.dataset();
    let sameness = before.compare(now)?;
    if world.is_first() {
        let uri = &now.uri;
        match sameness {
            Sameness::Same => (),
            Sameness::ByContent => tracing::info!(
                "the files of {uri} are not those that checkpoint {step} was trained on; their content is compared"
            ),
            Sameness::Unknown => outbox.send(WorkerMsg::Warning(format!(
                "the index of {uri} is that of checkpoint {step}, but neither has hashes of the files, so nothing tells whether \
                 they have changed. `lockstep data seal` writes the hashes of the files as they are now"
            ))),
        }
    }
    data.expect(&before.shards, sameness == Sameness::ByContent)
}

/// What the ranks that survived a generation had read in it, together; `mine` is of this rank, and empty for one that is new.
///
/// Collective.
pub(crate) fn gather_read(
    world: &World,
    mine: &[Option<u128>],
    dataset: &Dataset,
    step: Step,
) -> Result<Contents> {
    let most = world.max("comparing data", step, &[mine.len() as i64])?;
    let mut mine = mine.to_vec();
    mine.resize(most.first().map_or(0, |most| *most as usize), None);
    gather(world, &mine, dataset, step)
}

/// What all ranks together have read so far. Two that read different content under one name can't both be right.
///
/// Collective.
pub(crate) fn gather(
    world: &World,
    mine: &[Option<u128>],
    dataset: &Dataset,
    step: Step,
) -> Result<Contents> {
    let halves = |hash: &Option<u128>| hash.map_or([UNREAD; 2], |h| [(h >> 64) as i64, h as i64]);
    let mine: Vec<i64> = mine.iter().flat_map(halves).collect();
    let all = world.max("comparing data", step, &mine)?;
    let mut contents = Contents::new();
    for (shard, (own, all)) in mine.chunks(2).zip(all.chunks(2)).enumerate() {
        if own[0] != UNREAD && own != all {
            let what = format!("the content of shard {shard} of {} differs on another rank", dataset.uri);
            return Err(Error::DataDiffers { rank: world.rank(), what });
        }
        if all[0] != UNREAD {
            contents.insert(shard as u32, format!("{:016x}{:016x}", all[0] as u64, all[1] as u64));
        }
    }
    Ok(contents)
}
