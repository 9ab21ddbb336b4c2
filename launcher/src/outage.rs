//! A store that stops answering under somebody who watches a run.

use lockstep_run::Error;

/// What has been said of a store's silence. The run goes on without it for a while, and so does whoever watches.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    told: bool,
}

impl Outage {
    /// What was read; none where the store didn't answer just now, which `say` hears once, and that it answers again.
    ///
    /// # Errors
    /// Those that time doesn't mend.
    pub(crate) fn pass<T>(
        &mut self,
        read: anyhow::Result<T>,
        say: impl FnOnce(&str),
    ) -> anyhow::Result<Option<T>> {
        match read {
            Ok(value) => {
                if std::mem::take(&mut self.told) {
                    say("the store answers again");
                }
                Ok(Some(value))
            }
            Err(error) if is_transient(&error) => {
                if !std::mem::replace(&mut self.told, true) {
                    say(&format!("the store does not answer, trying again: {error:#}"));
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
        let (mut outage, mut said) = (Outage::default(), Vec::new());
        for _ in 0..2 {
            let passed = outage.pass::<()>(Err(storage(silent.clone())), |text| said.push(text.to_owned()));
            assert_eq!(passed.unwrap(), None);
        }
        for _ in 0..2 {
            assert_eq!(outage.pass(Ok(1), |text| said.push(text.to_owned())).unwrap(), Some(1));
        }
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("does not answer") && said[1].contains("answers again"), "{said:?}");
        assert!(outage.pass::<()>(Err(storage(denied)), |text| panic!("{text}")).is_err());
    }
}
