//! The contract of [`Storage`] as checks that any store can be held to, a user's own bucket too.
//!
//! Recovery rests on these promises. A store that breaks one doesn't fail: it loses a run, or gives it the data of another.

mod lists;
mod reads;
mod writes;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;

use crate::{Error, Storage};

/// More than any check needs on a slow store; a store that hangs breaks the contract's eighth point.
const DEADLINE: Duration = Duration::from_secs(120);

/// One promise of the contract, and what checks it.
pub struct Check {
    /// A short name, of letters and hyphens.
    pub name: &'static str,
    /// What a store promises here.
    pub promise: &'static str,
    /// What happens to a run on a store that breaks the promise.
    pub danger: &'static str,
    check: fn(Place) -> BoxFuture<'static, Outcome>,
}

impl Check {
    /// Runs this check alone, in a folder of its name below `folder`. What it writes stays.
    ///
    /// # Errors
    /// What was seen instead of what was promised. An error of the store is one, and so is no end within two minutes.
    pub async fn run(&self, storage: &Arc<dyn Storage>, folder: &str) -> Outcome {
        let place = Place { storage: storage.clone(), folder: format!("{folder}/{}", self.name) };
        let outcome = tokio::time::timeout(DEADLINE, (self.check)(place)).await;
        outcome.unwrap_or_else(|_| Err(format!("it did not end within {DEADLINE:?}")))
    }
}

/// How a check ended: in words what was seen instead of what was promised.
pub type Outcome = Result<(), String>;

/// All checks, in the order in which they run.
pub const CHECKS: [Check; 15] = [
    Check {
        name: "round-trip",
        promise: "what was written is read, whatever its name and size",
        danger: "checkpoints come back changed",
        check: |place| Box::pin(writes::round_trip(place)),
    },
    Check {
        name: "missing",
        promise: "what isn't there is told apart from what can't be reached",
        danger: "an outage looks like a new run, which starts over",
        check: |place| Box::pin(reads::missing(place)),
    },
    Check {
        name: "ranges",
        promise: "a range gives these bytes, and one that isn't inside the object is refused",
        danger: "shards are read shifted or short",
        check: |place| Box::pin(reads::ranges(place)),
    },
    Check {
        name: "sizes-first",
        promise: "the size comes before the content",
        danger: "a wrong object fills the memory",
        check: |place| Box::pin(reads::sizes_first(place)),
    },
    Check {
        name: "if-match",
        promise: "a read that names a content gets that content or nothing",
        danger: "a run trains on data that was exchanged under it",
        check: |place| Box::pin(reads::if_match(place)),
    },
    Check {
        name: "create-once",
        promise: "a conditional create leaves what is there",
        danger: "two launches share a run and overwrite each other's records",
        check: |place| Box::pin(writes::create_once(place)),
    },
    Check {
        name: "create-race",
        promise: "of 16 racing creates, one wins, and all are told which",
        danger: "two leaders form the same generation, and each goes its own way",
        check: |place| Box::pin(writes::create_race(place)),
    },
    Check {
        name: "put-replaces",
        promise: "a second put of a path replaces the first",
        danger: "a checkpoint that is written again keeps old bytes",
        check: |place| Box::pin(writes::put_replaces(place)),
    },
    Check {
        name: "replace",
        promise: "a replacement that names the old content has no effect once that has changed",
        danger: "a change to an index or a record is lost without a word",
        check: |place| Box::pin(writes::replace(place)),
    },
    Check {
        name: "replace-race",
        promise: "of 16 racing replacements of the same content, one wins",
        danger: "a change to an index or a record is lost without a word",
        check: |place| Box::pin(writes::replace_race(place)),
    },
    Check {
        name: "whole-or-nothing",
        promise: "a reader sees a whole object or none while it is written",
        danger: "half a checkpoint is loaded",
        check: |place| Box::pin(writes::whole_or_nothing(place)),
    },
    Check {
        name: "list-after-write",
        promise: "a listing shows what was written before it, over many pages",
        danger: "the newest checkpoint isn't found, and steps are repeated",
        check: |place| Box::pin(lists::list_after_write(place)),
    },
    Check {
        name: "folders",
        promise: "a listing of folders names each of them, over many pages",
        danger: "runs are missing from `status`",
        check: |place| Box::pin(lists::folders(place)),
    },
    Check {
        name: "delete",
        promise: "what was deleted is gone, and may be created anew",
        danger: "old checkpoints stay, or come back",
        check: |place| Box::pin(lists::delete(place)),
    },
    Check {
        name: "large-put",
        promise: "an object of many parts is whole",
        danger: "large checkpoints can't be written, or are read shifted",
        check: |place| Box::pin(writes::large_put(place)),
    },
];

/// Holds a storage to the contract, one check after another, below `folder`, which must be nobody else's. Writes some 50 MB
/// there.
///
/// `told` hears how each check ended. An error of the store breaks the promise that was being checked; once the store is gone,
/// the rest isn't tried. What was written stays: see [`clean`].
pub async fn run(storage: &Arc<dyn Storage>, folder: &str, mut told: impl FnMut(&Check, &Outcome)) {
    let mut gone = None;
    for check in &CHECKS {
        let outcome = match &gone {
            Some(error) => Err(format!("not tried, because {error}")),
            None => check.run(storage, folder).await,
        };
        if outcome.is_err() && gone.is_none() {
            gone = storage.list(folder).await.err();
        }
        told(check, &outcome);
    }
}

/// Removes what [`run`] wrote.
///
/// # Errors
/// Where the store refuses; some of it is left then.
pub async fn clean(storage: &Arc<dyn Storage>, folder: &str) -> crate::Result<()> {
    for left in storage.list(folder).await? {
        storage.delete(&left.path).await?;
    }
    Ok(())
}

/// The folder of one check.
#[derive(Clone)]
struct Place {
    storage: Arc<dyn Storage>,
    folder: String,
}

impl Place {
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// The path below the check's folder of one that was listed.
    fn name(&self, path: &str) -> String {
        path.strip_prefix(&self.folder).unwrap_or(path).trim_start_matches('/').to_owned()
    }
}

/// `Err` with what was seen, unless `holds`.
fn expect(holds: bool, seen: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(seen()) }
}

/// For `?` on the store's own errors.
fn failed(error: Error) -> String {
    error.to_string()
}
