//! `--local`: the same agents as on a cluster, as child processes on loopback. This module is their kubelet.

mod agent;
mod lock;
mod supervise;

pub(crate) use lock::RunLock;
pub(crate) use supervise::{Ended, Launch, StopSignal, run, sibling};
