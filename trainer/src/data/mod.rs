//! Where batches come from: the seam that training knows, and what is behind it. One file for each format of datasets.

mod cursor;
mod mds;
mod pictures;
pub(crate) mod same_data;
mod source;

pub use cursor::Cursor;
pub use source::{Data, EvalSource, Share, TrainSource};

use crate::{Error, Result};
use lockstep_job::{Format, JobSpec};
use lockstep_run::link::Start;

/// Opens the job's datasets. `columns` are those that the model reads, where it says so.
///
/// Blocking: two small objects are read, and where they hold no hashes, two folders are listed.
pub(crate) fn open(job: &JobSpec, start: &Start, columns: Option<Vec<&str>>) -> Result<Box<dyn Data>> {
    let data = job
        .data
        .as_ref()
        .ok_or_else(|| Error::Job { reason: "it has no data; add data.train".to_owned() })?;
    match data.format {
        Format::Mds => Ok(Box::new(mds::open(job, data, start, columns)?)),
        _ => Err(Error::Job {
            reason: "this worker does not know the format of its data; use the same version of Lockstep everywhere"
                .to_owned(),
        }),
    }
}
