use super::check::Check;
use crate::output::say;
use crate::signals::{Signals, StopSignal};
use crate::{Failure, runs};
use lockstep_run::checkup::{self, Finding};
use lockstep_storage::{Scheme, Storage, conformance, open};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long what was written may take to be removed. A store that is gone keeps it.
const CLEAN_DEADLINE: Duration = Duration::from_secs(30);

/// What was found, and what stopped the search before its end.
pub(super) type Found = (Vec<Check>, Option<StopSignal>);

/// Whether this machine can use a storage, and then whether the storage keeps what a run rests on.
///
/// # Errors
/// Where the URI names no storage.
pub(super) async fn checks(uri: &str) -> anyhow::Result<Found> {
    let uri = runs::absolute(uri)?;
    let storage = open(&uri).map_err(|error| Failure::usage(error.to_string()))?;
    let mut signals = Signals::listen()?;
    let place = Place::new(storage, &uri);
    let (usable, stopped) = is_usable(&uri, &mut signals).await;
    let mut checks = vec![Check::new("storage", usable, &what_to_check(&uri))];
    if stopped.is_some() || !checks[0].ok {
        return Ok((checks, stopped));
    }
    let stopped = tokio::select! {
        () = hold_to_contract(&place, &mut checks) => None,
        signal = signals.next() => Some(signal),
    };
    // A second signal ends it.
    let cleaned = tokio::select! {
        cleaned = tokio::time::timeout(CLEAN_DEADLINE, place.clean()) => {
            cleaned.unwrap_or_else(|_| Err(format!("the store did not remove it within {CLEAN_DEADLINE:?}")))
        }
        _ = signals.next() => Err("you did not wait for it".to_owned()),
    };
    if let Err(error) = cleaned {
        let left = place.storage.uri(&place.folder);
        checks.push(Check::new(
            "left-behind",
            Err(format!("{left} may still be there: {error}")),
            &format!("remove {left}"),
        ));
    }
    Ok((checks, stopped))
}

/// Whether the storage can be used at all. This takes away what it writes, so a signal lets it end, for a while.
async fn is_usable(uri: &str, signals: &mut Signals) -> (Finding, Option<StopSignal>) {
    let mut found = std::pin::pin!(checkup::storage(uri));
    let signal = tokio::select! {
        found = &mut found => return (found, None),
        signal = signals.next() => signal,
    };
    let found = tokio::select! {
        found = tokio::time::timeout(CLEAN_DEADLINE, found) => {
            found.unwrap_or_else(|_| Err(format!("{uri} did not answer within {CLEAN_DEADLINE:?}")))
        }
        _ = signals.next() => Err(format!("{uri} was not tried out to the end")),
    };
    (found, Some(signal))
}

async fn hold_to_contract(place: &Place, checks: &mut Vec<Check>) {
    let all = conformance::CHECKS.len();
    let told = |promise: &conformance::Check, outcome: &conformance::Outcome| {
        let verdict = if outcome.is_ok() { "kept" } else { "not kept" };
        say!("{} of {all}  {:<16} {verdict}", checks.len(), promise.name);
        checks.push(Check::promise(promise, outcome));
    };
    conformance::run(&place.storage, &place.folder, told).await;
}

/// Where the checks write.
struct Place {
    storage: Arc<dyn Storage>,
    folder: String,
    /// Folders that aren't there yet, and go again with what is written; the innermost first.
    made: Vec<PathBuf>,
}

impl Place {
    fn new(storage: Arc<dyn Storage>, uri: &str) -> Self {
        let folder = format!("doctor-{}", jiff::Timestamp::now().as_nanosecond());
        let made = match uri.contains("://") {
            true => vec![],
            false => {
                Path::new(uri).ancestors().take_while(|path| !path.exists()).map(Path::to_path_buf).collect()
            }
        };
        Self { storage, folder, made }
    }

    async fn clean(&self) -> Result<(), String> {
        conformance::clean(&self.storage, &self.folder).await.map_err(|error| error.to_string())?;
        let uri = self.storage.uri(&self.folder);
        if !uri.contains("://") && Path::new(&uri).exists() {
            // Where folders are real, those of the objects are left.
            std::fs::remove_dir_all(&uri).map_err(|error| error.to_string())?;
        }
        // One that holds something by now stays.
        self.made.iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
        Ok(())
    }
}

fn what_to_check(uri: &str) -> String {
    match Scheme::of(uri) {
        Some(scheme) => format!(
            "check that the bucket is there, export {}, and let the key list, read, write and delete there",
            scheme.how_to_give()
        ),
        None => "check that the folder is there, and that you may write to it".to_owned(),
    }
}
