//! What sets the pace of a run's steps, in words, where that isn't computing.

use lockstep_run::status::RunStatus;
use lockstep_run::{Part, SlowestRank, StepSeconds};

/// The part that takes most of a step's time, and what helps; none where that is computing, or nothing was measured.
pub(crate) fn pace(status: &RunStatus) -> Option<String> {
    let seconds = status.step_seconds?;
    let (part, share) = seconds.largest()?;
    let percent = format!("{:.0} % of the time of its steps", share * 100.0);
    match part {
        Part::Forward | Part::Backward | Part::Optimizer => None,
        Part::Data => Some(format!(
            "{percent} is a wait for data: raise data.cache.size if shards are fetched again and again, data.prefetch.shards if a \
             bucket is far away, data.prefetch.batches if the wait comes in bursts; else give each rank more CPU cores to read with"
        )),
        Part::Communication => Some(match slow(&seconds, status.slowest_rank) {
            Some(SlowestRank { rank, work_seconds }) => format!(
                "{percent} is a wait of ranks for one another: rank {rank} works {} a step where the mean is {}; look at its node, \
                 and at what else runs there",
                brief(work_seconds),
                brief(seconds.work())
            ),
            None => format!(
                "{percent} is the exchange of gradients, and waits for ranks that are slow by turns: a larger train.globalBatch makes \
                 fewer exchanges for the same samples, and a faster network makes each shorter"
            ),
        }),
        Part::Other => Some(format!(
            "{percent} is neither data nor computing nor exchange: checkpoints and reports take some, so save and log less often \
             (checkpoint.every, log.every)"
        )),
    }
}

/// The slowest rank, where the wait for it is most of what communication takes. On average the ranks wait for as long as its work
/// exceeds their mean.
fn slow(seconds: &StepSeconds, slowest: Option<SlowestRank>) -> Option<SlowestRank> {
    slowest.filter(|slowest| slowest.work_seconds - seconds.work() > seconds.communication / 2.0)
}

/// Seconds in a unit that fits.
fn brief(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.1} s"),
        s if s >= 1e-3 => format!("{:.1} ms", s * 1e3),
        s => format!("{:.0} µs", s * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_run::Rank;

    fn status(largest: Part, slowest_work: Option<f64>) -> RunStatus {
        let seconds = StepSeconds::of(|part| if part == largest { 0.005 } else { 0.001 });
        let slowest = slowest_work.map(|work_seconds| SlowestRank { rank: Rank(3), work_seconds });
        serde_json::from_value(serde_json::json!({
            "name": "digits", "run_dir": "runs/digits", "phase": "running", "step": 1, "total_steps": 9, "loss": null,
            "eval": {}, "samples_per_second": null, "tokens_per_second": null, "mfu": null, "step_seconds": seconds,
            "slowest_rank": slowest, "eta_seconds": null, "generation": 1, "restarts": 0, "nodes": [1, 1],
            "last_checkpoint": null, "time_to_first_step_seconds": null, "why": null,
        }))
        .unwrap()
    }

    #[test]
    fn what_is_no_computing_is_named_with_the_way_out() {
        for (part, slowest_work, words) in [
            (
                Part::Data,
                None,
                &["50 % of the time of its steps is a wait for data", "data.prefetch.batches"][..],
            ),
            (Part::Communication, None, &["the exchange of gradients", "train.globalBatch"]),
            (Part::Communication, Some(0.006), &["the exchange of gradients"]),
            (
                Part::Communication,
                Some(0.008),
                &["ranks for one another", "rank 3 works 8.0 ms a step where the mean is 4.0 ms"],
            ),
            (Part::Other, None, &["checkpoint.every", "log.every"]),
        ] {
            let text = pace(&status(part, slowest_work)).unwrap();
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        }
    }

    #[test]
    fn computing_needs_no_words() {
        for part in [Part::Forward, Part::Backward, Part::Optimizer] {
            assert_eq!(pace(&status(part, Some(1.0))), None);
        }
        assert_eq!(pace(&RunStatus { step_seconds: None, ..status(Part::Data, None) }), None);
    }
}
