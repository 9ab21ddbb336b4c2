//! One launcher for each local run: `launcher.lock` in the run's folder.
//!
//! It only saves work: records decide who is in a run, and a launch without a lock finds a live leader all the same. The
//! kernel lets go of it when the launcher dies, however it dies.

mod file;
mod holder;
mod place;

pub(crate) use holder::Holder;

use file::Attempt;
use place::Place;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

/// How long a launch may spend on its lock: a disk or a server that doesn't answer by then has none.
const DEADLINE: Duration = Duration::from_secs(2);

/// The lock of a run, held until it is dropped.
#[derive(Debug)]
pub(crate) struct RunLock {
    path: PathBuf,
    /// Held, never read.
    _file: File,
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // While it is held still, so that it is nobody else's: who opened it before looks again at what the path names.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What came of asking for a lock.
#[derive(Debug)]
pub(crate) enum Taken {
    /// This process holds it.
    Ours(RunLock),
    /// Another launcher holds it; who, where that is known.
    Held(Option<Holder>),
    /// There is no place where it could be taken. Holds the reason.
    Nowhere(String),
}

impl RunLock {
    /// Takes the lock of the run whose folder is `uri`, as [`RunDir::uri`](lockstep_run::RunDir::uri) gives it.
    pub(crate) async fn take(uri: &str) -> Taken {
        let uri = uri.to_owned();
        let taken = in_time(move || {
            let mut refusals = Vec::new();
            for place in Place::all(&uri) {
                match place.and_then(|place| file::take(&place, DEADLINE)) {
                    Ok(Attempt::Ours(file, path)) => return Taken::Ours(Self { path, _file: file }),
                    Ok(Attempt::Held(holder)) => return Taken::Held(holder),
                    Err(reason) => refusals.push(reason),
                }
            }
            Taken::Nowhere(refusals.join("; "))
        });
        taken.await.unwrap_or_else(|| Taken::Nowhere(format!("no answer within {} s", DEADLINE.as_secs())))
    }

    /// Whether some launcher of the run lives.
    pub(crate) async fn is_held(uri: &str) -> bool {
        let uri = uri.to_owned();
        in_time(move || Place::all(&uri).flatten().any(|place| file::is_held(&place))).await.unwrap_or(false)
    }

    /// The launcher of the run on this machine, where one lives and is proved to be the one that holds the lock.
    pub(crate) async fn holder(uri: &str) -> Option<Holder> {
        let uri = uri.to_owned();
        in_time(move || Place::all(&uri).flatten().find_map(|place| file::holder(&place))).await.flatten()
    }
}

/// Does file work on a thread of its own; none where it takes longer than anybody would wait.
async fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let most = DEADLINE + Duration::from_millis(500);
    tokio::time::timeout(most, tokio::task::spawn_blocking(work)).await.ok()?.ok()
}

#[cfg(test)]
mod tests;
