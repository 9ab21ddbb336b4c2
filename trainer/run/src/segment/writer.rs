use super::Series;
use crate::{Result, RunDir};
use bytes::Bytes;

/// So many small segments become one: with a minute between two, an hour's.
pub const MERGE_AFTER: usize = 60;
/// Or as many as hold this much. Unit: bytes.
pub const MERGE_BYTES: usize = 8 << 20;

/// Creates one object for each write, and from time to time one of many. One writer for each series; numbers never repeat.
#[derive(Debug)]
pub struct SegmentWriter {
    dir: RunDir,
    series: Series,
    next: u64,
    /// Number of the first segment of `small`.
    first: u64,
    /// Contents of the small segments that no merged one holds yet.
    small: Vec<Bytes>,
    /// Merged already, and still to be deleted.
    spent: Vec<String>,
}

impl SegmentWriter {
    /// An empty series.
    pub fn new(dir: RunDir, series: Series) -> Self {
        Self { dir, series, next: 0, first: 0, small: Vec::new(), spent: Vec::new() }
    }

    /// Creates the next object.
    ///
    /// # Errors
    /// The outcome is open then: write the very same bytes again, or the object could hold either.
    pub async fn write(&mut self, body: Bytes) -> Result<()> {
        self.dir.storage().put(&self.series.segment(self.next), body.clone()).await?;
        self.next += 1;
        self.small.push(body);
        Ok(())
    }

    /// Whether the small segments are many enough to be merged.
    pub fn is_due(&self) -> bool {
        let bytes: usize = self.small.iter().map(Bytes::len).sum();
        self.small.len() >= MERGE_AFTER || (self.small.len() > 1 && bytes >= MERGE_BYTES)
    }

    /// Makes one object of the small segments and deletes them. What can't be deleted now is tried again next time; until
    /// then readers pass it over.
    pub async fn merge(&mut self) -> Result<()> {
        if self.small.len() > 1 {
            let (first, last) = (self.first, self.next - 1);
            let body = Bytes::from(self.small.concat());
            self.dir.storage().put(&self.series.merged(first, last), body).await?;
            self.spent.extend((first..=last).map(|seq| self.series.segment(seq)));
        }
        if self.small.len() > 1 || self.is_single_large() {
            (self.first, self.small) = (self.next, Vec::new());
        }
        while let Some(path) = self.spent.last() {
            self.dir.storage().delete(path).await?;
            self.spent.pop();
        }
        Ok(())
    }

    /// One that is large by itself stays as it is.
    fn is_single_large(&self) -> bool {
        self.small.len() == 1 && self.small[0].len() >= MERGE_BYTES
    }
}
