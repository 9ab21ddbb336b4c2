//! Where batches come from: the seam that training knows, and what is behind it.

mod cursor;
mod pictures;
pub(crate) mod same_data;
mod source;
mod stored;

pub use cursor::Cursor;
pub use source::{Data, EvalSource, Share, TrainSource};
pub(crate) use stored::recorded;

use crate::{Error, Result};
use lockstep_job::JobSpec;
use lockstep_run::link::Start;

/// Opens the job's datasets. `columns` are those that the model reads, where it says so.
///
/// Blocking: two small objects are read, and where they hold no hashes, two folders are listed; of token files without an
/// index, the headers are read.
pub(crate) fn open(job: &JobSpec, start: &Start, columns: Option<Vec<&str>>) -> Result<Box<dyn Data>> {
    let data = job
        .data
        .as_ref()
        .ok_or_else(|| Error::Job { reason: "it has no data; add data.train".to_owned() })?;
    Ok(Box::new(stored::open(job, data, start, columns)?))
}
