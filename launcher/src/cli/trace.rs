use super::cancel::word;
use super::live::LiveRun;
use crate::outage::Outage;
use crate::output::say;
use crate::plain::plain_line;
use crate::runs::RunArg;
use crate::trace::{chrome, shifts};
use crate::view::coarse;
use crate::{Context, Exit, Failure, block_on};
use anyhow::Context as _;
use lockstep_run::{MOST_TRACED_STEPS, Membership, Rank, Step, Trace, Wish, ranges};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the run's folder is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often a wait in which nothing happens is told.
const TELL_EVERY: Duration = Duration::from_secs(15);
/// What the ranks of a generation that is over sent last has arrived after this.
const LAST_ARRIVALS: Duration = Duration::from_secs(3);

/// Record what each rank does in the next steps of a live run
///
/// The file holds one track for each rank, with the parts of each step: data, forward, backward, communication, optimizer and
/// the rest, besides evaluations and copies for checkpoints. Open it at ui.perfetto.dev. All ranks begin at the same
/// step, the one after the next report (`log.every`), and training waits for nothing.
///
/// This machine must be able to read and write the run's storage.
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:  lockstep trace digits --steps 3")]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArg,

    /// How many steps to record, at most 100
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_TRACED_STEPS)))]
    steps: u32,

    /// Where to write it, instead of RUN-trace-N.json
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,

    /// How long to wait for the ranks, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait: u64,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    if let Some(folder) = args.to.as_ref().and_then(|file| file.parent())
        && !folder.as_os_str().is_empty()
        && !folder.is_dir()
    {
        return Err(Failure::usage(format!("there is no folder {}", folder.display())).into());
    }
    block_on(async {
        let target = Target::find(args).await?;
        let LiveRun { name, dir, generation, job, .. } = &target.run;
        let wish = Wish::Trace { steps: args.steps };
        let number = target.run.ask(*generation, wish, "a trace").await?;
        say!(
            "asked {} of run {name} for {}; they begin after the next report, of which there is one every {}",
            count(target.ranks.len(), "rank"),
            count(args.steps as usize, "step"),
            job.log.every
        );
        let (there, over) = target.wait(number, Duration::from_secs(args.wait)).await?;
        let mut traces = Vec::new();
        for rank in &there {
            traces.push(dir.trace(number, *rank).await?);
        }
        let file = args.to.clone().unwrap_or_else(|| format!("{name}-trace-{number}.json").into());
        let written = if traces.is_empty() { None } else { Some(Written::write(name, &traces, file)?) };
        let written = match written {
            Some(written) if there == target.ranks => written,
            part => return Err(target.incomplete(args, &there, part, over).into()),
        };
        let Written { file, steps, .. } = &written;
        let json = json!({ "run": name, "request": number, "file": file, "steps": steps, "ranks": there });
        context.output.result(&json, || {
            format!("{}\n  open it at https://ui.perfetto.dev", written.text(there.len()))
        })?;
        Ok(Exit::Done)
    })
}

/// A run, and its ranks.
struct Target {
    run: LiveRun,
    ranks: BTreeSet<Rank>,
}

impl Target {
    async fn find(args: &Args) -> anyhow::Result<Self> {
        let instead = ("whose steps nobody here knows", "torch.profiler, in the program itself");
        let run = LiveRun::find(&args.run, instead).await?;
        let ranks = run.members.iter().flat_map(|member| member.ranks.iter().copied()).collect();
        Ok(Self { run, ranks })
    }

    /// Waits until all ranks' traces are there, or until no more will come: then with the reason, unless patience ended.
    async fn wait(
        &self,
        number: u64,
        mut patience: Duration,
    ) -> anyhow::Result<(BTreeSet<Rank>, Option<String>)> {
        let Self { run: LiveRun { dir, generation, .. }, ranks } = self;
        let (since, mut outage) = (Instant::now(), Outage::default());
        let (mut there, mut over) = (BTreeSet::new(), None);
        let mut told = since;
        loop {
            let look =
                async { anyhow::Ok((dir.newest_since(*generation).await?, dir.traced(number).await?)) };
            if let Some((newer, traced)) = outage.pass(look.await, |text| say!("{text}"))? {
                let before = there.len();
                there = traced.into_iter().filter(|rank| ranks.contains(rank)).collect();
                if there == *ranks {
                    return Ok((there, None));
                }
                if let (Some(newer), None) = (&newer, &over) {
                    over = Some(ended(newer));
                    patience = patience.min(since.elapsed() + LAST_ARRIVALS);
                }
                if there.len() > before || told.elapsed() > TELL_EVERY {
                    told = Instant::now();
                    say!(
                        "{} of {} sent their traces, {} after the request",
                        there.len(),
                        count(ranks.len(), "rank"),
                        coarse(since.elapsed())
                    );
                }
            }
            if since.elapsed() >= patience {
                return Ok((there, over));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What to say where some ranks' traces are missing.
    fn incomplete(
        &self,
        args: &Args,
        there: &BTreeSet<Rank>,
        written: Option<Written>,
        over: Option<String>,
    ) -> Failure {
        let missing: Vec<_> = self.ranks.difference(there).map(|rank| rank.0).collect();
        let why = over.map_or_else(|| format!(" within {} s", args.wait), |over| format!(": {over}"));
        let what = format!("{} of run {} sent no trace{why}", count(missing.len(), "rank"), self.run.name);
        let failure = Failure::new(what).note("missing", ranges(missing));
        let failure = match written {
            Some(written) => failure.note("written", written.text(there.len())),
            None => failure,
        };
        let fix =
            format!("try again; with --wait if a report takes long (one every {})", self.run.job.log.every);
        failure.note("fix", fix).note("look at", args.run.command("status"))
    }
}

fn ended(newer: &Membership) -> String {
    match newer.outcome() {
        Some(outcome) => format!("it {}", word(outcome)),
        None => format!("generation {} began meanwhile", newer.generation),
    }
}

/// A file with traces.
struct Written {
    file: PathBuf,
    steps: BTreeSet<Step>,
    /// Hosts whose clocks could not be aligned.
    apart: Vec<String>,
}

impl Written {
    fn write(name: &str, traces: &[Trace], file: PathBuf) -> anyhow::Result<Self> {
        let shifts = shifts(traces);
        let text = serde_json::to_vec(&chrome(name, traces, &shifts))?;
        write_whole(&file, &text).with_context(|| format!("can't write {}", file.display()))?;
        let steps =
            traces.iter().flat_map(|trace| trace.recorded.steps.iter().map(|step| step.step)).collect();
        let apart = shifts.into_iter().filter(|(_, shift)| shift.is_none()).map(|(host, _)| host).collect();
        Ok(Self { file, steps, apart })
    }

    fn text(&self, num_ranks: usize) -> String {
        let steps = match (self.steps.first(), self.steps.last()) {
            (Some(first), Some(last)) if first < last => format!("steps {first} to {last}"),
            (Some(only), _) => format!("step {only}"),
            _ => "no step".to_owned(),
        };
        let text = format!("{}  {steps} of {}", self.file.display(), count(num_ranks, "rank"));
        match self.apart.is_empty() {
            true => text,
            false => {
                format!("{text}; the clocks of {} could not be aligned", plain_line(&self.apart.join(", ")))
            }
        }
    }
}

/// Nobody finds half a file, wherever this process ends.
fn write_whole(file: &Path, text: &[u8]) -> std::io::Result<()> {
    let part = file.with_added_extension("part");
    std::fs::write(&part, text)?;
    std::fs::rename(&part, file)
}

fn count(num: usize, what: &str) -> String {
    if num == 1 { format!("1 {what}") } else { format!("{num} {what}s") }
}
