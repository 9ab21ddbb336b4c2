use lockstep_run::Step;
use lockstep_run::link::Progress;
use lockstep_run::segment::{Event, EventKind};
use lockstep_run::status::eta_seconds;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a launch's status lines have told so far.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(super) last: Option<Progress>,
    /// Last loss, as evaluations report none.
    pub(crate) loss: Option<f64>,
    /// Last result of each evaluation metric.
    pub(crate) eval: BTreeMap<String, f64>,
    pub(super) samples_per_second: Option<f64>,
    /// Step of the newest checkpoint, and when it was committed.
    pub(super) checkpoint: Option<(Step, Instant)>,
    /// Step and time of the first report of this generation, from which the speed follows.
    begun: Option<(Step, Instant)>,
}

impl Facts {
    pub(super) fn on_progress(&mut self, progress: &Progress) {
        self.loss = progress.loss.or(self.loss);
        self.samples_per_second = progress.samples_per_second.or(self.samples_per_second);
        self.eval.extend(progress.eval.clone());
        self.begun.get_or_insert((progress.step, Instant::now()));
        self.last = Some(progress.clone());
    }

    pub(super) fn on_event(&mut self, event: &Event) {
        match event.kind {
            EventKind::Checkpoint => self.checkpoint = event.step.map(|step| (step, Instant::now())),
            // The time without it is none of the training's.
            EventKind::Formed => self.begun = None,
            _ => {}
        }
    }

    /// Steps done, and in all.
    pub(crate) fn steps(&self) -> Option<(u64, u64)> {
        self.last.as_ref().map(|p| (p.step.0, p.total_steps.0))
    }

    /// Time left at the mean speed since the first report of this generation.
    pub(super) fn eta(&self) -> Option<Duration> {
        let (last, (first, at)) = (self.last.as_ref()?, self.begun?);
        let seconds = eta_seconds(first, last.step, last.total_steps, at.elapsed().as_secs_f64())?;
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
        facts.on_progress(&Progress { step: Step(step), total_steps: Step(1000), ..Progress::default() });
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
