use super::Time;
use lockstep_run::Step;
use std::time::Duration;

/// So many generations in a row without progress end a run, whatever ended each of them.
pub(super) const MOST_IN_VAIN: u32 = 30;
/// So many faults in a row are answered at once: most are over with the first new generation.
const AT_ONCE: u32 = 2;
/// The first pause after those; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Ends a run that fails again and again without getting anywhere, and slows it down before that.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget {
    /// Highest step that any rank ever reached.
    highest: Step,
    /// The step from which the last generation went on.
    began: Option<Step>,
    /// Cause of the last failures, and how many of them there were since the last progress.
    same: Option<(String, u32)>,
    /// Failures of any cause since the last progress.
    in_vain: u32,
}

/// What follows from a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Form the next generation after this pause.
    Again(Duration),
    /// The same cause came too often.
    SameCause,
    /// Too many failures of all sorts came in a row.
    InVain,
}

impl Budget {
    /// A rank reached a step. Progress beyond the highest one ever forgives all that was.
    pub(super) fn on_step(&mut self, step: Step) {
        if step > self.highest {
            self.highest = step;
            self.forgive();
        }
    }

    /// A generation goes on from a step. From a higher one than the last generation did: what was trained since was kept, also
    /// where all was lost before and the run is not yet where it has been.
    pub(super) fn on_begin(&mut self, step: Step) {
        if self.began.replace(step).is_some_and(|before| step > before) {
            self.forgive();
        }
    }

    /// The highest step that any rank ever reached.
    pub(super) fn highest(&self) -> Step {
        self.highest
    }

    /// Training got on, as far as can be told of a program that reports no steps.
    pub(super) fn forgive(&mut self) {
        (self.same, self.in_vain) = (None, 0);
    }

    /// A generation ended for this cause.
    pub(super) fn on_failure(&mut self, cause: &str, limit: u32) -> Answer {
        let count = match self.same.take() {
            Some((last, count)) if last == cause => count.saturating_add(1),
            _ => 1,
        };
        self.same = Some((cause.to_owned(), count));
        self.in_vain = self.in_vain.saturating_add(1);
        if count >= limit {
            return Answer::SameCause;
        }
        if self.in_vain >= MOST_IN_VAIN {
            return Answer::InVain;
        }
        let doublings = self.in_vain.saturating_sub(AT_ONCE + 1).min(10);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
        Answer::Again(if self.in_vain <= AT_ONCE { Time::ZERO } else { pause })
    }
}

/// What makes one failure the same as another: its first line without what changes from one to the next, such as
/// addresses, times, steps, generations and ranks.
pub(super) fn normalised(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let words = line.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_');
    let mut cause = String::new();
    for word in words {
        let (stem, separator) = match word.char_indices().next_back() {
            Some((at, last)) if !last.is_alphanumeric() && last != '_' => word.split_at(at),
            _ => (word, ""),
        };
        let changes = stem.bytes().any(|b| b.is_ascii_digit());
        cause.push_str(if changes { "#" } else { stem });
        cause.push_str(separator);
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_after_a_loss_of_all_is_progress_and_what_fails_at_one_place_is_none() {
        let failures = |begins: &[(u64, u64)]| -> Vec<Answer> {
            let mut budget = Budget::default();
            budget.on_step(Step(5000));
            let fail = |(began, reached): &(u64, u64)| {
                budget.on_begin(Step(*began));
                budget.on_step(Step(*reached));
                budget.on_failure("it was killed", 3)
            };
            begins.iter().map(fail).collect()
        };
        let now = || Answer::Again(Time::ZERO);
        let catching_up = [(0, 1653), (1653, 3599), (3599, 4200), (4200, 4900)];
        assert_eq!(failures(&catching_up), [now(), now(), now(), now()]);
        assert_eq!(failures(&[(40, 50), (40, 50), (40, 50)]), [now(), now(), Answer::SameCause]);
    }

    const AT_ONCE: Answer = Answer::Again(Duration::ZERO);

    #[test]
    fn the_same_cause_without_progress_ends_it() {
        let mut b = Budget::default();
        assert_eq!(b.on_failure("x", 3), AT_ONCE);
        assert_eq!(b.on_failure("x", 3), AT_ONCE);
        assert_ne!(b.on_failure("y", 3), Answer::SameCause, "another cause starts anew");
        assert_ne!(b.on_failure("y", 3), Answer::SameCause);
        b.on_step(Step(5));
        assert_eq!(b.on_failure("y", 3), AT_ONCE, "progress forgives");
        b.on_step(Step(5));
        b.on_step(Step(4));
        assert_eq!(b.on_failure("y", 3), AT_ONCE);
        assert_eq!(b.on_failure("y", 3), Answer::SameCause, "a step repeated is no progress");
    }

    #[test]
    fn failures_of_all_sorts_slow_down_and_end() {
        let mut b = Budget::default();
        let mut waited = Duration::ZERO;
        let mut answers = 0;
        loop {
            answers += 1;
            match b.on_failure(&format!("cause {answers}"), 3) {
                Answer::Again(pause) => waited += pause,
                end => break assert_eq!(end, Answer::InVain),
            }
        }
        assert_eq!(answers, MOST_IN_VAIN);
        assert!(waited > Duration::from_secs(300) && waited < Duration::from_secs(3600), "{waited:?}");
    }

    #[test]
    fn what_changes_from_one_failure_to_the_next_is_no_part_of_its_cause() {
        let same = [
            ("connect to 10.0.0.7:4711 failed", "connect to 10.0.0.9:80 failed"),
            ("object at 0x7f3a91 is gone", "object at 0xdeadbeef1 is gone"),
            ("generation 7 of rank 3: boom", "generation 71 of rank 0: boom"),
            ("boom\nTraceback of 12:01", "boom\nTraceback of another time"),
            ("\n  boom", "\n  boom\nmore"),
        ];
        for (a, b) in same {
            assert_eq!(normalised(a), normalised(b));
        }
        for (a, b) in [("no such file", "no such key"), ("a.py: boom", "b.py: boom")] {
            assert_ne!(normalised(a), normalised(b));
        }
    }
}
