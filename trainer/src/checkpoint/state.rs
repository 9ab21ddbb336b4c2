use super::STATE;
use crate::cursor::Cursor;
use crate::{Error, Result};
use lockstep_c10d::{BucketPlan, LIBTORCH_VERSION};
use lockstep_run::{FORMAT, Generation, Step};
use serde::{Deserialize, Serialize};

/// `state.json`: what a resumed run must know besides its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    /// [`FORMAT`]; absent in format 0.
    #[serde(default)]
    pub(crate) format: u32,
    /// Steps done.
    pub(crate) step: Step,
    /// Samples seen, over all epochs.
    pub(crate) samples_seen: u64,
    /// Where the data goes on.
    pub(crate) cursor: Cursor,
    /// `train.seed`, of which the ranks' generators are a function.
    pub(crate) seed: u64,
    /// Learning rate of the last update.
    pub(crate) learning_rate: f64,
    /// What was trained on.
    pub(crate) dataset: Dataset,
    /// BLAKE3 of `model.safetensors`, as in the commit record.
    pub(crate) parameter_hash: String,
    /// Number of trained numbers.
    pub(crate) num_parameters: usize,
    /// World size when it was saved. A resumed run may have another.
    pub(crate) world_size: u32,
    /// Generation that saved it.
    pub(crate) generation: Generation,
    /// Which parameters were reduced together: another plan adds in another order, so the bits differ.
    pub(crate) bucket_plan: BucketPlan,
    /// What computed it.
    pub(crate) versions: Versions,
}

/// A dataset by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dataset {
    /// Where it lay.
    pub uri: String,
    /// Which split.
    pub split: Option<String>,
    /// Hash of its index.
    pub digest: String,
}

impl Dataset {
    /// Refuses to go on with other data than `self` was trained on.
    pub(crate) fn check_same(&self, now: &Self) -> Result<()> {
        if self.digest == now.digest {
            return Ok(());
        }
        let (before, uri, digest) = (&self.digest, &now.uri, &now.digest);
        Err(Error::state(STATE, format!("it was trained on data with digest {before}, {uri} has {digest}")))
    }
}

/// Versions that decide about bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Versions {
    /// Of this crate.
    pub(crate) lockstep: String,
    /// Of libtorch.
    pub(crate) libtorch: String,
}

impl State {
    /// The format of the states that this version writes.
    pub(crate) const FORMAT: u32 = FORMAT;
}

impl Versions {
    /// Of this process.
    pub(crate) fn current() -> Self {
        Self { lockstep: env!("CARGO_PKG_VERSION").to_owned(), libtorch: LIBTORCH_VERSION.to_owned() }
    }
}
