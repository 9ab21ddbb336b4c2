use super::{View, phase_name};
use lockstep_run::RunDir;
use lockstep_run::status::{RunPhase, RunStatus};
use std::time::Duration;

/// How often the run is asked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl View {
    /// Shows a run that others launched until it ends; `None` where the user pressed Ctrl-C before that.
    ///
    /// # Errors
    /// Where the run's folder can't be read.
    pub(crate) async fn follow(&self, dir: &RunDir, deadline: Duration) -> anyhow::Result<Option<RunStatus>> {
        let mut last = None;
        loop {
            let status = dir.status(deadline).await?;
            if let Some(status) = status {
                let line = line(&status);
                if last.as_ref() != Some(&line) {
                    self.print(&line);
                    last = Some(line);
                }
                if !matches!(status.phase, RunPhase::Waiting | RunPhase::Starting | RunPhase::Running) {
                    return Ok(Some(status));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                pressed = tokio::signal::ctrl_c() => return pressed.map(|()| None).map_err(Into::into),
            }
        }
    }
}

fn line(status: &RunStatus) -> String {
    let total = status.total_steps.map_or(String::new(), |t| format!("/{t}"));
    let mut words = vec![format!("  {}  step {}{total}", phase_name(status.phase), status.step)];
    words.extend(status.loss.map(|loss| format!("loss {loss:.4}")));
    words.extend(status.eval.iter().map(|(name, value)| format!("eval.{name} {value:.3}")));
    words.join("  ")
}
