//! A run under a plan.

use crate::check;
use crate::fault::Fault;
use crate::plan::{Job, Plan};
use lockstep_e2e::{Launched, Workspace, repository};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// What came of a plan whose run kept all promises.
#[derive(Debug)]
pub struct Struck {
    pub seed: u64,
    pub faults: u64,
    pub generations: u64,
    pub repeated_steps: u64,
    pub goodput: f64,
    pub took: Duration,
}

impl fmt::Display for Struck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, faults, generations, repeated_steps, goodput, took } = self;
        write!(
            f,
            "seed {seed}: {faults} faults, {generations} generations, {repeated_steps} steps again, goodput {:.1} %, {:.1} s",
            goodput * 100.0,
            took.as_secs_f64()
        )
    }
}

/// Runs it to its end.
///
/// # Panics
/// Where a promise is broken, or something takes too long.
pub fn run(plan: &Plan) -> Struck {
    let begun = Instant::now();
    let calm = calm(plan.job);
    let ws = Workspace::new();
    let mut run = ws.start(&launch(plan.job));
    for (at, fault) in &plan.faults {
        wait_for_step(&mut run, *at);
        match fault {
            Fault::KillEverything => {
                run.kill_everything();
                run = ws.start(&launch(plan.job));
            }
            fault => {
                let before = recoveries(&run.stderr());
                fault.strike(&run, plan.job.nodes);
                // One at a time: a second one may take what the first one left.
                let told = run.told();
                run.wait_until("training goes on", || (recoveries(&told.text()) > before).then_some(()));
            }
        }
    }
    let marker = run.marker.clone();
    run.finish().expect_code(0);
    marker.expect_none_left();
    let told = check::promises(plan, &ws, &calm);
    Struck {
        seed: plan.seed,
        faults: plan.faults.len() as u64,
        generations: told.generations,
        repeated_steps: told.repeated_steps,
        goodput: told.goodput,
        took: begun.elapsed(),
    }
}

/// The end of a run that nothing happens to, and the loss at each step that it told of.
pub struct Calm {
    pub model: Vec<u8>,
    pub losses: BTreeMap<u64, f64>,
}

/// Each job is run once.
fn calm(job: Job) -> Arc<Calm> {
    static KNOWN: Mutex<BTreeMap<Job, Arc<OnceLock<Arc<Calm>>>>> = Mutex::new(BTreeMap::new());
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).entry(job).or_default().clone();
    let run = || {
        let ws = Workspace::new();
        ws.run(&launch(job)).expect_code(0);
        Arc::new(Calm { model: ws.model("d"), losses: check::losses(&ws) })
    };
    known.get_or_init(run).clone()
}

fn recoveries(told: &str) -> usize {
    told.lines().filter(|line| line.starts_with("  recovered  ")).count()
}

fn launch(job: Job) -> String {
    let digits = repository().join("trainer/examples/digits.yaml");
    format!("launch -f {} --local {} --run-dir d", digits.display(), job.options())
}

fn wait_for_step(run: &mut Launched, step: u64) {
    let of = |line: &str| line.trim_start().strip_prefix("step ")?.split('/').next()?.parse::<u64>().ok();
    let told = run.told();
    run.wait_until(&format!("step {step}"), || {
        told.text().lines().rev().find_map(of).filter(|newest| *newest >= step)
    });
}
