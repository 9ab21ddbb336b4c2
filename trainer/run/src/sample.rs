//! What a launcher asks of a worker that goes on with a prompt, in one JSON document on its standard input. It answers with a
//! token on each line.

use crate::CommitRef;
use serde::{Deserialize, Serialize};

/// The argument that makes a worker do this.
pub const SAMPLE: &str = "sample";

/// Which tokens to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SampleRequest {
    /// URI of the run's folder.
    pub run_dir: String,
    /// The checkpoint that holds the model.
    pub checkpoint: CommitRef,
    /// The tokens to go on from: at least one.
    pub prompt: Vec<i64>,
    /// Whether they were made of text by what the data says of its tokens: then it must be what the model was trained on.
    pub is_text: bool,
    /// How many to make.
    pub count: u32,
    /// What logits are divided by before one is drawn; at 0 the likeliest token is taken.
    pub temperature: f64,
    /// Only so many of the likeliest tokens are drawn from; all, where there is none.
    pub top_k: Option<u32>,
    /// Seed of the draws.
    pub seed: u64,
}
