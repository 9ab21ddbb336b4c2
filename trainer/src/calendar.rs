//! What is due after which step: pure arithmetic on the job.

use lockstep_job::{Cadence, JobSpec};
use lockstep_run::Step;
use std::time::Duration;

/// The calendar of a run, in steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Calendar {
    /// The last step.
    pub(crate) total: Step,
    log_every: u64,
    eval_every: Option<u64>,
    save_every: Cadence,
}

impl Calendar {
    /// Lays out a job over a training set of `num_samples` samples.
    pub(crate) fn new(job: &JobSpec, num_samples: u64) -> Self {
        let steps_per_epoch = job.steps_per_epoch(num_samples);
        let has_eval = job.data.as_ref().is_some_and(|data| data.eval.is_some());
        Self {
            total: Step(job.total_steps(num_samples)),
            log_every: job.log.every.steps(steps_per_epoch),
            eval_every: has_eval.then(|| job.eval.every.steps(steps_per_epoch)),
            save_every: job.checkpoint.every,
        }
    }

    /// Metrics are reported: at each interval, after the first step and after the last.
    pub(crate) fn log_due(&self, step: Step) -> bool {
        step.0 == 1 || step == self.total || step.0.is_multiple_of(self.log_every)
    }

    /// The model is evaluated: at each interval and at the end.
    pub(crate) fn eval_due(&self, step: Step) -> bool {
        self.eval_every.is_some_and(|every| step == self.total || step.0.is_multiple_of(every))
    }

    /// A checkpoint is due by its number. The last one is not counted here: it is written whatever the interval.
    pub(crate) fn save_due(&self, step: Step) -> bool {
        matches!(self.save_every, Cadence::Steps(every) if step != self.total && step.0.is_multiple_of(every))
    }

    /// A checkpoint is due by the clock. Clocks differ, so only rank 0's counts; see [`crate::interval`].
    pub(crate) fn save_due_by_time(&self, since_last: Duration) -> bool {
        matches!(self.save_every, Cadence::Time(every) if since_last >= every.duration())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(job: &str) -> Calendar {
        let job: serde_json::Value = serde_json::from_str(job).unwrap();
        let job = JobSpec::from_json(job).unwrap();
        Calendar::new(&job, 100)
    }

    fn due(is_due: impl Fn(Step) -> bool) -> Vec<u64> {
        (1..=30).filter(|s| is_due(Step(*s))).collect()
    }

    #[test]
    fn follows_the_intervals_and_the_end() {
        let calendar = calendar(
            r#"{"name": "a", "model": {"kind": "mlp"}, "train": {"epochs": 3, "globalBatch": 10},
                "data": {"train": {"uri": "a"}, "eval": {"uri": "b"}},
                "log": {"every": "12 steps"}, "eval": {"every": "1 epochs"}, "checkpoint": {"every": "15 steps"}}"#,
        );
        assert_eq!(calendar.total, Step(30));
        assert_eq!(due(|s| calendar.log_due(s)), [1, 12, 24, 30]);
        assert_eq!(due(|s| calendar.eval_due(s)), [10, 20, 30]);
        assert_eq!(due(|s| calendar.save_due(s)), [15]);
        assert!(!calendar.save_due_by_time(Duration::MAX));
    }

    #[test]
    fn without_eval_data_there_is_no_evaluation_and_time_is_rank_zeros() {
        let calendar = calendar(
            r#"{"name": "a", "model": {"kind": "mlp"}, "train": {"steps": 30, "globalBatch": 10},
                "data": {"train": {"uri": "a"}}, "checkpoint": {"every": "5m"}}"#,
        );
        assert!(due(|s| calendar.eval_due(s)).is_empty() && due(|s| calendar.save_due(s)).is_empty());
        assert!(!calendar.save_due_by_time(Duration::from_secs(299)));
        assert!(calendar.save_due_by_time(Duration::from_secs(300)));
    }
}
