use super::Findings;
use crate::{JobSpec, RunName};

/// Pods are called after the run and their index, and that is a DNS label too.
pub(super) fn check(job: &JobSpec, found: &mut Findings<'_>) {
    let most = RunName::max_len(job.nodes);
    let length = job.name.len();
    if length > most {
        let last = job.nodes - 1;
        let what = format!("name has {length} characters; with -{last} for the last node that is over 63");
        found.add("name", what, format!("use at most {most} characters"));
    }
}
