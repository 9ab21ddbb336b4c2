use super::live::LiveRun;
use crate::chaos::{Choice, Fault, Percentiles, Plan, Stage, stage};
use crate::outage::Outage;
use crate::output::say;
use crate::runs::RunArg;
use crate::view::coarse;
use crate::{Context, Exit, Failure, block_on};
use lockstep_job::Span;
use lockstep_run::status::{RunPhase, RunStatus};
use lockstep_run::{Blow, Membership, RunDir, Strike, Wish};
use serde_json::json;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

/// How often the run's folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// No fault comes, and is over, sooner than this.
const LEAST_WAIT: Duration = Duration::from_secs(15);
/// What agents have told is in the run's folder after this.
const LAST_EVENTS: Duration = Duration::from_secs(5);
/// How long the leader of a run may take to say what it does.
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);

/// Kill processes of a live run again and again, and tell what came of it
///
/// Faults happen to the real processes: a worker gets SIGKILL, or SIGSTOP with `--stop`, and an agent leaves with code 137 and takes its
/// workers with it. The run recovers as from any other fault. Its leader looks for requests every 5 s. The verdict says how soon
/// faults were noticed, how soon training went on, and what they cost. Ctrl-C ends it early, with a verdict; the run goes on.
///
/// This machine must be able to read and write the run's storage.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For example:  lockstep chaos digits --kill worker --kill agent:1 --every 60s --for 1h --seed 7"
)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArg,

    /// What may be killed: worker, worker:RANK, agent or agent:NODE; any worker unless told otherwise
    #[arg(long, value_name = "PROCESS")]
    kill: Vec<Choice>,

    /// What may be stopped, as by SIGSTOP: worker or worker:RANK
    #[arg(long, value_name = "PROCESS")]
    stop: Vec<Choice>,

    /// Time from one fault to the next; the next one waits until training goes on
    #[arg(long, value_name = "TIME", default_value = "60s")]
    every: Span,

    /// No fault is asked for after this time
    #[arg(long = "for", value_name = "TIME", default_value = "10m")]
    span: Span,

    /// Decides which faults come; the same seed makes the same ones
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Wait for the run's end, and compare its parameters with those of this run, a folder or URI
    #[arg(long, value_name = "RUN_DIR")]
    against: Option<String>,

    /// How long training may take to go on after a fault
    #[arg(long, value_name = "TIME", default_value = "10m")]
    wait: Span,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    block_on(async {
        let instead = ("which takes no requests", "kill its processes");
        let run = LiveRun::find(&args.run, instead).await?;
        let other = args.against.as_deref().map(RunDir::open).transpose()?;
        if let Some(other) = &other
            && other.run().await?.is_none()
        {
            return Err(Failure::usage(format!("there is no run in {}", other.uri("")))
                .note("fix", "name the folder or URI of the run to compare with")
                .into());
        }
        if args.wait.duration() < LEAST_WAIT {
            let why = format!("--wait {} is too short: the leader looks for requests every 5 s", args.wait);
            return Err(Failure::usage(why).note("least", LEAST_WAIT.as_secs().to_string() + "s").into());
        }
        let plan = plan(args, &run);
        plan.check().map_err(Failure::usage)?;
        let mut campaign = Campaign { args, run, plan, faults: vec![], outage: Outage::default() };
        let mut interrupt = signal(SignalKind::interrupt())?;
        let end = campaign.run(&mut interrupt).await?;
        let equal = match (&other, end) {
            (Some(other), End::Time | End::RunIsOver) => campaign.compare(other, &mut interrupt).await?,
            _ => None,
        };
        campaign.tell(context, equal).await?;
        Ok(match end {
            End::Interrupted => Exit::Interrupted,
            // Nobody who compares takes silence for a yes.
            _ if other.is_some() && equal != Some(true) => Exit::Failed,
            End::Time | End::RunIsOver => Exit::Done,
        })
    })
}

fn plan(args: &Args, run: &LiveRun) -> Plan {
    let of = |blow| move |choice: &Choice| (blow, *choice);
    let mut choices: Vec<_> =
        args.kill.iter().map(of(Blow::Kill)).chain(args.stop.iter().map(of(Blow::Stop))).collect();
    if choices.is_empty() {
        choices.push((Blow::Kill, Choice::AnyWorker));
    }
    let (ranks, nodes) = (run.job.world_size(), run.members.len() as u32);
    Plan { seed: args.seed, choices, ranks, nodes }
}

/// Why no more faults come.
#[derive(Debug, Clone, Copy)]
enum End {
    Time,
    RunIsOver,
    Interrupted,
}

struct Campaign<'a> {
    args: &'a Args,
    run: LiveRun,
    plan: Plan,
    faults: Vec<Fault>,
    outage: Outage,
}

impl Campaign<'_> {
    /// One fault after the other.
    async fn run(&mut self, interrupt: &mut Signal) -> anyhow::Result<End> {
        let until = Instant::now() + self.args.span.duration();
        let mut next = Instant::now();
        while let Some(strike) = self.plan.strike(self.faults.len() as u64) {
            if next.max(Instant::now()) > until {
                return Ok(End::Time);
            }
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                _ = interrupt.recv() => return Ok(End::Interrupted),
            }
            next = Instant::now() + self.args.every.duration();
            tokio::select! {
                struck = self.strike(strike) => if !struck? {
                    return Ok(End::RunIsOver);
                },
                _ = interrupt.recv() => return Ok(End::Interrupted),
            }
        }
        Ok(End::Time)
    }

    /// Asks for a fault, and waits until training goes on; false where the run ended before it happened.
    async fn strike(&mut self, strike: Strike) -> anyhow::Result<bool> {
        let deadline = Instant::now() + self.args.wait.duration();
        let (mut asked, mut over, mut missed) = (None, None, None);
        while Instant::now() < deadline {
            let look =
                async { anyhow::Ok((self.run.dir.newest_membership().await?, self.run.dir.events().await?)) };
            let Some((newest, events)) = self.outage.pass(look.await, |text| say!("{text}"))? else {
                sleep(LOOK_EVERY).await;
                continue;
            };
            let stage = asked.map_or(Stage::Missed, |generation| stage(strike, generation, &events));
            // Nodes write what they tell at times of their own.
            missed =
                missed.filter(|_| stage == Stage::Missed).or((stage == Stage::Missed).then(Instant::now));
            let is_missed = asked.is_none() || missed.is_some_and(|since| since.elapsed() > LAST_EVENTS);
            let is_over = newest.as_ref().is_none_or(|newest| newest.outcome().is_some());
            over = over.or(is_over.then(Instant::now));
            match (stage, newest) {
                (Stage::Over(fault), _) => {
                    say!("{}", told(&fault));
                    self.faults.push(fault);
                    return Ok(true);
                }
                _ if over.is_some_and(|since| since.elapsed() > LAST_EVENTS) => return Ok(false),
                (Stage::Missed, Some(Membership { generation, .. })) if is_missed && !is_over => {
                    self.run.ask(generation, Wish::Strike(strike), "a fault").await?;
                    asked = Some(generation);
                }
                _ => {}
            }
            sleep(LOOK_EVERY).await;
        }
        let what = match asked {
            Some(generation) => {
                format!("{strike} in generation {generation} was asked for, and training has not gone on")
            }
            None => "the run's records can't be read".to_owned(),
        };
        Err(Failure::new(format!("{what} within {}", self.args.wait))
            .note("look at", self.args.run.command("events"))
            .note("look at", self.args.run.command("status"))
            .into())
    }

    /// Whether the run ends with the bytes of another; none where it doesn't come to its last step, or the other has none.
    async fn compare(&mut self, other: &RunDir, interrupt: &mut Signal) -> anyhow::Result<Option<bool>> {
        say!("waits for the end of run {}", self.run.name);
        loop {
            let status = self.run.dir.status(ANSWER_DEADLINE).await.map_err(Into::into);
            let phase = self.outage.pass(status, |text| say!("{text}"))?.flatten().map(|status| status.phase);
            match phase {
                Some(RunPhase::Done) => break,
                Some(RunPhase::Failed | RunPhase::Stopped | RunPhase::Interrupted) => return Ok(None),
                _ => {}
            }
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                _ = interrupt.recv() => return Ok(None),
            }
        }
        let (ours, theirs) = (parameters(&self.run.dir).await?, parameters(other).await?);
        Ok(ours.zip(theirs).map(|(ours, theirs)| ours == theirs))
    }

    async fn tell(&self, context: &Context, equal: Option<bool>) -> anyhow::Result<()> {
        let status = self.run.dir.status(ANSWER_DEADLINE).await?;
        let noticed = Percentiles::of(self.faults.iter().map(|fault| fault.noticed_seconds));
        let next_step = Percentiles::of(self.faults.iter().map(|fault| fault.next_step_seconds));
        let (goodput, repeated) = status.as_ref().map_or((None, None), |s| (s.goodput, s.repeated_steps));
        let json = json!({
            "run": self.run.name, "seed": self.args.seed, "faults": self.faults, "noticed_seconds": noticed,
            "next_step_seconds": next_step, "goodput": goodput, "repeated_steps": repeated, "equal_bytes": equal,
        });
        context.output.result(&json, || self.verdict(noticed, next_step, status.as_ref(), equal))?;
        Ok(())
    }

    fn verdict(
        &self,
        noticed: Option<Percentiles>,
        next_step: Option<Percentiles>,
        status: Option<&RunStatus>,
        equal: Option<bool>,
    ) -> String {
        let mut lines = vec![match self.faults.len() {
            1 => "1 fault".to_owned(),
            num => format!("{num} faults"),
        }];
        let times = |what: &str, times: Option<Percentiles>| {
            times.map(|Percentiles { p50, p99 }| format!("  {what}  p50 {p50:.2} s   p99 {p99:.2} s"))
        };
        lines.extend(times("noticed after  ", noticed));
        lines.extend(times("next step after", next_step));
        if let Some(status) = status {
            let goodput = status.goodput.map(|share| format!("goodput {:.1} %", share * 100.0));
            let repeated = status.repeated_steps.map(|steps| format!("repeated steps {steps}"));
            let whole: Vec<_> = goodput.into_iter().chain(repeated).collect();
            lines.extend((!whole.is_empty()).then(|| format!("  the whole run    {}", whole.join("   "))));
        }
        if let Some(against) = &self.args.against {
            lines.push(match equal {
                Some(true) => format!("  its parameters have the same bytes as those of {against}"),
                Some(false) => format!("  its parameters differ from those of {against}"),
                None => format!(
                    "  its parameters were not compared with those of {against}: not both runs are done"
                ),
            });
        }
        lines.join("\n")
    }
}

fn told(fault: &Fault) -> String {
    let Fault { fault, noticed_seconds, next_step_seconds, step, .. } = fault;
    let step = step.map(|step| format!("step {step}")).unwrap_or_default();
    let noticed = coarse_seconds(*noticed_seconds);
    format!("{fault}: noticed after {noticed}, {step} done after {}", coarse_seconds(*next_step_seconds))
}

fn coarse_seconds(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.2} s") } else { coarse(Duration::from_secs_f64(seconds)) }
}

/// Hash of the parameters with which a run ended; none where it didn't.
async fn parameters(dir: &RunDir) -> anyhow::Result<Option<String>> {
    let Some(newest) = dir.newest_membership().await? else { return Ok(None) };
    if newest.outcome() != Some(&lockstep_run::Outcome::Done) {
        return Ok(None);
    }
    let lineage = dir.lineage_until(newest.generation, |_| true).await?;
    let Some(last) = lineage.first() else { return Ok(None) };
    let commit = dir.read_commit(*last).await?;
    Ok(commit.files.get("model.safetensors").map(|file| file.blake3.clone()))
}
