//! The seam between training and data: "the batch of (step, rank)". Training knows nothing of files.

use super::Cursor;
use crate::Result;
use crate::checkpoint::Dataset;
use crate::task::Batch;
use lockstep_datasets::Contents;
use lockstep_run::DatasetUse;

/// What a run trains on and is evaluated on, as one rank sees it.
pub trait Data: Send {
    /// The training set, by its content.
    fn dataset(&self) -> &Dataset;

    /// All datasets, for the record of where a checkpoint is from. Ranks compare the digests.
    fn uses(&self) -> Vec<DatasetUse> {
        let Dataset { uri, split, digest, listing, .. } = self.dataset().clone();
        vec![DatasetUse { role: "train".to_owned(), uri, split, digest: listing.unwrap_or(digest) }]
    }

    /// From here on nothing is used but what these hashes say: what was read before a checkpoint.
    ///
    /// Blocking where `look` is set: as much as can be read in a short time is compared at once.
    fn expect(&self, shards: &Contents, look: bool) -> Result<()>;

    /// Samples in the training set.
    fn num_samples(&self) -> u64;

    /// Number of classes, where samples have labels; of tokens, as [`vocab`](Self::vocab) says.
    fn num_classes(&self) -> Option<i64>;

    /// Number of different tokens, where samples are tokens and the data says so.
    fn vocab(&self) -> Option<i64> {
        None
    }

    /// A batch of no samples: it shows the columns, their kinds and their shapes.
    fn empty(&self) -> Result<Batch>;

    /// Where the first epoch starts.
    fn start(&self) -> Cursor;

    /// Training batches from a place on.
    fn train(&self, from: &Cursor) -> Result<Box<dyn TrainSource>>;

    /// Evaluation batches; none where the job has no evaluation data.
    fn eval(&self) -> Result<Option<Box<dyn EvalSource>>>;
}

/// Training batches of one rank, in the order of the steps.
pub trait TrainSource: Send {
    /// What this rank computes in the next step; blocks until it is there.
    fn next(&mut self) -> Result<Share>;

    /// For each shard the hash of its content, where this rank has read it or expects it. Only asked for where the
    /// dataset's digest doesn't name the content.
    fn contents(&self) -> Vec<Option<u128>>;
}

/// One rank's part of one global batch.
#[derive(Debug)]
pub struct Share {
    /// This rank's samples; padding is left out, so there may be fewer than the others have, or none.
    pub batch: Batch,
    /// Samples of this rank that could not be read and are left out, each with the reason.
    pub skipped: Vec<String>,
    /// Samples of the whole global batch, over all ranks, without padding; those that are left out are among them.
    pub global_samples: u64,
    /// Where the data goes on after this step.
    pub after: Cursor,
    /// Passes over the data after this step, with a fraction.
    pub epoch: f64,
}

/// One rank's part of the evaluation data. Over all ranks each sample comes exactly once.
pub trait EvalSource: Send {
    /// Starts a pass; the batches come in the same order each time.
    fn batches(&mut self) -> Result<Box<dyn Iterator<Item = Result<Batch>> + '_>>;
}
