use lockstep_run::segment::{Event, EventKind};
use lockstep_run::{Progress, Report, Step, eta_seconds};
use std::time::{Duration, Instant};

/// What a launch's status lines have told so far.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(super) progress: Progress,
    /// Step of the newest checkpoint, and when it was committed.
    pub(super) checkpoint: Option<(Step, Instant)>,
    /// Step and time of the first report of this generation, from which the speed follows.
    begun: Option<(Step, Instant)>,
}

impl Facts {
    pub(super) fn on_report(&mut self, report: Report) {
        self.begun.get_or_insert((report.step, Instant::now()));
        self.progress.merge(report);
    }

    pub(super) fn on_event(&mut self, event: &Event) {
        match event.kind {
            EventKind::Checkpoint => self.checkpoint = event.step.map(|step| (step, Instant::now())),
            // The time without it is none of the training's.
            EventKind::Formed => self.begun = None,
            _ => {}
        }
    }

    /// Steps done, and in all; none before the first report.
    pub(super) fn steps(&self) -> Option<(u64, u64)> {
        self.progress.total_steps.map(|total| (self.progress.step.0, total.0))
    }

    /// Time left at the mean speed since the first report of this generation.
    pub(super) fn eta(&self) -> Option<Duration> {
        let (total, (first, at)) = (self.progress.total_steps?, self.begun?);
        let seconds = eta_seconds(first, self.progress.step, total, at.elapsed().as_secs_f64())?;
        Some(Duration::from_secs_f64(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind) -> Event {
        serde_json::from_value(serde_json::json!({
            "at": "2026-01-01T00:00:00Z", "generation": 2, "node": 0, "kind": kind, "text": ""
        }))
        .unwrap()
    }

    fn report(facts: &mut Facts, step: u64) -> Option<Duration> {
        facts.on_report(Report { step: Step(step), total_steps: Step(1000), ..Report::default() });
        facts.eta()
    }

    #[test]
    fn a_new_generation_has_a_speed_of_its_own() {
        let mut facts = Facts::default();
        assert_eq!(report(&mut facts, 100), None, "one report tells no speed");
        assert!(report(&mut facts, 200).is_some());
        facts.on_event(&event(EventKind::Formed));
        assert_eq!(report(&mut facts, 200), None);
        assert!(report(&mut facts, 201).is_some());
    }
}
