use super::check::Check;
use crate::{Failure, runs};
use lockstep_run::checkup;
use lockstep_storage::{Scheme, conformance, open};

/// Whether this machine can use a storage, and then whether the storage keeps what a run rests on.
///
/// # Errors
/// Where the URI names no storage, and where what was written there can't be removed.
pub(super) async fn checks(uri: &str) -> anyhow::Result<Vec<Check>> {
    let uri = runs::absolute(uri)?;
    let storage = open(&uri).map_err(|error| Failure::usage(error.to_string()))?;
    let mut checks = vec![Check::new("storage", checkup::storage(&uri).await, &what_to_check(&uri))];
    if checks.iter().all(|check| check.ok) {
        let folder = format!("doctor-{}", jiff::Timestamp::now().as_nanosecond());
        let told = |promise: &conformance::Check, outcome: &conformance::Outcome| {
            checks.push(Check::promise(promise, outcome));
        };
        conformance::run(&storage, &folder, told).await?;
        if Scheme::of(&uri).is_none() {
            // Where folders are real, those of the objects are left.
            std::fs::remove_dir_all(storage.uri(&folder))?;
        }
    }
    Ok(checks)
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
