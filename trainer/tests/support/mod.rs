//! Real ranks as threads of the test: a Gloo group over loopback, a store and an object store in memory.
#![allow(dead_code, unreachable_pub)] // Each test binary uses a part of it.

pub mod agent;
pub mod blobs;
mod run;
pub mod twin;

pub use run::Run;

use blobs::Blobs;
use lockstep_c10d::MemoryStore;
use lockstep_job::JobSpec;
use lockstep_run::link::{WorkerMsg, WorkerOutcome};
use lockstep_run::{Report, Step};
use lockstep_trainer::{Control, Error, Found, Orders, Outbox, Task, Worker};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One generation whose ranks are threads.
pub struct World {
    pub run: Run,
    pub task: Arc<dyn Task>,
    pub data: Blobs,
}

impl Deref for World {
    type Target = Run;
    fn deref(&self) -> &Run {
        &self.run
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Run {
        &mut self.run
    }
}

/// What came of it.
pub struct Outcome {
    pub ranks: Vec<Result<WorkerOutcome, Error>>,
    /// Messages of each rank.
    pub messages: Vec<Vec<WorkerMsg>>,
}

/// A job for an mlp over [`Blobs`]; `changes` are merged into it.
pub fn job(changes: Value) -> JobSpec {
    let base = json!({
        "name": "test",
        "model": {"kind": "mlp", "hidden": [16]},
        "data": {"train": {"uri": "memory"}},
        "train": {"steps": 10, "globalBatch": 16},
        "optimizer": {"kind": "adamw", "lr": 1e-2},
        "log": {"every": "1 steps"},
    });
    job_from(base, changes)
}

/// A job from JSON with changes merged into it. Machines that run tests are busy, so ranks wait longer for each other.
pub fn job_from(mut job: Value, changes: Value) -> JobSpec {
    merge(&mut job, json!({"recovery": {"form": "60s", "collective": "60s"}}));
    merge(&mut job, changes);
    JobSpec::from_json(job).unwrap()
}

/// RFC 7396: `null` removes.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match value {
                    Value::Null => drop(into.remove(&key)),
                    value => merge(into.entry(key).or_insert(Value::Null), value),
                }
            }
        }
        (into, from) => *into = from,
    }
}

/// A run's folder in memory that no other test has.
pub fn fresh_run_dir() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("memory://trainer-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Held by whoever draws from the process's one generator: worlds that train, and models that are built.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(job: JobSpec) -> Self {
        Self { task: task_of(&job), run: Run::new(job, fresh_run_dir()), data: Blobs::default() }
    }

    /// The same run in its next generation, from a checkpoint.
    pub fn resume(&self, step: u64) -> Self {
        Self { run: self.run.resume(step), task: Arc::clone(&self.task), data: self.data.clone() }
    }

    /// Trains; `control` sees each rank's control before it starts.
    pub fn train_with(&self, control: impl Fn(u32, &Arc<Control>)) -> Outcome {
        let _alone = alone();
        tch::set_num_threads(1);
        let store = Arc::new(MemoryStore::new());
        let mut threads = Vec::new();
        for start in self.starts() {
            let rank = start.rank.0;
            let (outbox, mut inbox) = Outbox::new();
            let orders = Orders { start, control: Arc::default(), outbox, store: store.clone() };
            control(rank, &orders.control);
            let job = self.job.clone();
            let (task, data) = (Arc::clone(&self.task), self.data.rank(rank, &self.job));
            let run = move || {
                let outcome =
                    Worker::new(task.as_ref(), &Value::Null, job, Found::default()).serve(&data, orders);
                let mut messages = Vec::new();
                while let Ok(message) = inbox.try_recv() {
                    messages.push(message);
                }
                (outcome, messages)
            };
            threads.push(std::thread::Builder::new().name(format!("rank {rank}")).spawn(run).unwrap());
        }
        let (ranks, messages) = threads.into_iter().map(|t| t.join().unwrap()).unzip();
        Outcome { ranks, messages }
    }

    pub fn train(&self) -> Outcome {
        self.train_with(|_, _| ())
    }
}

/// The built-in task that a job names.
pub fn task_of(job: &JobSpec) -> Arc<dyn Task> {
    match job.model.as_ref().unwrap() {
        lockstep_job::Model::Gpt(gpt) => Arc::new(gpt.clone()),
        lockstep_job::Model::Mlp(mlp) => Arc::new(mlp.clone()),
        lockstep_job::Model::Resnet(resnet) => Arc::new(resnet.clone()),
        other => panic!("{other:?} is not built in"),
    }
}

impl Outcome {
    /// Asserts that every rank did all steps.
    pub fn done(self, step: u64) -> Self {
        for (rank, outcome) in self.ranks.iter().enumerate() {
            match outcome {
                Ok(WorkerOutcome::Done { step: Step(done) }) if *done == step => {}
                other => panic!("rank {rank}: {other:?}"),
            }
        }
        self
    }

    /// Rank 0's reports.
    pub fn reports(&self) -> Vec<&Report> {
        fn report(message: &WorkerMsg) -> Option<&Report> {
            if let WorkerMsg::Report(report) = message { Some(report) } else { None }
        }
        self.messages[0].iter().filter_map(report).collect()
    }

    /// Rank 0's losses.
    pub fn losses(&self) -> Vec<f64> {
        self.reports().iter().filter_map(|p| p.loss).collect()
    }

    /// The newest evaluation.
    pub fn eval(&self) -> BTreeMap<String, f64> {
        self.reports().iter().rev().find(|p| !p.eval.is_empty()).unwrap().eval.clone()
    }

    /// The error of each rank.
    pub fn errors(&self) -> Vec<&Error> {
        self.ranks.iter().map(|r| r.as_ref().unwrap_err()).collect()
    }
}
