use crate::task::TaskError;
use lockstep_run::link::{Failure, FailureKind};
use lockstep_run::{Rank, Step};
use tch::TchError;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a worker can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody said where the agent listens.
    #[error(
        "the environment variable {} is not set: a worker is started by an agent; run `lockstep launch -f JOB --local`",
        lockstep_run::link::ENV
    )]
    NotStartedByAgent,

    /// The agent on the other end of the link is gone or speaks nonsense.
    #[error("the link to this node's agent failed while {during}: {reason}")]
    Link {
        /// What was going on.
        during: &'static str,
        /// What happened.
        reason: String,
    },

    /// The resolved job is not one that this version can run.
    #[error("the job can't be run: {reason}")]
    Job {
        /// What is wrong and what to change.
        reason: String,
    },

    /// The job computes on GPUs, and this rank has none.
    #[error(
        "rank {rank} has no GPU to compute on ({}): {missing}",
        if *promised { "kubernetes.gpu asks for one" } else { "device: cuda" }
    )]
    NoGpu {
        /// Which rank.
        rank: Rank,
        /// Whether its node was promised one; then it is the machine that is to blame.
        promised: bool,
        /// What is missing, and where it comes from.
        missing: lockstep_c10d::CudaMissing,
    },

    /// A GPU's memory is full.
    #[error(
        "the GPU of rank {rank} is full: {said} Lower train.microBatch, set train.precision: bf16, or make the model smaller"
    )]
    GpuMemory {
        /// Which rank.
        rank: Rank,
        /// What was asked and what was free, in libtorch's words.
        said: String,
    },

    /// The user's task failed.
    #[error("rank {rank} at step {step}: {source}")]
    Task {
        /// Where.
        rank: Rank,
        /// When.
        step: Step,
        /// What the task says.
        source: TaskError,
    },

    /// A collective failed: some other rank is gone, or did not come in time.
    #[error("rank {rank} lost its peers during {during} of step {step}: {reason}")]
    PeerLost {
        /// This rank.
        rank: Rank,
        /// The step that was being computed.
        step: Step,
        /// Which part of it.
        during: &'static str,
        /// What the process group says.
        reason: String,
    },

    /// The agent says that the generation is over.
    #[error("the generation is over, before step {step}")]
    Revoked {
        /// The step that was not begun.
        step: Step,
    },

    /// Too many steps in a row whose gradient is not finite.
    #[error(
        "step {step}: the gradient was not finite for {in_a_row} steps in a row; {culprits} \
         (train.nonFinite: stop after {in_a_row}); lower optimizer.lr, set train.clipGradNorm, or look at the data"
    )]
    NonFinite {
        /// The last of them.
        step: Step,
        /// How many.
        in_a_row: u32,
        /// Which ranks had a loss that is not finite.
        culprits: String,
    },

    /// Ranks that should hold the same state don't.
    #[error(
        "step {step}: {reason}; either the hardware is faulty, or the task does not do the same on all ranks"
    )]
    Diverged {
        /// When it was noticed.
        step: Step,
        /// Who differs from whom.
        reason: String,
        /// More than half of the ranks hold the same, and this one is one of them.
        is_right: bool,
    },

    /// Ranks that should see the same data don't.
    #[error(
        "rank {rank} sees other data than the other ranks: {what}; give all nodes the same files, and write their hashes into the \
         index with `lockstep data seal`"
    )]
    DataDiffers {
        /// The rank that noticed.
        rank: Rank,
        /// What differs.
        what: String,
    },

    /// Checkpoints can't be written.
    #[error(
        "{in_a_row} checkpoints in a row could not be written (checkpoint.maxFailures); the last: {last}"
    )]
    Saving {
        /// How many.
        in_a_row: u32,
        /// Why the last one failed.
        last: String,
    },

    /// A save did not end within `recovery.checkpointBudget`.
    #[error("checkpoint {step} was not written within {seconds} s (recovery.checkpointBudget)")]
    SavingTooSlow {
        /// Its step.
        step: Step,
        /// The budget.
        seconds: f64,
    },

    /// A verified file of a checkpoint does not fit this job.
    #[error(
        "{file} of the checkpoint does not fit this job: {reason}; resume with the job that wrote it, or start with --fresh"
    )]
    State {
        /// The file.
        file: &'static str,
        /// What is in the way.
        reason: String,
    },

    /// Another run's parameters don't fit this job.
    #[error(
        "warmStart: the parameters of run {run} at step {step} don't fit this job: {reason}; give this job the same `model`, or remove warmStart"
    )]
    WarmStart {
        /// The other run.
        run: String,
        /// The step of its checkpoint.
        step: Step,
        /// What is in the way.
        reason: String,
    },

    /// Published weights don't fit the model.
    #[error("the weights don't fit this model: {}", problems.join("; "))]
    Weights {
        /// All that is missing, that the model doesn't have, or that has another shape.
        problems: Vec<String>,
    },

    /// The published weights that the run is to begin with don't fit the model.
    #[error(
        "warmStart: the weights of {from} don't fit this model: {}; give `model` the kind and the sizes that they were trained with, or name others",
        problems.join("; ")
    )]
    WarmWeights {
        /// Where they are.
        from: String,
        /// As in [`Weights`](Self::Weights).
        problems: Vec<String>,
    },

    /// A tensor can't be written to or read from a file.
    #[error("safetensors: {reason}")]
    Encode {
        /// Why.
        reason: String,
    },

    /// A promise to hold was not followed by a decision.
    #[error("held before step {} for {seconds} s, but no decision came; the leader is gone", step.next())]
    HeldTooLong {
        /// The last step that was done.
        step: Step,
        /// How long (`recovery.grace`).
        seconds: f64,
    },

    /// The training thread panicked.
    #[error(
        "a defect in Lockstep or in the task: {message}; run with RUST_BACKTRACE=1 and look at the log of this rank"
    )]
    Panic {
        /// What it said and where.
        message: String,
    },

    /// An operating system call failed.
    #[error("{what}: {source}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },

    /// The data is missing or bad.
    #[error(transparent)]
    Data(#[from] lockstep_datasets::Error),

    /// The run's folder failed.
    #[error(transparent)]
    Run(#[from] lockstep_run::Error),

    /// libtorch refused something that no user caused.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),

    /// The process group or an optimizer refused something outside a collective.
    #[error(transparent)]
    C10d(#[from] lockstep_c10d::Error),
}

impl Error {
    pub(crate) fn state(file: &'static str, reason: impl ToString) -> Self {
        Self::State { file, reason: reason.to_string() }
    }

    /// Which sort of failure the agent is told.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Job { .. }
            | Self::NoGpu { promised: false, .. }
            | Self::NotStartedByAgent
            | Self::State { .. }
            | Self::WarmStart { .. }
            | Self::Weights { .. }
            | Self::WarmWeights { .. } => FailureKind::Spec,
            Self::Task { source, .. } => match source {
                TaskError::Config { .. } => FailureKind::Spec,
                TaskError::Column { .. }
                | TaskError::Label { .. }
                | TaskError::Unreadable { .. }
                | TaskError::NoClasses
                | TaskError::TooManyClasses { .. }
                | TaskError::NoVocabulary
                | TaskError::Windows { .. }
                | TaskError::Context { .. }
                | TaskError::Token { .. } => FailureKind::Data,
                _ => FailureKind::Bug,
            },
            Self::PeerLost { .. }
            | Self::Revoked { .. }
            | Self::HeldTooLong { .. }
            | Self::Diverged { is_right: true, .. }
            | Self::Link { .. } => FailureKind::PeerLost,
            Self::NonFinite { .. } => FailureKind::NonFinite,
            // What a machine, a network or a store can't do now it may do for the next try.
            Self::Data(e) if !e.is_about_data() => FailureKind::Bug,
            Self::Data(_) => FailureKind::Data,
            Self::Saving { .. } => FailureKind::Storage,
            Self::Run(e) => of_run(e),
            _ => FailureKind::Bug,
        }
    }

    /// Whether only the generation can't go on: this process can, in the next one.
    pub(crate) fn ends_generation_only(&self) -> bool {
        matches!(
            self,
            Self::PeerLost { .. }
                | Self::Revoked { .. }
                | Self::HeldTooLong { .. }
                | Self::Diverged { is_right: true, .. }
        )
    }

    /// What the agent is told.
    pub fn failure(&self) -> Failure {
        Failure { kind: self.kind(), message: self.to_string() }
    }
}

/// Storage errors while loading end the run only where trying again can't help.
fn of_run(error: &lockstep_run::Error) -> FailureKind {
    use lockstep_run::Error as Run;
    match error {
        Run::Fenced { .. } => FailureKind::PeerLost,
        Run::Storage(e) if e.is_transient() => FailureKind::Bug,
        _ => FailureKind::Storage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_datasets::Error as Data;
    use lockstep_storage::Error as Storage;
    use std::io::{Error as IoError, ErrorKind};
    use std::time::Duration;

    #[test]
    fn what_a_machine_or_a_network_can_not_do_now_is_not_bad_data() {
        let (uri, operation) = ("/data/shard".to_owned(), "get");
        let io = |kind| Data::Io { operation: "write", path: "/cache".into(), source: IoError::from(kind) };
        let passing = [
            io(ErrorKind::StorageFull),
            io(ErrorKind::QuotaExceeded),
            io(ErrorKind::ReadOnlyFilesystem),
            io(ErrorKind::Other),
            Data::NoBatch { step: 1, reason: "not ready".into() },
            Storage::Timeout { uri: uri.clone(), operation, after: Duration::from_secs(1) }.into(),
            Storage::Unavailable { uri: uri.clone(), operation, reason: "input/output error".into() }.into(),
            Storage::NoSpace { uri: uri.clone(), reason: "full".into() }.into(),
        ];
        for error in passing {
            let error = Error::from(error);
            assert!(!error.kind().is_fatal(), "{error:?}");
        }
        let for_good = [
            Data::Size { file: uri.clone(), expected: 1, got: 2 },
            Data::Replaced {
                file: uri.clone(),
                algorithm: "xxh3_128".into(),
                expected: "0".into(),
                got: "1".into(),
            },
            Storage::NotFound { uri: uri.clone() }.into(),
            Storage::Changed { uri: uri.clone() }.into(),
            Storage::NotAFile { uri: uri.clone(), what: "a FIFO".into() }.into(),
            Storage::Denied { uri, reason: "403".into() }.into(),
        ];
        for error in for_good {
            assert_eq!(Error::from(error).kind(), FailureKind::Data);
        }
    }
}
