use lockstep_run::Outcome;
use std::path::Path;

/// The longest message that a kubelet takes. Unit: bytes.
const MAX_BYTES: usize = 4096;

/// Writes how the run ended, or that this agent left before, where the kubelet looks for it: it becomes part of the pod's status, which outlives the log.
pub fn leave_words(path: &Path, outcome: Option<&Outcome>) {
    let mut words = match outcome {
        None => "was told to leave".to_owned(),
        Some(Outcome::Done) => "done".to_owned(),
        Some(Outcome::Stopped { cause, .. }) => format!("stopped: {cause}"),
        Some(Outcome::Failed { error }) => format!("failed: {error}"),
    };
    words.truncate(words.floor_char_boundary(MAX_BYTES));
    if let Err(error) = std::fs::write(path, words) {
        tracing::warn!(%error, path = %path.display(), "can't leave a last word");
    }
}
