//! A store that stops answering under somebody who watches a run.

use crate::output::say;
use lockstep_run::Error;

/// What has been said of a store's silence. The run goes on without it for a while, and so does whoever watches.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    told: bool,
}

impl Outage {
    /// What was read; none where the store didn't answer just now, which is said once.
    ///
    /// # Errors
    /// Those that time doesn't mend.
    pub(crate) fn pass<T>(&mut self, read: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        match read {
            Ok(value) => {
                if std::mem::take(&mut self.told) {
                    say!("the store answers again");
                }
                Ok(Some(value))
            }
            Err(error) if is_transient(&error) => {
                if !std::mem::replace(&mut self.told, true) {
                    say!("the store does not answer, trying again: {error:#}");
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn is_transient(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Storage(error)) if error.is_transient())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_time_mends_is_passed_over() {
        let storage = |error| anyhow::Error::from(Error::Storage(error));
        let uri = || "s3://b/run.json".to_owned();
        let silent =
            lockstep_storage::Error::Unavailable { uri: uri(), operation: "get", reason: "reset".into() };
        let denied = lockstep_storage::Error::Denied { uri: uri(), reason: "403".into() };
        let mut outage = Outage::default();
        assert_eq!(outage.pass::<()>(Err(storage(silent))).unwrap(), None);
        assert!(outage.told);
        assert_eq!(outage.pass(Ok(1)).unwrap(), Some(1));
        assert!(!outage.told);
        assert!(outage.pass::<()>(Err(storage(denied))).is_err());
    }
}
