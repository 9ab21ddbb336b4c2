//! The one module that speaks to the Kubernetes API.
//!
//! `connect` finds the cluster, `apply` makes a job's objects and `remove` takes them away, `watch` tells what becomes of them, `story` is
//! the pure part that says what that means, `objects` what each of them says by itself, `waits` what a run waits for, `pod_logs` brings the agents' words, `follow` shows a run until its end,
//! `runs` finds those that are there, `schedule` is for jobs that the cluster launches by itself, and `board` keeps what all of them do current.

mod apply;
mod board;
mod checkup;
mod connect;
mod control;
mod doctor;
mod explain;
#[cfg(test)]
mod fake;
mod follow;
mod gc;
mod kueue;
mod lasting;
mod notices;
mod objects;
mod pod_logs;
mod rehearse;
mod remove;
mod returns;
mod runs;
mod schedule;
mod story;
mod told;
mod wait;
mod waits;
mod watch;

pub(crate) use apply::{Existing, create, set_ttl};
pub(crate) use board::Board;
pub(crate) use checkup::{Inside, look_inside};
pub(crate) use connect::{Cluster, ClusterArgs};
pub(crate) use control::{end_pods_now, pods_are_gone, set_suspended};
pub(crate) use doctor::{clock, rights, version};
pub(crate) use follow::{Ended, Followed, Patience, follow};
pub(crate) use gc::{leftovers, sweep};
pub(crate) use notices::warnings;
pub(crate) use pod_logs::{LogLine, LogWish, follow_logs, logs};
pub(crate) use rehearse::{dry_run, gpus, takes};
pub(crate) use remove::remove;
pub(crate) use returns::Return;
pub(crate) use runs::{ClusterRun, find, list, status, whole_status};
pub(crate) use schedule::{has_schedule, runs_of, schedule, unschedule};
pub(crate) use story::{End, end_of};
