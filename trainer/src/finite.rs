//! What to do about a gradient that isn't finite: a pure decision that every rank takes alike.
//!
//! A NaN or an infinity of one rank reaches all of them through the gradient's sum, so all ranks see the same flag and
//! count the same number of bad steps in a row without any exchange.

use lockstep_c10d::Finiteness;
use lockstep_job::{NonFinite, NonFinitePolicy};

/// What happens to the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Apply the update.
    Apply,
    /// It is left out for a loss scale that was too large, and is smaller now: no fault.
    Rescale,
    /// Leave parameters and moments as they are and go on; this is the `in_a_row`-th bad step.
    Skip {
        /// Bad steps since the last good one, this one included.
        in_a_row: u32,
    },
    /// Too many: end the run.
    Stop {
        /// Bad steps since the last good one, this one included.
        in_a_row: u32,
    },
}

/// Counts bad steps.
#[derive(Debug)]
pub(crate) struct FiniteGuard {
    policy: NonFinite,
    in_a_row: u32,
}

impl FiniteGuard {
    /// A guard that goes on after so many bad steps in a row.
    pub(crate) fn new(policy: NonFinite, in_a_row: u32) -> Self {
        Self { policy, in_a_row }
    }

    /// Bad steps since the last good one.
    pub(crate) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// Judges one step by whether the norm of its summed gradient is finite.
    pub(crate) fn judge(&mut self, found: Finiteness) -> Verdict {
        match found {
            Finiteness::Finite => {
                self.in_a_row = 0;
                return Verdict::Apply;
            }
            Finiteness::Overflow => return Verdict::Rescale,
            Finiteness::NonFinite => {}
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        let in_a_row = self.in_a_row;
        match self.policy.policy {
            NonFinitePolicy::Stop if in_a_row >= self.policy.after => Verdict::Stop { in_a_row },
            NonFinitePolicy::Stop | NonFinitePolicy::Skip => Verdict::Skip { in_a_row },
        }
    }
}

/// Names the ranks whose own loss was not finite.
pub(crate) fn culprits(losses: &[f64]) -> String {
    let bad: Vec<_> = (losses.iter().enumerate())
        .filter(|(_, loss)| !loss.is_finite())
        .map(|(rank, loss)| format!("rank {rank} ({loss})"))
        .collect();
    if bad.is_empty() {
        "the loss itself is finite on all ranks".to_owned()
    } else {
        format!("the loss is not finite on {}", bad.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_bad_steps_in_a_row() {
        let stop = NonFinite { policy: NonFinitePolicy::Stop, after: 2 };
        let skip = NonFinite { policy: NonFinitePolicy::Skip, after: 2 };
        let (s1, s2, s3) =
            (Verdict::Skip { in_a_row: 1 }, Verdict::Skip { in_a_row: 2 }, Verdict::Skip { in_a_row: 3 });
        let (fine, bad, over) = (Finiteness::Finite, Finiteness::NonFinite, Finiteness::Overflow);
        let cases = [
            (stop, vec![fine, fine], vec![Verdict::Apply, Verdict::Apply]),
            (stop, vec![bad, fine, bad], vec![s1, Verdict::Apply, s1]),
            (stop, vec![bad, bad], vec![s1, Verdict::Stop { in_a_row: 2 }]),
            (
                stop,
                vec![over, over, over, bad],
                vec![Verdict::Rescale, Verdict::Rescale, Verdict::Rescale, s1],
            ),
            (skip, vec![bad, bad, bad, fine], vec![s1, s2, s3, Verdict::Apply]),
        ];
        for (policy, steps, expected) in cases {
            let mut guard = FiniteGuard::new(policy, 0);
            let found: Vec<_> = steps.iter().map(|found| guard.judge(*found)).collect();
            assert_eq!(found, expected, "{policy:?} {steps:?}");
        }
    }
}
