use lockstep_run::Outcome;
use std::path::Path;

/// The longest message that a kubelet takes. Unit: bytes.
const MAX_BYTES: usize = 4096;

/// Writes how the run ended where the kubelet looks for it: it becomes part of the pod's status, which outlives the log.
pub fn leave_words(path: &Path, outcome: &Outcome) {
    let mut words = match outcome {
        Outcome::Done => "done".to_owned(),
        Outcome::Stopped { cause, .. } => format!("stopped: {cause}"),
        Outcome::Failed { error } => format!("failed: {error}"),
    };
    words.truncate(words.floor_char_boundary(MAX_BYTES));
    if let Err(error) = std::fs::write(path, words) {
        tracing::warn!(%error, path = %path.display(), "can't leave a last word");
    }
}
