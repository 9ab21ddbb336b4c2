//! What can go wrong.

use crate::StoreError;
use crate::plan::PlanError;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed.
///
/// After [`Error::Store`], [`Error::PeerLost`] and [`Error::Aborted`] the group is gone: drop it with everything built
/// on it and form a new one. The other variants leave the group as it was; except that a [`Reducer`](crate::Reducer) that
/// libtorch refuses in the middle of a step, with [`Error::Torch`], aborts the group: the fault is in the model, and the
/// other ranks must not wait for this one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A group could not be formed because its store failed; most often a rank did not come in time.
    #[error("rank {rank} of {world_size} could not form its group: {source}")]
    Store {
        /// This rank.
        rank: usize,
        /// Ranks in the group.
        world_size: usize,
        /// The store's own error.
        source: StoreError,
    },
    /// A collective failed. Gloo does not say which rank it lost, nor tell a lost rank from a slow one: whoever knows the
    /// nodes' health decides.
    #[error("rank {rank} of {world_size} lost a peer in {operation}: {message}; form a new group")]
    PeerLost {
        /// The collective.
        operation: &'static str,
        /// This rank.
        rank: usize,
        /// Ranks in the group.
        world_size: usize,
        /// Gloo's or c10d's words.
        message: String,
    },
    /// The group was aborted before.
    #[error("{operation} on a group that was aborted: {reason}; form a new group")]
    Aborted {
        /// What was asked for.
        operation: &'static str,
        /// Why the group was aborted.
        reason: String,
    },
    /// The ranks hold different models or bucket plans. All ranks get this error.
    #[error("ranks {ranks:?} differ from the others in {what}: all ranks must build the same model{}", detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Mismatch {
        /// Ranks that differ from rank 0, or from any other rank in the number of parameters.
        ranks: Vec<usize>,
        /// In what they differ.
        what: &'static str,
        /// libtorch's words, on a rank that differs.
        detail: Option<String>,
    },
    /// An argument breaks the contract. Nothing was sent.
    #[error("{operation}: {problem}")]
    Invalid {
        /// What was called.
        operation: &'static str,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// The bucket plan does not fit the parameters.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// libtorch refused the operation.
    #[error("{operation}: {message}")]
    Torch {
        /// What was called.
        operation: &'static str,
        /// libtorch's words, without the C++ backtrace.
        message: String,
    },
}

impl Error {
    /// Wraps an error of tch, whose text carries a C++ backtrace: only the message is kept.
    pub fn torch(operation: &'static str, error: tch::TchError) -> Self {
        let text = error.to_string();
        let message = text.split("\nException raised from").next().unwrap_or_default();
        Error::Torch { operation, message: message.trim_end().to_owned() }
    }

    /// Whether a new group of ranks has to be formed to go on.
    pub fn is_group_lost(&self) -> bool {
        matches!(self, Error::Store { .. } | Error::PeerLost { .. } | Error::Aborted { .. })
    }

    pub(crate) fn invalid(operation: &'static str, problem: impl Into<String>) -> Self {
        Error::Invalid { operation, problem: problem.into() }
    }
}
