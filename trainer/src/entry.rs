//! From `main` to the training thread and back to an exit code.

use crate::control::Control;
use crate::link::Link;
use crate::models;
use crate::rank::Found;
use crate::task::Task;
use crate::worker::{Orders, Worker};
use crate::{Error, Result, data, env, log, sample};
use lockstep_c10d::LIBTORCH_VERSION;
use lockstep_job::{AgentExit, JobSpec, Model, Recovery};
use lockstep_run::link::{Failure, WorkerOutcome};
use lockstep_run::process::say;
use lockstep_run::sample::SAMPLE;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

/// The `main` of a worker with a task of its own, for jobs with `worker:` and `model: {kind: custom}`.
///
/// Started by an agent it trains and returns the process's exit code, an [`AgentExit`]. The agent has been told the reason by
/// then.
pub fn main(task: impl Task) -> ExitCode {
    start(|model| match model {
        Model::Custom(custom) => Ok((Box::new(task), custom.config.clone())),
        other => built_in(other),
    })
}

/// The `main` of `lockstep-worker`, which knows the built-in models.
pub fn built_in_main() -> ExitCode {
    start(built_in)
}

fn built_in(model: &Model) -> Result<(Box<dyn Task>, serde_json::Value)> {
    let task = models::task(model).ok_or_else(|| Error::Job {
        reason: "this worker only has the built-in models; name the binary that has the task in `worker`"
            .to_owned(),
    })?;
    Ok((task, serde_json::Value::Null))
}

type Choice = Result<(Box<dyn Task>, serde_json::Value)>;

fn start(choose: impl FnOnce(&Model) -> Choice) -> ExitCode {
    if let Some(code) = answer_arguments() {
        return code;
    }
    lockstep_c10d::release_startup_code();
    let panics = Panics::keep();
    let (link, start) = match env::link()
        .ok_or(Error::NotStartedByAgent)
        .and_then(|s| Link::connect(&s, env::local_rank()))
    {
        Ok(connected) => connected,
        Err(e) => {
            say(&format!("error: {e}"));
            return AgentExit::Again.into();
        }
    };
    let job = parse(&start.job);
    let heartbeat = job.as_ref().map_or_else(|_| Recovery::default().heartbeat, |job| job.recovery.heartbeat);
    let control = Arc::<Control>::default();
    let served = match link.serve(heartbeat.duration(), Arc::clone(&control)) {
        Ok(served) => served,
        Err(e) => {
            say(&format!("error: {e}"));
            return AgentExit::Again.into();
        }
    };
    let mut logged = None;
    let train = || {
        let job = job?;
        logged = Some(log::start(&job, &start));
        // Before anything else of libtorch's.
        let found = Found::look(&job, &start)?;
        tch::set_num_threads(job.train.threads as i32);
        let model = job.model.as_ref().ok_or_else(|| Error::Job { reason: "it has no model".to_owned() })?;
        let (task, config) = choose(model)?;
        let mut worker = Worker::new(task.as_ref(), &config, job.clone(), found);
        let mut order = (start, control);
        loop {
            let (start, control) = order;
            let data = data::open(&job, &start, task.columns())?;
            let (outbox, store) = (served.outbox(), Arc::new(served.store()));
            let orders = Orders { start, control: Arc::clone(&control), outbox, store };
            let left = match worker.serve(data.as_ref(), orders) {
                Err(e) if e.ends_generation_only() => WorkerOutcome::Failed(e.failure()),
                Ok(stopped @ WorkerOutcome::Stopped { .. }) if control.outlives_stop() => stopped,
                outcome => return outcome,
            };
            order = served.next(left, &control)?;
        }
    };
    // Unwind safe: nothing that the training thread worked on is used again, but for the link, which is whole.
    let outcome = catch_unwind(AssertUnwindSafe(train)).unwrap_or_else(|_| Err(panics.last()));
    let outcome = outcome.unwrap_or_else(|e| WorkerOutcome::Failed(e.failure()));
    if let WorkerOutcome::Failed(failure) = &outcome {
        tracing::error!("{}", failure.message);
    }
    drop(logged);
    let code = exit_code(&outcome);
    served.finish(outcome);
    code
}

fn parse(job: &str) -> Result<JobSpec> {
    let bad = |e: &dyn std::fmt::Display| Error::Job { reason: e.to_string() };
    let value: serde_json::Value = serde_json::from_str(job).map_err(|e| bad(&e))?;
    JobSpec::from_json(value).map_err(|e| bad(&e))
}

fn answer_arguments() -> Option<ExitCode> {
    let argument = std::env::args().nth(1)?;
    let version = env!("CARGO_PKG_VERSION");
    let answer = match argument.as_str() {
        "--version" | "-V" => format!("lockstep-worker {version} (libtorch {})", LIBTORCH_VERSION),
        "--help" | "-h" => format!(
            "lockstep-worker {version}: trains one rank. Started by an agent, which names its socket in {}; to train, run \
             `lockstep launch -f JOB --local`.",
            lockstep_run::link::ENV
        ),
        SAMPLE => return Some(sampled()),
        other => {
            say(&format!("error: unexpected argument `{other}`; try --help"));
            return Some(AgentExit::Usage.into());
        }
    };
    // Whoever asked and went away needs no answer.
    let _ = writeln!(std::io::stdout(), "{answer}");
    Some(AgentExit::Done.into())
}

fn sampled() -> ExitCode {
    match sample::answer() {
        Ok(()) => AgentExit::Done.into(),
        Err(error) => {
            say(&format!("error: {error}"));
            AgentExit::RunOver.into()
        }
    }
}

fn exit_code(outcome: &WorkerOutcome) -> ExitCode {
    match outcome {
        WorkerOutcome::Done { .. } => AgentExit::Done,
        WorkerOutcome::Stopped { .. } => AgentExit::Stopped,
        WorkerOutcome::Failed(Failure { kind, .. }) if kind.is_fatal() => AgentExit::RunOver,
        WorkerOutcome::Failed(_) => AgentExit::Again,
    }
    .into()
}

/// What panics said, so that the agent can be told.
#[derive(Clone, Default)]
struct Panics(Arc<Mutex<String>>);

impl Panics {
    /// Keeps the text of every panic beside what the default hook prints.
    fn keep() -> Self {
        let panics = Self::default();
        let (kept, before) = (panics.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            *kept.0.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string().replace('\n', " ");
            before(info);
        }));
        panics
    }

    fn last(&self) -> Error {
        Error::Panic { message: self.0.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }
}
