//! A run's own folder and words, shared by launcher, agent and worker.
//!
//! Read in this order: [`layout`] says where each thing lies, the records ([`RunRecord`], [`Membership`], [`Join`],
//! [`Commit`], [`Launch`]) say what it means, [`RunDir`] reads and writes them, and [`checkpoint`] holds the save, choose and verify
//! protocol. [`link`] and [`control`] are the two conversations between processes, [`channel`] the encryption below them.
//! [`code`] is what a launch brings along, [`checkup`] what a doctor asks, [`process`] what its starter tells a process,
//! [`temporary`] where it keeps what ends with it.

mod account;
pub mod channel;
pub mod checkpoint;
pub mod checkup;
pub mod code;
pub mod control;
mod dir;
mod error;
mod gpu;
mod ids;
pub mod layout;
mod line;
pub mod link;
mod live;
pub mod number;
pub mod process;
mod progress;
mod ranges;
mod record;
mod requests;
pub mod sample;
pub mod segment;
pub mod status;
mod step_time;
mod strike;
pub mod temporary;

pub use account::{Account, Use};
pub use dir::{ControlKey, RunDir};
pub use error::Error;
pub use gpu::{Gpu, GpuLine, GpuOfNode, GpuUuid, Slowdown};
pub use ids::{Generation, Incarnation, NodeId, Rank, RunUid, Step};
pub use line::{Line, STANDING_EVERY, Saved};
pub use live::newest_state;
pub use progress::{Progress, Report, eta_seconds};
pub use ranges::ranges;
pub use record::commit::{Commit, CommitRef, FileEntry, Sealed, Slice};
pub use record::format::{FORMAT, check_format};
pub use record::join::Join;
pub use record::launch::Launch;
pub use record::membership::{
    Body, MOST_RANKS_OF_A_NODE, Member, Membership, Outcome, StartFrom, WarmFrom, WeightsFile, WeightsFrom,
    Writer,
};
pub use record::provenance::{Code, DatasetUse, Evaluation, Hardware, Provenance, Versions};
pub use record::request::{RunRequest, Wish};
pub use record::run::RunRecord;
pub use record::trace::{Activity, MOST_TRACED_STEPS, Recorded, Span, Trace, TracedStep};
pub use step_time::{Part, SlowestRank, StepSeconds};
pub use strike::{Blow, Strike, Target};

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
