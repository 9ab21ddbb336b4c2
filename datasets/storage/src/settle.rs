use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;

use crate::{Created, Error, Result};

/// Decides a conditional create: after any answer but a clear success the object is read back and compared.
///
/// `put_if_absent` says `Ok(true)` when it made the object, `Ok(false)` when the path was taken. Absent objects after a
/// failed write, and reads that fail, are tried again; the caller bounds the whole.
pub(crate) async fn create<P, G>(
    body: &Bytes,
    put_if_absent: impl Fn() -> P,
    read_back: impl Fn() -> G,
) -> Result<Created>
where
    P: Future<Output = Result<bool>>,
    G: Future<Output = Result<Bytes>>,
{
    let attempt = || async {
        let answer = match put_if_absent().await {
            Ok(true) => return Ok(Created::Ours),
            Ok(false) => None,
            Err(error) => Some(error),
        };
        match read_back().await {
            Ok(found) if found == *body => Ok(Created::Ours),
            Ok(found) => Ok(Created::Theirs(found)),
            Err(reading) => Err(answer.unwrap_or(reading)),
        }
    };
    // "Taken" and then absent is a delete in between, or a store that answers 409 to both of two racers: ask again.
    let again = |error: &Error| error.is_transient() || error.is_not_found();
    let pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(5)
        .with_jitter();
    attempt.retry(pauses).when(again).await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn unclear() -> Error {
        Error::Unavailable { uri: "memory://x".into(), operation: "create", reason: "503".into() }
    }

    /// A store of one object that answers `answers` in turn; `true` applies the write first.
    async fn run(before: Option<&str>, answers: Vec<(bool, Result<bool>)>) -> Result<Created> {
        let object = Mutex::new(before.map(|text| Bytes::copy_from_slice(text.as_bytes())));
        let answers = Mutex::new(answers.into_iter());
        let body = Bytes::from_static(b"mine");
        create(
            &body,
            || async {
                let (apply, answer) = answers.lock().unwrap().next().expect("asked too often");
                if apply {
                    object.lock().unwrap().get_or_insert(Bytes::from_static(b"mine"));
                }
                answer
            },
            || async { object.lock().unwrap().clone().ok_or(Error::NotFound { uri: "memory://x".into() }) },
        )
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn an_applied_write_is_ours_whatever_the_answer() {
        assert_eq!(run(None, vec![(true, Ok(true))]).await.unwrap(), Created::Ours);
        assert_eq!(run(None, vec![(true, Ok(false))]).await.unwrap(), Created::Ours);
        assert_eq!(run(None, vec![(true, Err(unclear()))]).await.unwrap(), Created::Ours);
    }

    #[tokio::test(start_paused = true)]
    async fn another_content_is_theirs_whatever_the_answer() {
        let theirs = Created::Theirs(Bytes::from_static(b"other"));
        assert_eq!(run(Some("other"), vec![(true, Ok(false))]).await.unwrap(), theirs);
        assert_eq!(run(Some("other"), vec![(true, Err(unclear()))]).await.unwrap(), theirs);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_write_is_tried_again_and_a_denied_one_is_not() {
        let lost = vec![(false, Err(unclear())), (false, Ok(false)), (true, Ok(true))];
        assert_eq!(run(None, lost).await.unwrap(), Created::Ours);

        let denied = Error::Denied { uri: "memory://x".into(), reason: "read-only".into() };
        assert!(matches!(run(None, vec![(false, Err(denied))]).await, Err(Error::Denied { .. })));
    }
}
