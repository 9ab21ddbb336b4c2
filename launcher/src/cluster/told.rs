//! What a run's agents told, line by line: enough for its status.

use super::pod_logs::LogLine;
use jiff::Timestamp;
use k8s_openapi::jiff::Timestamp as LineTime;
use lockstep_run::link::Phase;
use lockstep_run::segment::{Event, EventKind};
use lockstep_run::status::CheckpointStatus;
use lockstep_run::{Account, Generation, GpuOfNode, Line, Progress, Saved, Step, eta_seconds};

/// The newest of everything that agents told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) phase: Phase,
    progress: Progress,
    pub(super) generation: Generation,
    pub(super) restarts: u32,
    first_step: Option<Step>,
    pub(super) first_step_seconds: Option<f64>,
    pub(super) last: Option<Event>,
    pub(super) waiting: Option<String>,
    checkpoint: Option<Saved>,
    pub(super) gpus: Vec<GpuOfNode>,
    pub(super) gpu_seconds: Option<f64>,
    pub(super) account: Option<Account>,
    pub(super) survivors: Option<u32>,
    /// The first report of this generation, from which the speed follows, and the newest one.
    begun: Option<(Generation, Step, LineTime)>,
    newest: Option<(Step, LineTime)>,
}

impl Told {
    /// Takes in one line.
    pub(super) fn take(&mut self, line: &LogLine) {
        match Line::parse(&line.text) {
            Some(Line::Progress { generation, restarts, checkpoint, report }) => {
                if self.begun.is_none_or(|(begun, ..)| begun != generation) {
                    self.begun = Some((generation, report.step, line.at));
                }
                self.newest = Some((report.step, line.at));
                self.stands(generation, restarts, checkpoint);
                self.progress.merge(report);
            }
            Some(Line::Standing { generation, restarts, phase, checkpoint, progress }) => {
                self.phase = phase;
                self.stands(generation, restarts, checkpoint);
                if let Some(report) = progress {
                    self.progress.merge(report);
                }
            }
            Some(Line::Gpus { gpu_seconds, gpus, .. }) => {
                (self.gpus, self.gpu_seconds) = (gpus, Some(gpu_seconds))
            }
            Some(Line::Account { survivors, account, .. }) => {
                (self.account, self.survivors) = (Some(account), Some(survivors))
            }
            Some(Line::Event(event)) => self.take_event(event),
            Some(Line::Waiting { reason, .. }) => self.waiting = Some(reason),
            Some(Line::Log { .. }) | None => {}
        }
    }

    fn stands(&mut self, generation: Generation, restarts: u32, checkpoint: Option<Saved>) {
        (self.generation, self.restarts, self.waiting) = (generation, restarts, None);
        self.checkpoint = checkpoint.or(self.checkpoint.take());
    }

    fn take_event(&mut self, event: Event) {
        self.generation = self.generation.max(event.generation);
        match event.kind {
            EventKind::FirstStep => (self.first_step, self.first_step_seconds) = (event.step, event.seconds),
            EventKind::Checkpoint => {
                let (uri, at) = (event.uri.clone().unwrap_or_default(), event.at);
                self.checkpoint = event.step.map(|step| Saved { step, uri, at });
            }
            EventKind::Formed | EventKind::Resumed => self.waiting = None,
            EventKind::Lost
            | EventKind::Stopping
            | EventKind::Ended
            | EventKind::Warning
            | EventKind::Gpu => {
                self.last = Some(event);
            }
            EventKind::Joined | EventKind::CheckpointProblem | EventKind::Cluster => {}
        }
    }

    /// How far the run is, as far as was told.
    pub(super) fn progress(&self) -> Progress {
        let mut progress = self.progress.clone();
        if !self.has_report() {
            progress.step = self.first_step.unwrap_or_default();
        }
        progress
    }

    /// Whether a step was told of.
    pub(super) fn has_stepped(&self) -> bool {
        self.has_report() || self.first_step.is_some()
    }

    fn has_report(&self) -> bool {
        self.progress.total_steps.is_some()
    }

    /// Seconds to the last step, at the mean speed of the reports that were heard.
    pub(super) fn eta_seconds(&self) -> Option<f64> {
        let ((_, first, began), (last, at)) = (self.begun?, self.newest?);
        let seconds = at.duration_since(began).as_secs_f64();
        eta_seconds(first, last, self.progress.total_steps?, seconds)
    }

    /// The newest checkpoint.
    pub(super) fn checkpoint(&self) -> Option<CheckpointStatus> {
        let Saved { step, uri, at } = self.checkpoint.clone()?;
        Some(CheckpointStatus { step, uri, age_seconds: Timestamp::now().duration_since(at).as_secs() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_run::{Gpu, NodeId, Report};

    /// Rank 0's report of a step, `at` seconds after the first line.
    fn report(generation: u64, step: u64, at: i64) -> LogLine {
        let report = Report { step: Step(step), total_steps: Step(1000), ..Report::default() };
        let generation = Generation(generation);
        let line = Line::Progress { generation, restarts: 0, checkpoint: None, report };
        LogLine { job: "a".into(), at: LineTime::new(at, 0).unwrap(), node: 0, text: line.to_text() }
    }

    #[test]
    fn the_time_left_follows_from_the_speed_of_this_generation() {
        let mut told = Told::default();
        let mut after = |line: LogLine| {
            told.take(&line);
            told.eta_seconds()
        };
        assert_eq!(after(report(1, 100, 0)), None, "one report tells no speed");
        assert_eq!(after(report(1, 200, 10)), Some(80.0));
        // A fault, and the steps since the last checkpoint once more.
        assert_eq!(after(report(2, 150, 60)), None);
        assert_eq!(after(report(2, 350, 70)), Some(32.5));
    }

    #[test]
    fn the_leaders_last_word_on_gpus_is_known() {
        let gpu = |power| GpuOfNode { node: NodeId(1), gpu: Gpu { power: Some(power), ..Gpu::default() } };
        let mut told = Told::default();
        for (power, gpu_seconds) in [(600, 8.0), (613, 16.0)] {
            let line = Line::Gpus { generation: Generation(1), gpu_seconds, gpus: vec![gpu(power)] };
            told.take(&LogLine { text: line.to_text(), ..report(1, 1, 0) });
        }
        assert_eq!((told.gpus, told.gpu_seconds), (vec![gpu(613)], Some(16.0)));
    }

    #[test]
    fn the_end_of_a_log_tells_all_that_its_beginning_did() {
        let last = Report { step: Step(7), loss: Some(0.5), ..Report::default() };
        let standing = |report: Option<&Report>| Line::Standing {
            generation: Generation(3),
            restarts: 2,
            phase: Phase::Training,
            checkpoint: None,
            progress: report.cloned(),
        };
        let mut told = Told::default();
        for line in [standing(Some(&last)), standing(None)] {
            told.take(&LogLine { text: line.to_text(), ..report(1, 1, 0) });
            let progress = told.progress();
            let stands = (told.generation, told.restarts, told.phase, progress.loss, progress.step);
            assert_eq!(stands, (Generation(3), 2, Phase::Training, Some(0.5), Step(7)));
        }
    }
}
