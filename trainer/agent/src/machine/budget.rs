use lockstep_run::Step;

/// Ends a run that fails in the same way again and again without getting anywhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget {
    /// Highest step that any rank ever reached.
    highest: Step,
    /// Cause of the last failures, and how many of them there were since the last progress.
    same: Option<(String, u32)>,
}

impl Budget {
    /// A rank reached a step. Progress beyond the highest one ever forgives all that was.
    pub(super) fn on_step(&mut self, step: Step) {
        if step > self.highest {
            self.highest = step;
            self.same = None;
        }
    }

    /// A generation ended for this cause; true where it is over for good.
    pub(super) fn on_failure(&mut self, cause: &str, limit: u32) -> bool {
        let count = match self.same.take() {
            Some((last, count)) if last == cause => count + 1,
            _ => 1,
        };
        self.same = Some((cause.to_owned(), count));
        count >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_cause_without_progress_ends_it() {
        let mut b = Budget::default();
        assert!(!b.on_failure("x", 3));
        assert!(!b.on_failure("x", 3));
        assert!(!b.on_failure("y", 3), "another cause starts anew");
        assert!(!b.on_failure("y", 3));
        b.on_step(Step(5));
        assert!(!b.on_failure("y", 3), "progress forgives");
        b.on_step(Step(5));
        b.on_step(Step(4));
        assert!(!b.on_failure("y", 3));
        assert!(b.on_failure("y", 3), "a step repeated is no progress");
    }
}
