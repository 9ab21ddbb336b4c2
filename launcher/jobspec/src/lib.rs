//! The job file: one type, [`JobSpec`], shared by launcher, agent and worker.
//!
//! Every field carries its meaning, unit and default in its documentation, which flows into the JSON schema.

mod checkpoint;
mod data;
mod env;
mod eval;
mod job;
mod limits;
mod log;
mod model;
mod optimizer;
mod problem;
mod recovery;
mod schedule;
mod train;
mod units;

pub use checkpoint::Checkpoint;
pub use data::{Cache, Data, Format, Prefetch, Shuffle, Split, Tail};
pub use env::{Env, EnvError};
pub use eval::Eval;
pub use job::JobSpec;
pub use limits::Limits;
pub use log::{Level, Log};
pub use model::{Activation, Model};
pub use optimizer::Optimizer;
pub use problem::{Location, Problem, Problems};
pub use recovery::Recovery;
pub use schedule::Schedule;
pub use train::{NonFinite, NonFinitePolicy, Train};
pub use units::{ByteSize, Cadence, Interval, RunName, Span, UnitError, Warmup};
