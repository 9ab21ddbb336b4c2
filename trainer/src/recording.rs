//! What a rank did, moment by moment, for the steps that somebody asked to see. The step's clock tells it each part as it ends.

use lockstep_run::link::TraceOrder;
use lockstep_run::{Activity, Recorded, Span, Step, TracedStep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A step of many micro batches has many spans; what is recorded must stay one message to the agent.
const MOST_SPANS: usize = 100_000;

/// Takes spans until it has the steps that were asked for.
#[derive(Debug)]
pub(crate) struct Recording {
    order: TraceOrder,
    since: Instant,
    /// The step that is under way.
    step: Option<TracedStep>,
    num_micro_batches: u32,
    num_spans: usize,
    recorded: Recorded,
}

impl Recording {
    /// Nothing yet: the first step that is recorded is the next one to begin.
    pub(crate) fn start(order: TraceOrder) -> Self {
        let (now, wall) = clocks();
        Self::new(order, now, wall)
    }

    /// As [`start`](Self::start), where both clocks were read.
    pub(crate) fn new(order: TraceOrder, now: Instant, wall: SystemTime) -> Self {
        let begin_unix_ns = nanoseconds(wall.duration_since(UNIX_EPOCH).unwrap_or_default());
        let recorded = Recorded { begin_unix_ns, steps: Vec::new() };
        Self { order, since: now, step: None, num_micro_batches: 0, num_spans: 0, recorded }
    }

    /// The step under way did this until just now.
    pub(crate) fn add(&mut self, activity: Activity, took: Duration) {
        let Some(step) = &mut self.step else { return };
        let micro_batch = match activity {
            Activity::Forward => {
                self.num_micro_batches += 1;
                self.num_micro_batches.checked_sub(1)
            }
            Activity::Backward => self.num_micro_batches.checked_sub(1),
            _ => None,
        };
        step.spans.push(Span { activity, micro_batch, ns: nanoseconds(took) });
        self.num_spans += 1;
    }

    /// The ranks have the average of their gradients, as of the end of the newest span.
    pub(crate) fn reduced(&mut self) {
        if let Some(step) = &mut self.step {
            step.reduced_ns = Some(step.ns());
        }
    }

    /// The step under way is over, and `next` begins, if there is one. True where nothing more is wanted.
    pub(crate) fn begin(&mut self, next: Option<Step>, now: Instant) -> bool {
        self.recorded.steps.extend(self.step.take());
        let enough = self.recorded.steps.len() >= self.order.steps as usize || self.num_spans >= MOST_SPANS;
        let Some(step) = next.filter(|_| !enough) else { return true };
        let begin_ns = nanoseconds(now.saturating_duration_since(self.since));
        self.step = Some(TracedStep { step, begin_ns, reduced_ns: None, spans: Vec::new() });
        self.num_micro_batches = 0;
        false
    }

    /// The request, and what was recorded for it.
    pub(crate) fn end(self) -> (TraceOrder, Recorded) {
        (self.order, self.recorded)
    }
}

/// Both clocks at one moment. A thread that is held up in between is so again and again only by much bad luck.
fn clocks() -> (Instant, SystemTime) {
    let read = |_| {
        let now = Instant::now();
        let wall = SystemTime::now();
        (now.elapsed(), now, wall)
    };
    let best = (0..4).map(read).min_by_key(|(apart, ..)| *apart);
    best.map_or_else(|| (Instant::now(), SystemTime::now()), |(_, now, wall)| (now, wall))
}

/// Half a millennium fits.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn begun(steps: u32, now: Instant) -> Recording {
        Recording::new(TraceOrder { number: 7, steps }, now, UNIX_EPOCH + MS)
    }

    #[test]
    fn steps_are_recorded_from_the_next_one_on() {
        let now = Instant::now();
        let mut recording = begun(2, now);
        recording.add(Activity::Other, MS);
        assert!(!recording.begin(Some(Step(5)), now + MS));
        for activity in [Activity::Forward, Activity::Backward, Activity::Forward, Activity::Backward] {
            recording.add(activity, MS);
        }
        recording.add(Activity::Communication, MS);
        recording.reduced();
        recording.add(Activity::Optimizer, MS);
        assert!(!recording.begin(Some(Step(6)), now + 7 * MS));
        recording.add(Activity::Data, MS);
        assert!(recording.begin(Some(Step(7)), now + 8 * MS), "two are enough");
        let (order, recorded) = recording.end();
        assert_eq!((order.number, recorded.begin_unix_ns, recorded.steps.len()), (7, 1_000_000, 2));
        let [first, second] = &recorded.steps[..] else { unreachable!() };
        assert_eq!((first.step, first.begin_ns, first.ns()), (Step(5), 1_000_000, 6_000_000));
        assert_eq!(first.reduced_ns, Some(5_000_000));
        let micro_batches: Vec<_> = first.spans.iter().map(|span| span.micro_batch).collect();
        assert_eq!(micro_batches, [Some(0), Some(0), Some(1), Some(1), None, None]);
        assert_eq!((second.step, second.begin_ns, second.reduced_ns), (Step(6), 7_000_000, None));
    }

    #[test]
    fn the_end_of_training_and_a_full_message_end_it() {
        let now = Instant::now();
        let mut recording = begun(100, now);
        assert!(!recording.begin(Some(Step(1)), now));
        assert!(recording.begin(None, now));
        assert_eq!(recording.end().1.steps.len(), 1);

        let mut recording = begun(100, now);
        assert!(!recording.begin(Some(Step(1)), now));
        (0..MOST_SPANS).for_each(|_| recording.add(Activity::Forward, MS));
        assert!(recording.begin(Some(Step(2)), now));
    }
}
