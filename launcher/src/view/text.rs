//! Facts as words, the same on a terminal and elsewhere.

use super::Facts;
use crate::plain::plain_line;
use lockstep_run::segment::{Event, EventKind};
use lockstep_run::status::RunPhase;
use std::time::Duration;

/// `step 412/750  55%  loss 0.0831  eval.accuracy 0.962  61.2k samples/s  eta 2s  checkpoint 400 (1s ago)`
pub(super) fn progress(facts: &Facts) -> String {
    let Some((step, total)) = facts.steps() else { return String::new() };
    let percent = step * 100 / total.max(1);
    format!("step {step}/{total}  {percent}%  {}", details(facts))
}

/// The same without the steps, which a bar shows.
pub(super) fn details(facts: &Facts) -> String {
    let progress = &facts.progress;
    let mut words = Vec::new();
    words.extend(progress.loss.map(|loss| format!("loss {loss:.4}")));
    words.extend(progress.eval.iter().map(|(name, value)| format!("eval.{} {value:.3}", plain_line(name))));
    words.extend(progress.samples_per_second.map(|s| format!("{} samples/s", thousands(s))));
    words.extend(progress.tokens_per_second.map(|t| format!("{} tokens/s", thousands(t))));
    words.extend(progress.mfu.map(|share| format!("{:.0} % MFU", 100.0 * share)));
    words.extend(facts.eta().map(|eta| format!("eta {}", coarse(eta))));
    words.extend(
        facts.checkpoint.map(|(step, at)| format!("checkpoint {step} ({} ago)", coarse(at.elapsed()))),
    );
    words.join("  ")
}

/// Head and text of an event; none for those that the live line tells better.
pub(super) fn event(event: &Event) -> Option<(&'static str, String)> {
    let head = match event.kind {
        EventKind::Joined | EventKind::Checkpoint | EventKind::Ended => return None,
        EventKind::Formed => "formed",
        EventKind::Resumed => "resumed",
        EventKind::FirstStep => "started",
        EventKind::Struck => "struck",
        EventKind::Lost => "lost",
        EventKind::Recovered => "recovered",
        EventKind::CheckpointProblem => "checkpoint",
        EventKind::Warning | EventKind::Cluster => "warning",
        EventKind::Gpu => "gpu",
        EventKind::Stopping => "stopping",
    };
    let text = match event.kind {
        EventKind::Formed => format!("generation {}: {}", event.generation, event.text),
        _ => event.text.clone(),
    };
    Some((head, text))
}

/// A phase as the status table shows it.
pub(crate) fn phase_name(phase: RunPhase) -> &'static str {
    match phase {
        RunPhase::Waiting => "waiting",
        RunPhase::Starting => "starting",
        RunPhase::Running => "running",
        RunPhase::Interrupted => "interrupted",
        RunPhase::Unknown => "unknown",
        RunPhase::Stopped => "stopped",
        RunPhase::Done => "done",
        RunPhase::Failed => "failed",
    }
}

/// 61234.5 as `61.2k`.
pub(crate) fn thousands(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.1}M", v / 1e6),
        v if v >= 1e3 => format!("{:.1}k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

/// A duration in at most two units: `4s`, `3m12s`, `3h12m`.
pub(crate) fn coarse(duration: Duration) -> String {
    let s = duration.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_run::{Report, Step};

    #[test]
    fn progress_reads_as_designed() {
        let mut facts = Facts::default();
        let report = |step, loss, eval: &[(&str, f64)]| Report {
            step: Step(step),
            total_steps: Step(750),
            loss,
            samples_per_second: Some(61_234.0),
            eval: eval.iter().map(|(k, v)| (k.to_string(), *v)).collect(),
            ..Report::default()
        };
        facts.on_report(report(400, Some(0.08312), &[]));
        facts.on_report(report(412, None, &[("accuracy", 0.9621)]));
        let text = progress(&facts);
        assert!(
            text.starts_with("step 412/750  54%  loss 0.0831  eval.accuracy 0.962  61.2k samples/s  eta 0s"),
            "{text}"
        );
    }

    #[test]
    fn a_model_of_tokens_tells_them_beside_samples() {
        let mut facts = Facts::default();
        let (samples_per_second, tokens_per_second) = (Some(312.0), Some(79_872.0));
        let mfu = Some(0.412);
        facts.on_report(Report { samples_per_second, tokens_per_second, mfu, ..Report::default() });
        assert_eq!(details(&facts), "312 samples/s  79.9k tokens/s  41 % MFU");
    }

    #[test]
    fn durations_are_coarse() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (192, "3m12s"), (11_520, "3h12m"), (90_000, "1d01h")]
        {
            assert_eq!(coarse(Duration::from_secs(seconds)), text);
        }
    }
}
