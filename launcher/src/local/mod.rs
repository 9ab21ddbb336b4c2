//! `--local`: the same agents as on a cluster, as child processes on loopback. This module is their kubelet.

mod agent;
mod awake;
mod launch;
mod lines;
mod lives;
mod lock;
mod loopback;
mod origin;
mod probe;
mod supervise;

pub(crate) use launch::Launch;
pub(crate) use lock::{RunLock, Taken};
pub(crate) use loopback::loopback;
pub(crate) use origin::{Origin, user};
pub(crate) use supervise::{Ended, run, sibling};
