use super::{SHELVES, Segment, Shelf, shelve, writer::MERGE_BYTES};
use crate::{Incarnation, NodeId, Result, RunDir};

impl RunDir {
    /// Merges what agents that are gone left in small pieces, and deletes the pieces. `lives` says which agents still
    /// write. For the leader of a generation; safe beside another one, and beside an agent that is not gone after all: the
    /// names say what a merged segment holds.
    ///
    /// # Errors
    /// Where the storage doesn't answer; what was not tidied stays for the next time.
    pub async fn tidy(&self, lives: impl Fn(NodeId, Incarnation) -> bool) -> Result<()> {
        for shelf in SHELVES {
            self.tidy_shelf(shelf, &lives).await?;
        }
        Ok(())
    }

    async fn tidy_shelf(&self, shelf: Shelf, lives: impl Fn(NodeId, Incarnation) -> bool) -> Result<()> {
        let gone = |segment: &Segment| segment.writer.is_none_or(|(node, life)| !lives(node, life));
        let (kept, covered) = shelve(shelf, &self.storage().list(shelf.folder).await?);
        for run in runs(kept.into_iter().filter(gone).collect()) {
            self.merge_run(&run).await?;
        }
        for segment in covered.iter().filter(|segment| gone(segment)) {
            self.storage().delete(&segment.path).await?;
        }
        Ok(())
    }

    async fn merge_run(&self, run: &[Segment]) -> Result<()> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
        let mut body = Vec::new();
        for segment in run {
            match self.storage().get_at_most(&segment.path, MERGE_BYTES as u64).await {
                Ok(piece) => body.extend_from_slice(&piece),
                // Its writer lives and has just merged it itself, or another leader has.
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.storage().put(&first.series.merged(first.first, last.last), body.into()).await?;
        for segment in run {
            self.storage().delete(&segment.path).await?;
        }
        Ok(())
    }
}

/// Which segments become one: neighbours of one series without a gap, up to a size; never one alone.
fn runs(segments: Vec<Segment>) -> Vec<Vec<Segment>> {
    let mut runs: Vec<Vec<Segment>> = Vec::new();
    for segment in segments {
        match runs.last_mut() {
            Some(run) if continues(run, &segment) => run.push(segment),
            _ => runs.push(vec![segment]),
        }
    }
    runs.retain(|run| run.len() > 1);
    runs
}

fn continues(run: &[Segment], next: &Segment) -> bool {
    let bytes: u64 = run.iter().map(|s| s.bytes).sum();
    run.last().is_some_and(|last| last.series == next.series && last.last.checked_add(1) == Some(next.first))
        && bytes + next.bytes <= MERGE_BYTES as u64
}
