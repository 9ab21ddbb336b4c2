//! What came of the faults, told from the run's events.

use jiff::Timestamp;
use lockstep_run::segment::{Event, EventKind};
use lockstep_run::{Generation, Step, Strike};
use serde::Serialize;

/// How far a run is with a fault.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stage {
    /// Nobody has done it yet.
    Asked,
    /// It happened, or was noticed, and training hasn't gone on.
    Struck,
    /// Training went on.
    Over(Fault),
    /// The generation that was meant ended before it happened.
    Missed,
}

/// A fault that training went on from. Times are of the machines that told them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Fault {
    /// What happened.
    pub(crate) fault: String,
    /// When.
    pub(crate) at: Timestamp,
    /// The generation that it ended.
    pub(crate) generation: Generation,
    /// Until it was noticed.
    pub(crate) noticed_seconds: f64,
    /// Until the next step was done by all ranks.
    pub(crate) next_step_seconds: f64,
    /// That step.
    pub(crate) step: Option<Step>,
}

/// What the events, in order of time, say of a fault that was asked of a generation.
pub(crate) fn stage(strike: Strike, generation: Generation, events: &[Event]) -> Stage {
    let of = |kind: EventKind| events.iter().find(move |e| e.kind == kind && e.generation == generation);
    let after = |kind: EventKind| events.iter().find(move |e| e.kind == kind && e.generation > generation);
    // Somebody else may strike the run, too.
    let words = format!("{strike},");
    let is_ours = |event: &&Event| event.generation == generation && event.text.starts_with(&words);
    let struck = events.iter().filter(|event| event.kind == EventKind::Struck).find(is_ours);
    let Some(struck) = struck else {
        // The end is told by the last generation.
        let is_over = after(EventKind::Formed).or(of(EventKind::Ended)).is_some();
        return if is_over { Stage::Missed } else { Stage::Asked };
    };
    // Whoever leads may be who is lost; then the next leader's record tells.
    let noticed =
        of(EventKind::Lost).filter(|lost| lost.at >= struck.at).or_else(|| after(EventKind::Formed));
    let (Some(noticed), Some(recovered)) = (noticed, after(EventKind::Recovered)) else {
        return Stage::Struck;
    };
    let since = |event: &Event| event.at.duration_since(struck.at).as_secs_f64().max(0.0);
    Stage::Over(Fault {
        fault: strike.to_string(),
        at: struck.at,
        generation,
        noticed_seconds: since(noticed),
        next_step_seconds: since(recovered),
        step: recovered.step,
    })
}

/// Half of the times are at most the first, all but a hundredth at most the second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Percentiles {
    /// Of some times; none of none.
    pub(crate) fn of(times: impl Iterator<Item = f64>) -> Option<Self> {
        let mut times: Vec<_> = times.collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (times.len() as f64 * share).ceil() as usize;
            times.get(rank.saturating_sub(1)).copied()
        };
        Some(Self { p50: at(0.5)?, p99: at(0.99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_run::{Blow, Rank, Target};

    const STRIKE: Strike = Strike { blow: Blow::Kill, target: Target::Worker(Rank(1)) };

    fn event(kind: EventKind, generation: u64, millis: i64) -> Event {
        let at = Timestamp::from_millisecond(millis).unwrap();
        let (generation, text, step) =
            (Generation(generation), format!("{STRIKE}, as me asked"), Some(Step(9)));
        Event { at, generation, node: None, rank: None, kind, text, step, seconds: None, uri: None }
    }

    #[test]
    fn a_fault_is_over_with_the_next_step() {
        use EventKind::{Ended, Formed, Lost, Recovered, Struck};
        let events = [
            event(Lost, 3, 900),
            event(Formed, 4, 950),
            event(Struck, 4, 1000),
            event(Lost, 4, 1100),
            event(Formed, 5, 1200),
            event(Recovered, 5, 1250),
            event(Ended, 5, 9000),
        ];
        let stages = |generation| -> Vec<_> {
            (0..=events.len()).map(|seen| stage(STRIKE, Generation(generation), &events[..seen])).collect()
        };
        let over = Fault {
            fault: "kill worker:1".to_owned(),
            at: Timestamp::from_millisecond(1000).unwrap(),
            generation: Generation(4),
            noticed_seconds: 0.1,
            next_step_seconds: 0.25,
            step: Some(Step(9)),
        };
        let expected =
            [Stage::Asked, Stage::Asked, Stage::Asked, Stage::Struck, Stage::Struck, Stage::Struck];
        assert_eq!(stages(4)[..6], expected);
        assert_eq!(stages(4)[6..], [Stage::Over(over.clone()), Stage::Over(over.clone())]);
        assert_eq!(stages(3)[2], Stage::Missed, "generation 3 was lost by itself");
        assert_eq!(stages(5)[7], Stage::Missed, "the run ended");
        let other = Strike { blow: Blow::Stop, ..STRIKE };
        assert_eq!(stage(other, Generation(4), &events), Stage::Missed, "another fault ended generation 4");
        // A leader that is lost says nothing of it.
        let silent: Vec<_> = events.iter().filter(|event| event.kind != Lost).cloned().collect();
        assert_eq!(
            stage(STRIKE, Generation(4), &silent),
            Stage::Over(Fault { noticed_seconds: 0.2, ..over })
        );
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        assert_eq!(Percentiles::of([].into_iter()), None);
        for (num, p50, p99) in [(1, 1.0, 1.0), (2, 1.0, 2.0), (3, 2.0, 3.0), (200, 100.0, 198.0)] {
            let times = (1..=num).rev().map(f64::from);
            assert_eq!(Percentiles::of(times), Some(Percentiles { p50, p99 }), "{num}");
        }
    }
}
