use super::{View, phase_name};
use crate::outage::Outage;
use crate::plain::plain_line;
use crate::runs;
use crate::signals::{Signals, StopSignal};
use lockstep_run::RunDir;
use lockstep_run::status::{RunPhase, RunStatus};
use std::time::Duration;

/// How often the run is asked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Why following a run ended.
#[derive(Debug)]
pub(crate) enum Followed {
    /// The run ended, or nobody runs it any more.
    Ended(Box<RunStatus>),
    /// A signal told this process to stop; the run goes on.
    Detached(StopSignal),
    /// Its launcher is gone and had not begun a run.
    Abandoned,
}

impl View {
    /// Shows a run that others launched until it ends, or until a signal that stops this process.
    /// `launcher_lives` says whether somebody may yet begin it.
    ///
    /// # Errors
    /// Where the run's folder can't be read, and time doesn't mend that.
    pub(crate) async fn follow(
        &self,
        dir: &RunDir,
        deadline: Duration,
        launcher_lives: impl AsyncFn() -> bool,
        signals: &mut Signals,
    ) -> anyhow::Result<Followed> {
        let (mut last, mut outage) = (None, Outage::default());
        loop {
            // Asked first: a launcher that ends in between has left its last word.
            let lives = launcher_lives().await;
            let status = tokio::select! {
                status = runs::status(dir, deadline) => {
                    outage.pass(status.map_err(Into::into), |text| self.event(format!("  {text}")))?
                }
                signal = signals.next() => return Ok(Followed::Detached(signal)),
            };
            match status {
                Some(Some(status)) => {
                    let line = line(&status);
                    if last.as_ref() != Some(&line) {
                        self.event(line.clone());
                        last = Some(line);
                    }
                    if !matches!(
                        status.phase,
                        RunPhase::Waiting | RunPhase::Starting | RunPhase::Running | RunPhase::Unknown
                    ) {
                        return Ok(Followed::Ended(Box::new(status)));
                    }
                }
                Some(None) if !lives => return Ok(Followed::Abandoned),
                // Nothing is there yet, or the store doesn't answer.
                Some(None) | None => {}
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                signal = signals.next() => return Ok(Followed::Detached(signal)),
            }
        }
    }
}

fn line(status: &RunStatus) -> String {
    let total = status.total_steps.map_or(String::new(), |t| format!("/{t}"));
    let mut words = vec![format!("  {}  step {}{total}", phase_name(status.phase), status.step)];
    words.extend(status.loss.map(|loss| format!("loss {loss:.4}")));
    words.extend(status.eval.iter().map(|(name, value)| format!("eval.{name} {value:.3}")));
    plain_line(&words.join("  ")).into_owned()
}
