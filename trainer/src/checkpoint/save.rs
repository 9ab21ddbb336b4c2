use super::tensors::{HostTensors, encode};
use super::{EMA, JOB, MODEL, OPTIMIZER, RNG, STATE, State};
use crate::link::Outbox;
use crate::{Error, Result};
use bytes::Bytes;
use lockstep_job::JobSpec;
use lockstep_run::checkpoint::{Draft, expired, hash_file};
use lockstep_run::link::WorkerMsg;
use lockstep_run::{Commit, CommitRef, Evaluation, Generation, Provenance, RunDir, Step, Writer};
use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// The state of the run at a step boundary, copied so that training can go on.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// `model.safetensors`
    pub(crate) model: HostTensors,
    /// `optimizer.safetensors`
    pub(crate) optimizer: HostTensors,
    /// `ema.safetensors`
    pub(crate) ema: Option<HostTensors>,
    /// `rng.safetensors`
    pub(crate) rng: HostTensors,
    /// `state.json`; the hash of the parameters is filled in by the writer.
    pub(crate) state: State,
    /// The newest evaluation.
    pub(crate) evaluation: Option<Evaluation>,
}

/// What a [`Saver`] needs to know about its run.
#[derive(Debug)]
pub(crate) struct SaverSetup {
    /// Where checkpoints go.
    pub(crate) run_dir: RunDir,
    /// Drives the I/O of `run_dir`.
    pub(crate) runtime: Runtime,
    /// Told of what was committed and what went wrong.
    pub(crate) outbox: Outbox,
    /// The resolved job.
    pub(crate) job: JobSpec,
    /// The generation of this process.
    pub(crate) generation: Generation,
    /// This process.
    pub(crate) writer: Writer,
    /// The checkpoint that training started from.
    pub(crate) parent: Option<CommitRef>,
    /// What stays the same of where a checkpoint is from.
    pub(crate) provenance: Provenance,
}

/// Writes checkpoints from a thread of its own, one at a time. Rank 0 has one.
#[derive(Debug)]
pub(crate) struct Saver {
    jobs: mpsc::Sender<Job>,
    results: mpsc::Receiver<lockstep_run::Result<CommitRef>>,
    outbox: Outbox,
    max_failures: u32,
    in_flight: Option<Step>,
    tried: Option<(Step, u32)>,
    committed: Option<Step>,
    failures: u32,
}

#[derive(Debug)]
struct Job {
    snapshot: Snapshot,
    attempt: u32,
    since: Instant,
}

impl Saver {
    /// Starts the thread.
    pub(crate) fn start(setup: SaverSetup) -> Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (outcomes, results) = mpsc::channel();
        let outbox = setup.outbox.clone();
        let max_failures = setup.job.checkpoint.max_failures;
        let committed = setup.parent.map(|parent| parent.step);
        let mut writing = Writing { setup };
        std::thread::Builder::new()
            .name("saver".to_owned())
            .spawn(move || {
                // Ends when the training thread drops its end, or has stopped listening.
                while let Ok(job) = inbox.recv() {
                    if outcomes.send(writing.write(job)).is_err() {
                        break;
                    }
                }
            })
            .map_err(|source| Error::Os { what: "starting the checkpoint thread", source })?;
        Ok(Self { jobs, results, outbox, max_failures, in_flight: None, tried: None, committed, failures: 0 })
    }

    /// Whether a snapshot would be written now. Where the one before still is, this checkpoint is left out and the user
    /// is told.
    pub(crate) fn is_free_for(&mut self, step: Step) -> bool {
        if let Some(busy) = self.in_flight {
            let text = format!("checkpoint {step} was skipped: checkpoint {busy} is still being written");
            self.outbox.send(WorkerMsg::CheckpointProblem { step, text });
        }
        self.in_flight.is_none()
    }

    /// Hands over a snapshot to be written.
    pub(crate) fn write(&mut self, snapshot: Snapshot) {
        let step = snapshot.state.step;
        let attempt = self.tried.filter(|(tried, _)| *tried == step).map_or(0, |(_, attempt)| attempt + 1);
        self.tried = Some((step, attempt));
        self.in_flight = Some(step);
        // Where the thread died, the next look at its results says so.
        let _ = self.jobs.send(Job { snapshot, attempt, since: Instant::now() });
    }

    /// The newest step that is committed.
    pub(crate) fn committed(&self) -> Option<Step> {
        self.committed
    }

    /// Takes in what has finished since, without waiting.
    ///
    /// # Errors
    /// [`Error::Saving`] after `checkpoint.maxFailures` failures in a row; at once where this generation is over.
    pub(crate) fn poll(&mut self) -> Result<()> {
        match self.results.try_recv() {
            Ok(result) => self.settle(result),
            Err(TryRecvError::Empty) => Ok(()),
            Err(TryRecvError::Disconnected) => Err(thread_died()),
        }
    }

    /// Waits for the one in flight, if any.
    pub(crate) fn wait(&mut self, deadline: Duration) -> Result<()> {
        let Some(step) = self.in_flight else { return Ok(()) };
        match self.results.recv_timeout(deadline) {
            Ok(result) => self.settle(result),
            Err(RecvTimeoutError::Timeout) => {
                Err(Error::SavingTooSlow { step, seconds: deadline.as_secs_f64() })
            }
            Err(RecvTimeoutError::Disconnected) => Err(thread_died()),
        }
    }

    fn settle(&mut self, result: lockstep_run::Result<CommitRef>) -> Result<()> {
        let step = self.in_flight.take().unwrap_or_default();
        match result {
            Ok(commit) => {
                self.committed = Some(commit.step);
                self.failures = 0;
                Ok(())
            }
            Err(e @ (lockstep_run::Error::Fenced { .. } | lockstep_run::Error::ForeignCommit { .. })) => {
                Err(e.into())
            }
            Err(e) => {
                self.failures += 1;
                let last = e.to_string();
                if self.failures >= self.max_failures {
                    return Err(Error::Saving { in_a_row: self.failures, last });
                }
                let text =
                    format!("could not be written ({} of {}): {last}", self.failures, self.max_failures);
                self.outbox.send(WorkerMsg::CheckpointProblem { step, text });
                Ok(())
            }
        }
    }
}

fn thread_died() -> Error {
    Error::Panic { message: "the checkpoint thread died".to_owned() }
}

/// The state of the saver's thread.
struct Writing {
    setup: SaverSetup,
}

impl Writing {
    fn write(&mut self, job: Job) -> lockstep_run::Result<CommitRef> {
        let setup = &self.setup;
        let step = job.snapshot.state.step;
        let draft = Draft {
            step,
            generation: setup.generation,
            attempt: job.attempt,
            parent: setup.parent,
            world_size: job.snapshot.state.world_size,
            writer: setup.writer.clone(),
            provenance: Provenance {
                evaluation: job.snapshot.evaluation.clone(),
                ..setup.provenance.clone()
            },
        };
        let files = files(job.snapshot, &setup.job).map_err(|e| lockstep_run::Error::BadCheckpoint {
            step,
            generation: setup.generation,
            problem: e.to_string(),
        })?;
        let commit = setup.runtime.block_on(setup.run_dir.save_checkpoint(draft, files))?;
        let seconds = job.since.elapsed().as_secs_f64();
        setup.outbox.send(WorkerMsg::CheckpointCommitted {
            step,
            uri: setup.run_dir.uri(&commit.folder),
            num_bytes: commit.num_bytes(),
            seconds,
        });
        self.setup.parent = Some(commit.as_ref());
        self.retire(&commit);
        Ok(commit.as_ref())
    }

    /// Deletes what `checkpoint.keepLast` no longer wants, and what never became a checkpoint. A failure is told and left to the next time.
    fn retire(&self, commit: &Commit) {
        let setup = &self.setup;
        let keep = setup.job.checkpoint.keep_last as usize;
        let delete = async {
            for old in expired(&setup.run_dir.lineage(setup.generation).await?, keep) {
                setup.run_dir.delete_checkpoint(*old).await?;
            }
            setup.run_dir.sweep_attempts(commit).await?;
            Ok::<_, lockstep_run::Error>(())
        };
        if let Err(e) = setup.runtime.block_on(delete) {
            let text = format!("older checkpoints could not be deleted: {e}");
            setup.outbox.send(WorkerMsg::CheckpointProblem { step: commit.step, text });
        }
    }
}

fn files(mut snapshot: Snapshot, job: &JobSpec) -> Result<BTreeMap<String, Bytes>> {
    let model = encode(&snapshot.model)?;
    snapshot.state.parameter_hash = hash_file(&model).blake3;
    let unexpected = |e: &dyn std::fmt::Display| Error::Encode { reason: e.to_string() };
    let state = serde_json::to_vec_pretty(&snapshot.state).map_err(|e| unexpected(&e))?;
    let job = serde_saphyr::to_string(job).map_err(|e| unexpected(&e))?;
    let ema = snapshot.ema.as_ref().map(encode).transpose()?;
    let files = [
        (MODEL, model),
        (OPTIMIZER, encode(&snapshot.optimizer)?),
        (RNG, encode(&snapshot.rng)?),
        (STATE, state),
        (JOB, job.into_bytes()),
    ];
    let files = files.into_iter().chain(ema.map(|ema| (EMA, ema)));
    Ok(files.map(|(name, bytes)| (name.to_owned(), Bytes::from(bytes))).collect())
}
