//! The job file: one type, [`JobSpec`], shared by launcher, agent and worker.
//!
//! Every field carries its meaning, unit and default in its documentation, which flows into the JSON schema.

mod agent_exit;
mod check;
mod checkpoint;
mod code;
mod data;
mod device;
mod env;
mod eval;
mod explain;
mod image;
mod job;
mod kubernetes;
mod limits;
mod log;
pub mod meaning;
mod models;
mod optimizer;
mod overrides;
mod parse;
mod problem;
mod read;
mod recovery;
mod resume;
mod rules;
mod schedule;
mod schema;
mod shape;
mod similar;
mod train;
mod tree;
mod units;
mod warm_start;

pub use agent_exit::AgentExit;
pub use checkpoint::Checkpoint;
pub use code::Code;
pub use data::{Cache, Data, Format, Prefetch, Shuffle, Split, Tail};
pub use device::{Device, Reproducible};
pub use env::{Env, EnvError, Expanded, is_reserved_variable, reserved_variables};
pub use eval::Eval;
pub use explain::{Explained, explain};
pub use image::{BadSamples, Colours, Crop, Image};
pub use job::JobSpec;
pub use kubernetes::{
    CronSchedule, Effect, Gpu, Kubernetes, Operator, Pdb, PullPolicy, Resources, SecretEnv, Spot, Toleration,
    TopologySpread, Volume, WhenUnsatisfiable,
};
pub use limits::Limits;
pub use log::{Level, Log};
pub use models::{
    Activation, BatchNorm, Custom, Gpt, GptActivation, Mlp, Model, Norm, Positions, Recompute, Resnet,
};
pub use optimizer::{Decay, Optimizer};
pub use parse::{OnThisMachine, Resolved, parse, resolve};
pub use problem::{Location, Place, Problem, Problems};
pub use read::Source;
pub use recovery::Recovery;
pub use resume::Resume;
pub use schedule::Schedule;
pub use schema::schema;
pub use train::{Ema, Exchange, NonFinite, NonFinitePolicy, Precision, Train};
pub use units::{ByteSize, Cadence, Cpu, Interval, RunName, Span, UnitError, Warmup};
pub use warm_start::WarmStart;
