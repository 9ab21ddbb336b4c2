//! The training library of Lockstep: what turns a job, a dataset and a [`Task`] into a trained model.
//!
//! A user's own worker is a binary of three lines around a [`Task`] (see `trainer/examples/custom-task`):
//!
//! ```no_run
//! # struct MyTask;
//! # impl lockstep_trainer::Task for MyTask {
//! #     fn build(&self, _: &lockstep_trainer::Setup<'_>, _: &lockstep_trainer::tch::nn::Path<'_>)
//! #         -> Result<Box<dyn lockstep_trainer::Model>, lockstep_trainer::TaskError> { unreachable!() }
//! # }
//! fn main() -> std::process::ExitCode {
//!     lockstep_trainer::main(MyTask)
//! }
//! ```
//!
//! Read in this order: [`Task`] is what a user writes; `train.rs` is the loop; `worker.rs` puts a rank together;
//! `models/` are those that are built in; `data/` brings batches; `rank/` is what one rank computes on, and with whom;
//! `checkpoint/` saves and loads; `link/` talks to the agent. `schedule.rs`, `calendar.rs`, `seed.rs` and `finite.rs` are the
//! pure decisions of the loop, and `clock.rs` says what its time goes to.

mod calendar;
mod checkpoint;
mod clock;
mod control;
mod count;
mod data;
mod entry;
mod env;
mod error;
mod eval;
mod finite;
mod interval;
mod link;
mod live;
mod log;
mod meter;
mod models;
mod optimizer;
mod precision;
mod rank;
mod recording;
mod sample;
mod schedule;
mod seed;
mod task;
mod train;
mod worker;

pub use checkpoint::{Dataset, load_weights};
pub use control::{Control, Permit, Stop};
pub use data::{Cursor, Data, EvalSource, Share, TrainSource};
pub use entry::{built_in_main, main};
pub use error::{Error, Result};
pub use link::Outbox;
pub use rank::{Found, Running, Tracked};
pub use task::{Batch, Items, Model, Outputs, Score, Setup, Task, TaskError, Unit};
/// The tch whose tensors this crate takes: a task that uses this one can't have another version.
pub use tch;
pub use worker::{Orders, Worker};
