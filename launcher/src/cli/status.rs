use crate::runs::{self, RunArg};
use crate::view::{coarse, phase_name};
use crate::{Context, Exit, block_on, output};
use lockstep_run::RunDir;
use lockstep_run::status::RunStatus;
use std::time::Duration;

/// How long a leader may take to answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// Show what a run does, or all runs in ./runs
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of a run in ./runs, or its folder or URI; without it all runs in ./runs are shown
    #[arg(value_name = "RUN")]
    run: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    block_on(async {
        match &args.run {
            Some(run) => {
                let dir = RunArg { run: run.clone() }.open().await?;
                if let Some(status) = dir.status(DEADLINE).await? {
                    context.output.result(&status, || table(std::slice::from_ref(&status)))?;
                }
            }
            None => {
                let dirs = runs::local().into_iter().map(|path| async move {
                    RunDir::open(&runs::absolute(&path.to_string_lossy())?)?
                        .status(DEADLINE)
                        .await
                        .map_err(anyhow::Error::from)
                });
                let all: Vec<_> = futures::future::try_join_all(dirs).await?.into_iter().flatten().collect();
                context.output.result(&all, || match all.is_empty() {
                    true => {
                        "no runs in ./runs; start one with: lockstep launch -f JOB.yaml --local".to_owned()
                    }
                    false => table(&all),
                })?;
            }
        }
        Ok(Exit::Done)
    })
}

fn table(all: &[RunStatus]) -> String {
    let row = |s: &RunStatus| {
        let dash = || "-".to_owned();
        let total = s.total_steps.map_or(String::new(), |t| format!("/{t}"));
        let eval: Vec<_> = s.eval.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        let age = |seconds: i64| coarse(Duration::from_secs(seconds.max(0) as u64));
        [
            s.name.clone(),
            phase_name(s.phase).to_owned(),
            format!("{}/{}", s.nodes.0, s.nodes.1),
            format!("{}{total}", s.step),
            s.loss.map_or_else(dash, |l| format!("{l:.4}")),
            if eval.is_empty() { dash() } else { eval.join(" ") },
            s.last_checkpoint
                .as_ref()
                .map_or_else(dash, |c| format!("{} ({} ago)", c.step, age(c.age_seconds))),
            s.generation.to_string(),
            s.restarts.to_string(),
            s.why.clone().unwrap_or_default(),
        ]
    };
    let heading = ["RUN", "PHASE", "NODES", "STEP", "LOSS", "EVAL", "CKPT", "GEN", "RESTARTS", "WHY"];
    output::columns(heading, all.iter().map(row))
}
