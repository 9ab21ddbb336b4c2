//! What this rank's time goes to. The training loop says when each part of a step ends.
//!
//! Times are the host's. On a device that computes by itself they would tell how long launching takes, and waiting for it.

use lockstep_run::Part;
use std::time::{Duration, Instant};

/// Gives each moment of the training thread to one part of a step.
#[derive(Debug)]
pub(crate) struct StepClock {
    last: Instant,
    spent: Spent,
}

/// How long each part took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent([Duration; Part::ALL.len()]);

impl StepClock {
    /// Nothing has begun before `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self { last: now, spent: Spent::default() }
    }

    /// A part ends: the time since the last one ended was its.
    pub(crate) fn end(&mut self, part: Part, now: Instant) {
        let took = self.pass(now);
        self.spent.add(part, took);
    }

    /// A part ends whose last `exposed` was communication that nothing hid.
    pub(crate) fn end_exposed(&mut self, part: Part, exposed: Duration, now: Instant) {
        let took = self.pass(now);
        // Another clock measured it.
        let exposed = exposed.min(took);
        self.spent.add(part, took - exposed);
        self.spent.add(Part::Communication, exposed);
    }

    /// What was done since the last part ended, such as an evaluation, is none of a step's.
    pub(crate) fn skip(&mut self, now: Instant) {
        self.pass(now);
    }

    /// All since it was asked last; what comes counts anew.
    pub(crate) fn take(&mut self) -> Spent {
        std::mem::take(&mut self.spent)
    }

    fn pass(&mut self, now: Instant) -> Duration {
        now.saturating_duration_since(std::mem::replace(&mut self.last, now))
    }
}

impl Spent {
    /// Seconds of a part.
    pub(crate) fn seconds(&self, part: Part) -> f64 {
        self.0[part as usize].as_secs_f64()
    }

    /// Seconds of all parts.
    pub(crate) fn total(&self) -> f64 {
        self.0.iter().sum::<Duration>().as_secs_f64()
    }

    fn add(&mut self, part: Part, time: Duration) {
        self.0[part as usize] += time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(parts: &[(Part, u64)]) -> Spent {
        let mut spent = Spent::default();
        parts.iter().for_each(|(part, ms)| spent.add(*part, Duration::from_millis(*ms)));
        spent
    }

    #[test]
    fn each_moment_belongs_to_one_part() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut clock = StepClock::new(at(0));
        clock.end(Part::Other, at(1));
        clock.end(Part::Data, at(11));
        clock.end(Part::Forward, at(13));
        clock.end_exposed(Part::Backward, Duration::from_millis(4), at(20));
        clock.end(Part::Optimizer, at(21));
        clock.end(Part::Data, at(30));
        let all = [
            (Part::Other, 1),
            (Part::Data, 10 + 9),
            (Part::Forward, 2),
            (Part::Backward, 3),
            (Part::Communication, 4),
            (Part::Optimizer, 1),
        ];
        let first = clock.take();
        assert_eq!((first, first.total(), first.seconds(Part::Data)), (spent(&all), 0.03, 0.019));
        clock.skip(at(1000));
        clock.end(Part::Data, at(1002));
        assert_eq!(clock.take(), spent(&[(Part::Data, 2)]), "it counts anew, without what was skipped");
    }

    #[test]
    fn no_more_is_exposed_than_there_was() {
        let now = Instant::now();
        let mut clock = StepClock::new(now);
        clock.end_exposed(Part::Backward, Duration::from_secs(9), now + Duration::from_millis(5));
        assert_eq!(clock.take(), spent(&[(Part::Communication, 5)]));
        clock.end(Part::Data, now);
        assert_eq!(clock.take(), Spent::default(), "a clock that goes back tells nothing");
    }
}
