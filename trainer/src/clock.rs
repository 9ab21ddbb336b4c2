//! What this rank's time goes to. The training loop says when each part of a step ends.
//!
//! Times are the host's. On a device that computes by itself they would tell how long launching takes, and waiting for it.

use crate::recording::Recording;
use lockstep_run::link::TraceOrder;
use lockstep_run::{Activity, Part, Recorded, Step};
use std::time::{Duration, Instant};

/// Gives each moment of the training thread to one part of a step, and tells a recording, if there is one.
#[derive(Debug)]
pub(crate) struct StepClock {
    last: Instant,
    spent: Spent,
    recording: Option<Recording>,
}

/// How long each part took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent([Duration; Part::ALL.len()]);

impl StepClock {
    /// Nothing has begun before `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self { last: now, spent: Spent::default(), recording: None }
    }

    /// A part ends: the time since the last one ended was its.
    pub(crate) fn end(&mut self, part: Part, now: Instant) {
        self.end_as(part, part.into(), now);
    }

    /// A part ends which was something that has a name of its own in a recording.
    pub(crate) fn end_as(&mut self, part: Part, activity: Activity, now: Instant) {
        let took = self.pass(now);
        self.add(part, activity, took);
    }

    /// A backward pass ends whose last `exposed` was communication that nothing hid.
    pub(crate) fn end_reduced(&mut self, exposed: Duration, now: Instant) {
        let took = self.pass(now);
        // Another clock measured it.
        let exposed = exposed.min(took);
        self.add(Part::Backward, Activity::Backward, took - exposed);
        self.add(Part::Communication, Activity::Communication, exposed);
        self.recording.iter_mut().for_each(Recording::reduced);
    }

    /// What was done since the last part ended, an evaluation, is none of a step's.
    pub(crate) fn skip_evaluation(&mut self, now: Instant) {
        let took = self.pass(now);
        self.recording.iter_mut().for_each(|recording| recording.add(Activity::Evaluation, took));
    }

    /// Whether a recording is under way.
    pub(crate) fn records(&self) -> bool {
        self.recording.is_some()
    }

    /// From the next step on, all parts go into a recording.
    pub(crate) fn record(&mut self, recording: Recording) {
        self.recording = Some(recording);
    }

    /// A step begins, if there is a next one, where the last part ended. Returns the recording that is over with that.
    pub(crate) fn begin(&mut self, next: Option<Step>) -> Option<(TraceOrder, Recorded)> {
        let last = self.last;
        self.recording.take_if(|recording| recording.begin(next, last)).map(Recording::end)
    }

    /// All since it was asked last; what comes counts anew.
    pub(crate) fn take(&mut self) -> Spent {
        std::mem::take(&mut self.spent)
    }

    fn add(&mut self, part: Part, activity: Activity, took: Duration) {
        self.spent.add(part, took);
        self.recording.iter_mut().for_each(|recording| recording.add(activity, took));
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
    use std::time::SystemTime;

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
        clock.end_reduced(Duration::from_millis(4), at(20));
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
        clock.skip_evaluation(at(1000));
        clock.end(Part::Data, at(1002));
        assert_eq!(clock.take(), spent(&[(Part::Data, 2)]), "it counts anew, without what was skipped");
    }

    #[test]
    fn a_recorded_step_is_as_long_as_its_spans() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut clock = StepClock::new(at(0));
        let order = TraceOrder { number: 1, steps: 1 };
        clock.record(Recording::new(order, at(0), SystemTime::UNIX_EPOCH));
        clock.end(Part::Other, at(2));
        assert!(clock.begin(Some(Step(4))).is_none() && clock.records());
        clock.end(Part::Forward, at(3));
        clock.end_reduced(Duration::from_millis(4), at(10));
        clock.end_as(Part::Other, Activity::Checkpoint, at(12));
        clock.skip_evaluation(at(20));
        let (order, recorded) = clock.begin(Some(Step(5))).unwrap();
        assert_eq!((order.number, clock.records()), (1, false));
        let step = &recorded.steps[0];
        let ms = |ns: u64| ns / 1_000_000;
        let spans: Vec<_> = step.spans.iter().map(|span| (span.activity.name(), ms(span.ns))).collect();
        let expected =
            [("forward", 1), ("backward", 3), ("communication", 4), ("checkpoint", 2), ("evaluation", 8)];
        assert_eq!(spans, expected);
        assert_eq!((step.step, ms(step.begin_ns), ms(step.ns())), (Step(4), 2, 18));
        assert_eq!(step.reduced_ns.map(ms), Some(8));
        let all = [(Part::Other, 4), (Part::Forward, 1), (Part::Backward, 3), (Part::Communication, 4)];
        assert_eq!(clock.take(), spent(&all), "a recording changes no sums");
    }

    #[test]
    fn no_more_is_exposed_than_there_was() {
        let now = Instant::now();
        let mut clock = StepClock::new(now);
        clock.end_reduced(Duration::from_secs(9), now + Duration::from_millis(5));
        assert_eq!(clock.take(), spent(&[(Part::Communication, 5)]));
        clock.end(Part::Data, now);
        assert_eq!(clock.take(), Spent::default(), "a clock that goes back tells nothing");
    }
}
