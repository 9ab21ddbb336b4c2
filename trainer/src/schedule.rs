//! The learning rate of each step: a pure function of the job.

use lockstep_job::{Optimizer, Schedule};
use lockstep_run::Step;
use std::f64::consts::PI;

/// Learning rate of the update that ends in `step`, the first of which is 1.
pub(crate) fn learning_rate(optimizer: &Optimizer, step: Step, total_steps: Step) -> f64 {
    optimizer.lr() * factor(optimizer.schedule(), step.0, total_steps.0)
}

/// Rises as `step / warmup` and is 1 at the end of the warmup (at step 1 without one), then follows the curve, which
/// reaches its final factor at step `total` and keeps it.
fn factor(schedule: &Schedule, step: u64, total: u64) -> f64 {
    let (warmup, end) = match schedule {
        Schedule::Constant { warmup } => (warmup, 1.0),
        Schedule::Linear { warmup, final_factor } | Schedule::Cosine { warmup, final_factor } => {
            (warmup, *final_factor)
        }
        _ => return 1.0,
    };
    let top = warmup.steps(total).max(1);
    if step < top {
        return step as f64 / top as f64;
    }
    let way = if total > top { ((step - top) as f64 / (total - top) as f64).min(1.0) } else { 0.0 };
    match schedule {
        Schedule::Cosine { .. } => end + (1.0 - end) * (1.0 + (PI * way).cos()) / 2.0,
        _ => 1.0 + (end - 1.0) * way,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_job::Warmup;

    fn table(schedule: &Schedule, total: u64) -> Vec<f64> {
        (1..=total).map(|s| (factor(schedule, s, total) * 1e4).round() / 1e4).collect()
    }

    #[test]
    fn follows_the_tables() {
        let none = Warmup::NONE;
        let cases = [
            (Schedule::Constant { warmup: none }, 3, vec![1.0, 1.0, 1.0]),
            (Schedule::Constant { warmup: Warmup::Steps(4) }, 6, vec![0.25, 0.5, 0.75, 1.0, 1.0, 1.0]),
            (Schedule::Constant { warmup: Warmup::Percent(50.0) }, 4, vec![0.5, 1.0, 1.0, 1.0]),
            (Schedule::Linear { warmup: none, final_factor: 0.0 }, 5, vec![1.0, 0.75, 0.5, 0.25, 0.0]),
            (Schedule::Linear { warmup: none, final_factor: 0.5 }, 5, vec![1.0, 0.875, 0.75, 0.625, 0.5]),
            (Schedule::Linear { warmup: Warmup::Steps(2), final_factor: 0.0 }, 4, vec![0.5, 1.0, 0.5, 0.0]),
            (Schedule::Cosine { warmup: none, final_factor: 0.0 }, 5, vec![1.0, 0.8536, 0.5, 0.1464, 0.0]),
            (Schedule::Cosine { warmup: Warmup::Steps(1), final_factor: 0.1 }, 3, vec![1.0, 0.55, 0.1]),
            (Schedule::Cosine { warmup: none, final_factor: 0.0 }, 1, vec![1.0]),
            (Schedule::Linear { warmup: Warmup::Steps(9), final_factor: 0.0 }, 2, vec![0.1111, 0.2222]),
        ];
        for (schedule, total, expected) in cases {
            assert_eq!(table(&schedule, total), expected, "{schedule:?} over {total} steps");
        }
    }

    #[test]
    fn the_factor_multiplies_the_rate_and_holds_after_the_end() {
        let schedule = Schedule::Linear { warmup: Warmup::NONE, final_factor: 0.5 };
        let sgd = Optimizer::Sgd {
            lr: 0.2,
            momentum: 0.0,
            weight_decay: 0.0,
            nesterov: false,
            decay: lockstep_job::Decay::All,
            schedule,
        };
        assert_eq!(learning_rate(&sgd, Step(1), Step(10)), 0.2);
        assert_eq!(learning_rate(&sgd, Step(10), Step(10)), 0.1);
        assert_eq!(learning_rate(&sgd, Step(11), Step(10)), 0.1);
    }
}
