use super::Findings;
use crate::{JobSpec, WarmStart};

/// A run can't begin with what it makes itself, and only a schedule's runs have one before them.
pub(super) fn check(job: &JobSpec, found: &mut Findings<'_>) {
    match &job.warm_start {
        Some(WarmStart::Run { name, .. }) if *name == job.name => {
            let fix = "name another run, or remove it: a run carries on from its own checkpoints by itself";
            found.add("warmStart.name", format!("warmStart.name is `{name}`, which is this run itself"), fix);
        }
        Some(WarmStart::Previous {}) if job.kubernetes.as_ref().is_none_or(|k| k.schedule.is_none()) => {
            let fix = "add kubernetes.schedule, or write warmStart: { kind: run, name: THE-OTHER-RUN }";
            found.add(
                "warmStart.kind",
                "warmStart.kind is previous, but a job without a schedule has no previous run",
                fix,
            );
        }
        _ => {}
    }
}
