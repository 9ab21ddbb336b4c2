//! How far a run is: what rank 0 reports, and what is known once reports have been heard.

use crate::{SlowestRank, Step, StepSeconds, number};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One report of rank 0, about a logging interval or an evaluation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Steps done.
    pub step: Step,
    /// Steps in all.
    pub total_steps: Step,
    /// Passes over the data so far, with a fraction.
    #[serde(with = "number")]
    pub epoch: f64,
    /// Mean training loss since the last report; none where only an evaluation is reported.
    #[serde(default, with = "number::option")]
    pub loss: Option<f64>,
    /// Learning rate of the last update.
    #[serde(default, with = "number::option")]
    pub lr: Option<f64>,
    /// Norm of the last gradient before clipping.
    #[serde(default, with = "number::option")]
    pub grad_norm: Option<f64>,
    /// The factor on the loss in the next step, where train.precision is fp16.
    #[serde(default, with = "number::option")]
    pub loss_scale: Option<f64>,
    /// Samples of the global batch per second since the last report.
    #[serde(default, with = "number::option")]
    pub samples_per_second: Option<f64>,
    /// The same in tokens, where the model counts tokens.
    #[serde(default, with = "number::option")]
    pub tokens_per_second: Option<f64>,
    /// Model FLOP utilisation since the last report: the share of what the ranks' GPUs can compute at most that the model's
    /// own operations were. Where both are known.
    #[serde(default, with = "number::option")]
    pub mfu: Option<f64>,
    /// What the time since the last report went to.
    #[serde(default)]
    pub step_seconds: Option<StepSeconds>,
    /// Which rank worked longest since the last report, where there are several.
    #[serde(default)]
    pub slowest_rank: Option<SlowestRank>,
    /// Results of an evaluation by name, such as `accuracy`.
    #[serde(default, with = "number::map")]
    pub eval: BTreeMap<String, f64>,
}

impl Report {
    /// Takes in another report of the same step, so that an evaluation joins its logging interval.
    pub fn join(&mut self, newer: Self) {
        self.loss = newer.loss.or(self.loss);
        self.lr = newer.lr.or(self.lr);
        self.grad_norm = newer.grad_norm.or(self.grad_norm);
        self.loss_scale = newer.loss_scale.or(self.loss_scale);
        self.samples_per_second = newer.samples_per_second.or(self.samples_per_second);
        self.tokens_per_second = newer.tokens_per_second.or(self.tokens_per_second);
        self.mfu = newer.mfu.or(self.mfu);
        if newer.step_seconds.is_some() {
            (self.step_seconds, self.slowest_rank) = (newer.step_seconds, newer.slowest_rank);
        }
        self.eval.extend(newer.eval);
    }
}

/// How far a run is, as far as that is known: the newest word on everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: Step,
    /// Steps in all, once a worker said so.
    pub total_steps: Option<Step>,
    /// Last loss; evaluations report none.
    #[serde(with = "number::option")]
    pub loss: Option<f64>,
    /// Samples per second of the last interval.
    #[serde(with = "number::option")]
    pub samples_per_second: Option<f64>,
    /// The same in tokens, where the model counts tokens.
    #[serde(with = "number::option")]
    pub tokens_per_second: Option<f64>,
    /// Model FLOP utilisation of the last interval, where it is known.
    #[serde(default, with = "number::option")]
    pub mfu: Option<f64>,
    /// What the time of the last interval went to.
    pub step_seconds: Option<StepSeconds>,
    /// Which rank worked longest in the last interval, where there are several.
    pub slowest_rank: Option<SlowestRank>,
    /// Last result of each metric that is evaluated.
    #[serde(with = "number::map")]
    pub eval: BTreeMap<String, f64>,
}

impl From<Report> for Progress {
    fn from(report: Report) -> Self {
        let Report { step, total_steps, loss, samples_per_second, tokens_per_second, eval, .. } = report;
        let Report { mfu, step_seconds, slowest_rank, .. } = report;
        Self {
            step,
            total_steps: Some(total_steps),
            loss,
            samples_per_second,
            tokens_per_second,
            mfu,
            step_seconds,
            slowest_rank,
            eval,
        }
    }
}

impl Progress {
    /// Takes in what was said later. A run may be back at an older step by then; of what isn't spoken of, the old word stands.
    pub fn merge(&mut self, later: impl Into<Self>) {
        let later = later.into();
        self.step = later.step;
        self.total_steps = later.total_steps.or(self.total_steps);
        self.loss = later.loss.or(self.loss);
        self.samples_per_second = later.samples_per_second.or(self.samples_per_second);
        self.tokens_per_second = later.tokens_per_second.or(self.tokens_per_second);
        self.mfu = later.mfu.or(self.mfu);
        if later.step_seconds.is_some() {
            (self.step_seconds, self.slowest_rank) = (later.step_seconds, later.slowest_rank);
        }
        self.eval.extend(later.eval);
    }
}

/// Seconds to step `total` at the mean speed of the steps from `first` to `last`, which took `seconds`.
pub fn eta_seconds(first: Step, last: Step, total: Step, seconds: f64) -> Option<f64> {
    let done = last.0.checked_sub(first.0).filter(|steps| *steps > 0)?;
    Some(total.0.saturating_sub(last.0) as f64 * seconds / done as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rank;

    fn interval(step: u64, loss: f64, rate: f64) -> Report {
        let (loss, samples_per_second) = (Some(loss), Some(rate));
        Report { step: Step(step), total_steps: Step(9), loss, samples_per_second, ..Report::default() }
    }

    fn evaluation(step: u64, results: &[(&str, f64)]) -> Report {
        let eval = results.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Report { step: Step(step), total_steps: Step(9), eval, ..Report::default() }
    }

    fn known(reports: Vec<Report>) -> Progress {
        let mut known = Progress::default();
        reports.into_iter().for_each(|report| known.merge(report));
        known
    }

    #[test]
    fn the_newest_word_on_everything_is_known() {
        let both = [("accuracy", 0.5), ("loss", 2.0)];
        for (reports, step, total, loss, rate, eval) in [
            (vec![], 0, None, None, None, &[][..]),
            (vec![interval(2, 3.0, 10.0)], 2, Some(9), Some(3.0), Some(10.0), &[]),
            // An evaluation says nothing of loss and speed.
            (vec![interval(2, 3.0, 10.0), evaluation(2, &both)], 2, Some(9), Some(3.0), Some(10.0), &both),
            // Nor does an interval of evaluations, and one that measures less leaves the rest.
            (
                vec![evaluation(2, &both), interval(3, 1.0, 20.0), evaluation(4, &[("loss", 1.0)])],
                4,
                Some(9),
                Some(1.0),
                Some(20.0),
                &[("accuracy", 0.5), ("loss", 1.0)],
            ),
            // After a fault a run is back at an older step.
            (vec![interval(7, 1.0, 10.0), interval(5, 2.0, 5.0)], 5, Some(9), Some(2.0), Some(5.0), &[]),
        ] {
            let wanted = Progress { loss, samples_per_second: rate, ..evaluation(step, eval).into() };
            assert_eq!(known(reports), Progress { total_steps: total.map(Step), ..wanted });
        }
    }

    #[test]
    fn who_knows_no_total_leaves_the_one_that_is_known() {
        let mut known = known(vec![interval(2, 3.0, 10.0)]);
        known.merge(Progress { step: Step(3), ..Progress::default() });
        assert_eq!((known.step, known.total_steps, known.loss), (Step(3), Some(Step(9)), Some(3.0)));
    }

    fn timed(step: u64) -> Report {
        let step_seconds = Some(StepSeconds { data: 0.5, ..StepSeconds::default() });
        let slowest_rank = Some(SlowestRank { rank: Rank(1), work_seconds: 0.5 });
        let tokens_per_second = Some(1e3);
        Report { tokens_per_second, mfu: Some(0.4), step_seconds, slowest_rank, ..interval(step, 3.0, 10.0) }
    }

    #[test]
    fn an_evaluation_joins_its_interval() {
        let mut report = Report { lr: Some(0.1), grad_norm: Some(4.0), ..timed(2) };
        report.join(evaluation(2, &[("accuracy", 0.5)]));
        let eval: BTreeMap<_, _> = [("accuracy".to_owned(), 0.5)].into();
        let joined = Report { lr: Some(0.1), grad_norm: Some(4.0), eval, ..timed(2) };
        assert_eq!(report, joined);
        let mut report = evaluation(2, &[("accuracy", 0.5)]);
        report.join(timed(2));
        assert_eq!(Report { lr: Some(0.1), grad_norm: Some(4.0), ..report }, joined);
    }

    #[test]
    fn what_time_goes_to_is_known_until_another_interval_tells() {
        let mut known = known(vec![timed(2), evaluation(2, &[])]);
        assert_eq!(known, timed(2).into());
        assert!(known.step_seconds.is_some() && known.slowest_rank.is_some());
        known.merge(Report { slowest_rank: None, ..timed(3) });
        assert_eq!(known.slowest_rank, None, "it went on with one rank");
    }

    #[test]
    fn a_report_that_an_older_version_wrote_says_nothing_of_what_time_went_to() {
        let old = r#"{"step": 2, "total_steps": 9, "epoch": 0.0, "loss": 3.0, "samples_per_second": 10.0, "eval": {}}"#;
        assert_eq!(serde_json::from_str::<Report>(old).unwrap(), interval(2, 3.0, 10.0));
    }

    #[test]
    fn the_time_left_follows_from_the_mean_speed() {
        for (first, last, seconds, left) in [
            (100, 100, 0.0, None),
            (100, 200, 10.0, Some(80.0)),
            (200, 150, 5.0, None),
            (0, 1000, 1.0, Some(0.0)),
        ] {
            assert_eq!(eta_seconds(Step(first), Step(last), Step(1000), seconds), left, "{first} to {last}");
        }
    }
}
