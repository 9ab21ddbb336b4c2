//! What is asked of a live run, and what its ranks answer.

use crate::dir::MAX_RECORD_BYTES;
use crate::record::format::{bad, from_json, to_json};
use crate::{Rank, Result, RunDir, RunRequest, Trace, layout};
use lockstep_storage::Created;

impl RunDir {
    /// Adds a request to those of the run; returns its number.
    ///
    /// # Errors
    /// [`Error::Storage`](crate::Error::Storage).
    pub async fn ask(&self, request: &RunRequest) -> Result<u64> {
        let mut number = self.newest_request().await?;
        loop {
            // Somebody else may ask at the same time.
            number = number.saturating_add(1);
            let path = layout::request(number);
            if self.storage().create(&path, to_json(&path, REQUEST, request)?).await? == Created::Ours {
                return Ok(number);
            }
        }
    }

    /// The number of the newest request; 0 before the first.
    ///
    /// # Errors
    /// [`Error::Storage`](crate::Error::Storage).
    pub async fn newest_request(&self) -> Result<u64> {
        self.last_number(0, layout::request).await
    }

    /// One request, if it was made.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn request(&self, number: u64) -> Result<Option<RunRequest>> {
        self.read(&layout::request(number), REQUEST).await
    }

    /// Keeps a rank's trace for the request of a number, unless there is one already.
    ///
    /// # Errors
    /// [`Error::Storage`](crate::Error::Storage). That there is one already is none.
    pub async fn keep_trace(&self, number: u64, trace: &Trace) -> Result<()> {
        let path = layout::trace(number, trace.rank);
        self.storage().create(&path, to_json(&path, TRACE, trace)?).await?;
        Ok(())
    }

    /// The ranks whose traces for a request are there.
    ///
    /// # Errors
    /// [`Error::Storage`](crate::Error::Storage).
    pub async fn traced(&self, number: u64) -> Result<Vec<Rank>> {
        let objects = self.storage().list(&layout::traces(number)).await?;
        Ok(objects.iter().filter_map(|meta| layout::parse_trace(&meta.path)).map(|(_, rank)| rank).collect())
    }

    /// One rank's trace for a request.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`]; that there is none is one of storage.
    pub async fn trace(&self, number: u64, rank: Rank) -> Result<Trace> {
        let path = layout::trace(number, rank);
        let body = self.storage().get_at_most(&path, MAX_RECORD_BYTES).await?;
        match from_json::<Trace>(&self.uri(&path), TRACE, &body)? {
            trace if trace.rank == rank => Ok(trace),
            other => {
                let reason = format!("it says that it belongs to rank {}", other.rank);
                Err(bad(&self.uri(&path), TRACE, reason))
            }
        }
    }
}

const REQUEST: &str = "request";
const TRACE: &str = "trace";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generation, NodeId, Recorded, Wish};
    use jiff::Timestamp;

    fn request(steps: u32) -> RunRequest {
        let (generation, at) = (Generation(1), Timestamp::UNIX_EPOCH);
        RunRequest { generation, asked_by: None, at, wish: Wish::Trace { steps } }
    }

    #[tokio::test]
    async fn every_request_has_a_number_of_its_own_without_gaps() {
        let dir = RunDir::open("memory://").unwrap();
        assert_eq!((dir.newest_request().await.unwrap(), dir.request(1).await.unwrap()), (0, None));
        for number in 1..=9 {
            assert_eq!(dir.ask(&request(number)).await.unwrap(), u64::from(number));
        }
        // Two that ask at once.
        let asked: Vec<_> = [20, 21].into_iter().map(request).collect();
        let (one, other) = tokio::join!(dir.ask(&asked[0]), dir.ask(&asked[1]));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!((one.min(other), one.max(other)), (10, 11));
        assert_eq!(dir.request(one).await.unwrap(), Some(asked[0].clone()));
        assert_eq!(dir.request(other).await.unwrap(), Some(asked[1].clone()));
        assert_eq!(dir.newest_request().await.unwrap(), 11);
    }

    #[tokio::test]
    async fn more_steps_than_may_be_traced_are_no_request() {
        let dir = RunDir::open("memory://").unwrap();
        for (steps, is_one) in [(0, false), (1, true), (100, true), (101, false)] {
            let number = dir.ask(&request(steps)).await.unwrap();
            assert_eq!(dir.request(number).await.is_ok(), is_one, "{steps}");
        }
    }

    #[tokio::test]
    async fn a_trace_is_kept_as_it_came_first() {
        let dir = RunDir::open("memory://").unwrap();
        let trace = |rank, node| Trace {
            rank: Rank(rank),
            node: NodeId(node),
            host: "127.0.0.1".to_owned(),
            generation: Generation(1),
            recorded: Recorded::default(),
        };
        dir.keep_trace(3, &trace(1, 0)).await.unwrap();
        dir.keep_trace(3, &trace(1, 7)).await.unwrap();
        dir.keep_trace(3, &trace(12, 1)).await.unwrap();
        dir.storage().create("traces/0000000003/notes.txt", "x".into()).await.unwrap();
        assert_eq!(dir.traced(3).await.unwrap(), [Rank(1), Rank(12)]);
        assert_eq!(dir.trace(3, Rank(1)).await.unwrap(), trace(1, 0));
        let body = dir.storage().get(&layout::trace(3, Rank(1))).await.unwrap();
        dir.storage().create(&layout::trace(3, Rank(2)), body).await.unwrap();
        assert!(dir.trace(3, Rank(2)).await.unwrap_err().to_string().contains("belongs to rank 1"));
        assert!(dir.traced(4).await.unwrap().is_empty() && dir.trace(4, Rank(1)).await.is_err());
    }
}
