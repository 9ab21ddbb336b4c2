use crate::record::membership::Writer;
use crate::{Generation, Step};

/// What can go wrong with a run's folder, its checkpoints and its channels.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The object store refused or failed.
    #[error(transparent)]
    Storage(#[from] lockstep_storage::Error),

    /// A record can't be parsed.
    #[error("{uri} is not a valid {what}: {reason}")]
    BadRecord {
        /// Where it lies.
        uri: String,
        /// What it should be.
        what: &'static str,
        /// What the parser says.
        reason: String,
    },

    /// A newer version of Lockstep wrote this record.
    #[error(
        "{uri} is a {what} of format {found}, and this version of Lockstep reads formats up to {known}; use the version that wrote it, or a newer one"
    )]
    Format {
        /// Where it lies.
        uri: String,
        /// What it is.
        what: &'static str,
        /// Its format.
        found: u32,
        /// The newest one that this version knows.
        known: u32,
    },

    /// A node's lives are used up: somebody put a record there whose number has none after it.
    #[error("{uri} can't have another life after number {last}; delete the join record of that number")]
    NoMoreLives {
        /// Folder of the node's join records.
        uri: String,
        /// The highest number there.
        last: u64,
    },

    /// A file of a checkpoint is missing, has another size, or other bytes than its commit record says.
    #[error("checkpoint {step:010}-{generation} can't be used: {problem}")]
    BadCheckpoint {
        /// Its step.
        step: Step,
        /// Its generation.
        generation: Generation,
        /// Which file, what was expected, what was found.
        problem: String,
    },

    /// Every checkpoint of the run is damaged.
    #[error("none of the {count} checkpoints can be used; the newest: {newest}")]
    NoGoodCheckpoint {
        /// How many were tried.
        count: usize,
        /// Why the newest one is bad.
        newest: String,
    },

    /// The checkpoint of another run that this one begins with can't be used.
    #[error(
        "warmStart: checkpoint {step} of run {run}, with which this run began, can't be used: {source}; name another in the job, and launch with --fresh"
    )]
    WarmStart {
        /// The other run.
        run: String,
        /// Its checkpoint's step.
        step: Step,
        /// Why.
        #[source]
        source: Box<Error>,
    },

    /// Where published weights should be, there are none.
    #[error(
        "{uri} holds neither model.safetensors nor model.safetensors.index.json; name a folder that does, or a .safetensors file"
    )]
    NoWeights {
        /// The folder.
        uri: String,
    },

    /// A file of the weights that this run begins with is another by now.
    #[error(
        "warmStart: {uri} is not the file with which this run began: {problem}; put that one back, or launch with --fresh to begin with what is there now"
    )]
    Weights {
        /// The file.
        uri: String,
        /// What is different.
        problem: String,
    },

    /// A newer generation exists, so this process no longer belongs to the run.
    #[error("generation {ours} is over: generation {newest} was committed")]
    Fenced {
        /// The generation of this process.
        ours: Generation,
        /// The newest one.
        newest: Generation,
    },

    /// Two writers claim the same step of the same generation.
    #[error(
        "{uri} was written by {theirs}, but this is {ours}: two processes act for one generation; stop both and look at their logs"
    )]
    ForeignCommit {
        /// The commit record.
        uri: String,
        /// This process.
        ours: Writer,
        /// The other.
        theirs: Writer,
    },

    /// A message or a handshake on a channel failed.
    #[error("{peer}: {problem}")]
    Channel {
        /// The other end.
        peer: String,
        /// What happened.
        problem: String,
    },

    /// The other end didn't answer in time.
    #[error("{peer} did not {what} within {seconds} s")]
    Deadline {
        /// The other end.
        peer: String,
        /// What was waited for.
        what: &'static str,
        /// How long.
        seconds: f64,
    },
}

impl Error {
    pub(crate) fn channel(peer: impl ToString, problem: impl ToString) -> Self {
        Self::Channel { peer: peer.to_string(), problem: problem.to_string() }
    }

    /// True where the object isn't there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Storage(e) if e.is_not_found())
    }
}
