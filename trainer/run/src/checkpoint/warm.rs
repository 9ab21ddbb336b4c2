use crate::{Error, Outcome, Result, RunDir, Step, WarmFrom};
use bytes::Bytes;

/// So many earlier runs of a schedule are looked at, newest first; each costs some requests.
const MOST_LOOKED_AT: usize = 50;

impl RunDir {
    /// The folder of another run of the same storage.
    fn sibling(&self, name: &str) -> Result<RunDir> {
        RunDir::open(&format!("{}/{name}", self.storage_and_name().0))
    }

    /// The newest checkpoint of another run of the same storage, or the one of `step`; the inner error says, for the
    /// user, what there is.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`]. Where the other run has no such checkpoint, the inner result says so.
    pub async fn warm_from(&self, name: &str, step: Option<Step>) -> Result<Result<WarmFrom, String>> {
        let dir = self.sibling(name)?;
        let wanted = |c: &crate::CommitRef| step.is_none_or(|step| c.step == step);
        let lineage = dir.lineage_until(dir.newest_generation().await?, wanted).await?;
        let found = lineage.iter().find(|c| wanted(c));
        Ok(match (found, step) {
            (Some(checkpoint), _) => Ok(WarmFrom { run: name.to_owned(), checkpoint: *checkpoint }),
            (None, Some(step)) if !lineage.is_empty() => {
                let steps: Vec<_> = lineage.iter().map(|c| c.step.to_string()).collect();
                let there = steps.join(", ");
                Err(format!(
                    "warmStart: run {name} has no checkpoint of step {step}; choose one of these steps: {there}"
                ))
            }
            (None, _) => Err(format!(
                "warmStart: there is no checkpoint of a run {name} at {}; check the name, and the storage",
                dir.uri("")
            )),
        })
    }

    /// The last checkpoint of the newest run before this one that the schedule called `job` made and that was done;
    /// `None` where this is the first.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn warm_from_previous(&self, job: &str) -> Result<Option<WarmFrom>> {
        let (storage, own) = self.storage_and_name();
        let names = lockstep_storage::open(&storage)?.folders("").await?;
        for name in predecessors(&names, job, &own).into_iter().take(MOST_LOOKED_AT) {
            let membership = self.sibling(name)?.newest_membership().await?;
            if membership.as_ref().and_then(|m| m.outcome()) == Some(&Outcome::Done)
                && let Ok(found) = self.warm_from(name, None).await?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// One verified file of a checkpoint of another run.
    ///
    /// # Errors
    /// Where it is gone or damaged: another one in its place would be another run.
    pub async fn warm_file(&self, from: &WarmFrom, name: &str) -> Result<Bytes> {
        let fetched = self.sibling(&from.run)?.fetch_verified(from.checkpoint, name).await;
        fetched.map_err(|source| match source {
            Error::Storage(error) if !error.is_not_found() => error.into(),
            source => {
                let (run, step) = (from.run.clone(), from.checkpoint.step);
                Error::WarmStart { run, step, source: Box::new(source) }
            }
        })
    }

    /// Where this run and its siblings are, and what it is called there.
    fn storage_and_name(&self) -> (String, String) {
        let uri = self.uri("");
        let (storage, name) = uri.trim_end_matches('/').rsplit_once('/').unwrap_or((".", &uri));
        (storage.to_owned(), name.to_owned())
    }
}

/// The runs of a schedule before the one called `own`, newest first: each is called after the job and the minute of its
/// start.
fn predecessors<'a>(names: &'a [String], job: &str, own: &str) -> Vec<&'a str> {
    let minute = |name: &str| name.strip_prefix(job)?.strip_prefix('-')?.parse::<u64>().ok();
    let before = minute(own).unwrap_or(u64::MAX);
    let mut found: Vec<_> = names.iter().filter_map(|name| Some((minute(name)?, name.as_str()))).collect();
    found.retain(|(at, _)| *at < before);
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_previous_run_of_a_schedule_is_the_one_started_before() {
        let names =
            ["nightly", "nightly-9", "nightly-10", "nightly-11", "nightly-b-8", "nightly-8x", "daily-7"];
        let names = names.map(str::to_owned);
        assert_eq!(predecessors(&names, "nightly", "nightly-11"), ["nightly-10", "nightly-9"]);
        assert_eq!(predecessors(&names, "nightly", "nightly-9"), [""; 0]);
        assert_eq!(predecessors(&names, "nightly-b", "nightly-b-9"), ["nightly-b-8"]);
        assert_eq!(predecessors(&names, "nightly", "by-hand"), ["nightly-11", "nightly-10", "nightly-9"]);
    }
}
