//! From a job file to the Kubernetes objects that run it: pure functions from a [`JobSpec`](lockstep_job::JobSpec)
//! to typed objects, one file for each. The same job gives the same bytes.
//!
//! `objects` lists what there is, `pod` is what runs, the others are what it needs around it.

mod config_map;
mod container;
mod cron_job;
mod job;
mod meta;
mod network_policy;
mod objects;
mod overlay;
mod pdb;
mod place;
mod pod;
mod print;
mod quantity;
mod returns;
mod service;
mod source;
mod typed;
mod volumes;

pub use meta::{AGENT_PORT, JOB_LABEL, RUN_DIR_ANNOTATION, SPEC_ANNOTATION, STORAGE_ANNOTATION};
pub use objects::{Objects, Work, checkup, render};
pub use print::{to_json, to_yaml};
pub use returns::{returns, without_returns};
pub use typed::Wrong;
