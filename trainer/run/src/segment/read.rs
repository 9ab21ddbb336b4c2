use super::{EVENTS, Event, METRICS, Metric, Segment, Shelf, merge_metrics, shelve};
use crate::{Error, Generation, Result, RunDir};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;

/// Objects that are read at the same time.
const READS: usize = 16;
/// Segments may be merged while they are read; the list is then made anew, so often.
const LISTS: usize = 5;
/// No segment comes near; it bounds what a file in its place can make a process read.
const MAX_SEGMENT_BYTES: u64 = 1 << 30;
/// The newest segments that a status looks at.
const TAIL: usize = 4;

/// Without what a branch told that `--fresh` left.
fn of_lineage(mut lines: Vec<Metric>, root: Generation) -> Vec<Metric> {
    lines.retain(|metric| metric.generation >= root);
    lines
}

impl RunDir {
    /// The run's metrics, merged, in step order. Lines that can't be read are passed over and told of in the log.
    ///
    /// # Errors
    /// [`Error::Storage`]. A line that can't be read is passed over.
    pub async fn metrics(&self) -> Result<Vec<Metric>> {
        let root = self.newest_membership().await?.and_then(|newest| newest.root);
        let lines = self.lines::<Metric>(METRICS, usize::MAX).await?;
        Ok(merge_metrics(of_lineage(lines, root.unwrap_or_default())))
    }

    /// The last of the run's metrics, in step order: few requests, however long it has trained.
    /// `root` is the generation with which it began from nothing for the last time.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn last_metrics(&self, root: Generation) -> Result<Vec<Metric>> {
        Ok(merge_metrics(of_lineage(self.lines::<Metric>(METRICS, TAIL).await?, root)))
    }

    /// The run's events in order of time.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn events(&self) -> Result<Vec<Event>> {
        let mut events: Vec<Event> = self.lines(EVENTS, usize::MAX).await?;
        events.sort_by_key(|e| e.at);
        Ok(events)
    }

    /// The segments of a shelf in the order in which they were written.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn segments(&self, shelf: Shelf) -> Result<Vec<Segment>> {
        Ok(shelve(shelf, &self.storage().list(shelf.folder).await?).0)
    }

    /// The bytes of a segment; of a size that none has they are not read.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn segment(&self, path: &str) -> Result<Bytes> {
        self.storage().get_at_most(path, MAX_SEGMENT_BYTES).await.map_err(Error::from)
    }

    /// The lines of the newest segments, `most` of them.
    async fn lines<T: DeserializeOwned>(&self, shelf: Shelf, most: usize) -> Result<Vec<T>> {
        let mut tries = 0;
        loop {
            let segments = self.segments(shelf).await?;
            let newest = &segments[segments.len().saturating_sub(most)..];
            tries += 1;
            match self.bodies(newest).await {
                Ok(bodies) => {
                    return Ok(newest.iter().zip(&bodies).flat_map(|(s, b)| parse(&s.path, b)).collect());
                }
                Err(error) if error.is_not_found() && tries < LISTS => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn bodies(&self, segments: &[Segment]) -> Result<Vec<Bytes>> {
        let get = |segment: &Segment| {
            let path = segment.path.clone();
            async move { self.segment(&path).await }
        };
        stream::iter(segments.iter().map(get)).buffered(READS).try_collect().await
    }
}

fn parse<T: DeserializeOwned>(path: &str, body: &[u8]) -> Vec<T> {
    let mut bad = 0;
    let lines = body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let good = lines.filter_map(|line| serde_json::from_slice(line).inspect_err(|_| bad += 1).ok()).collect();
    if bad > 0 {
        tracing::warn!(path, lines = bad, "lines that can't be read were passed over");
    }
    good
}
