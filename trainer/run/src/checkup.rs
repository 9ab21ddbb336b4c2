//! What `lockstep doctor` asks of a place that a run needs: from the user's machine, and from inside a pod.

use lockstep_storage::{Created, Storage};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest that the storage may take to be tried out.
const STORAGE_DEADLINE: Duration = Duration::from_secs(60);

/// What a check came to: how it is, or what is wrong.
pub type Finding = Result<String, String>;

/// What a pod finds around it; the last words of an agent that was asked for a checkup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkup {
    /// The time of the pod's machine, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Whether the cluster's name server answers.
    pub dns: Finding,
    /// Whether the storage can be used with what the pod was given.
    pub storage: Finding,
    /// Whether the GPUs that the pod was promised are in it; none where it was promised none.
    pub gpus: Option<Finding>,
}

/// Tries out the storage at `uri`, in at most a minute: writes an object, finds that it can't be written again, reads, lists
/// and removes it.
pub async fn storage(uri: &str) -> Finding {
    let tried = async {
        let storage = lockstep_storage::open(uri)?;
        let path = format!("doctor-{}", jiff::Timestamp::now().as_nanosecond());
        let found = contract(storage.as_ref(), &path).await;
        let deleted = storage.delete(&path).await;
        // What went wrong first says more.
        let found = found?;
        deleted.map(|()| found)
    };
    match tokio::time::timeout(STORAGE_DEADLINE, tried).await {
        Err(_) => Err(format!("{uri} could not be tried out within {STORAGE_DEADLINE:?}")),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(Some(breach))) => Err(format!("{uri} {breach}")),
        Ok(Ok(None)) => Ok(format!("{uri} can be listed, read and written, and honours conditional writes")),
    }
}

/// What the storage does that a run can't live with.
async fn contract(storage: &dyn Storage, path: &str) -> lockstep_storage::Result<Option<&'static str>> {
    let (first, second) = ("first".into(), "second".into());
    if storage.create(path, first).await? != Created::Ours {
        return Ok(Some("says that a new object existed already"));
    }
    match storage.create(path, second).await? {
        Created::Theirs(body) if body == "first" => {}
        _ => {
            return Ok(Some(
                "overwrote an object in spite of the condition; use a store that honours If-None-Match",
            ));
        }
    }
    if storage.get(path).await? != "first" {
        return Ok(Some("returned bytes other than those that were written"));
    }
    let listed = storage.list("").await?.iter().any(|meta| meta.path == path);
    Ok((!listed).then_some("doesn't list what was written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_is_a_storage_and_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let uri = folder.path().to_string_lossy().into_owned();
        let found = storage(&uri).await.unwrap();
        assert!(found.ends_with("honours conditional writes"), "{found}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let none = storage("ftp://x/y").await.unwrap_err();
        assert!(none.contains("ftp://x/y"), "{none}");
    }
}
