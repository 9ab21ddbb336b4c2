use super::STATE;
use crate::data::Cursor;
use crate::{Error, Result};
use lockstep_c10d::{BucketPlan, LIBTORCH_VERSION, LossScaleState};
use lockstep_datasets::Contents;
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
    /// Updates in a row that were left out because the gradient was not finite, up to this step.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) non_finite_in_a_row: u32,
    /// What kept gradients in range, where something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) loss_scale: Option<LossScaleState>,
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dataset {
    /// Where it lay.
    pub uri: String,
    /// Which split.
    pub split: Option<String>,
    /// Hash of its index.
    pub digest: String,
    /// Only where the index has no hashes: hash of the index and of how its files were listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<String>,
    /// Only where the index has no hashes: hashes of the shards that were read so far, by all ranks.
    #[serde(default, skip_serializing_if = "Contents::is_empty")]
    pub shards: Contents,
    /// Hash that the index had before hashes were written into it.
    #[serde(skip)]
    pub unsealed: Option<String>,
}

/// How sure it is that data is what a checkpoint was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sameness {
    /// By the digests.
    Same,
    /// The index is the same; the files are compared by their content.
    ByContent,
    /// The index is the same; what the files held is not recorded.
    Unknown,
}

impl Dataset {
    /// Refuses to go on with other data than `self` was trained on.
    pub(crate) fn compare(&self, now: &Self) -> Result<Sameness> {
        let differs = |before: &str, found: &str| {
            let uri = &now.uri;
            Err(Error::state(
                STATE,
                format!("it was trained on data with digest {before}, but {uri} has {found}"),
            ))
        };
        let is_sealed_since = now.unsealed.as_ref() == Some(&self.digest);
        if self.digest != now.digest && !is_sealed_since {
            return differs(&self.digest, &now.digest);
        }
        match (&self.listing, &now.listing) {
            (None, None) if !is_sealed_since => Ok(Sameness::Same),
            (Some(before), Some(found)) if before == found => Ok(Sameness::Same),
            _ if !self.shards.is_empty() => Ok(Sameness::ByContent),
            (None, _) => Ok(Sameness::Unknown),
            (Some(before), now_listed) => differs(before, now_listed.as_ref().unwrap_or(&now.digest)),
        }
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

fn is_none(count: &u32) -> bool {
    *count == 0
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

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(digest: &str, listing: Option<&str>, shard: Option<&str>) -> Dataset {
        Dataset {
            uri: "/data".into(),
            digest: digest.into(),
            listing: listing.map(str::to_owned),
            shards: shard.map(|hash| (0, hash.to_owned())).into_iter().collect(),
            ..Dataset::default()
        }
    }

    #[test]
    fn the_same_index_is_the_same_data_only_with_hashes_or_the_same_listing() {
        let compare = |before: &Dataset, now: &Dataset| before.compare(now).ok();
        let hashed = |digest| dataset(digest, None, None);
        assert_eq!(compare(&hashed("a"), &hashed("a")), Some(Sameness::Same));
        assert_eq!(compare(&hashed("a"), &hashed("b")), None);
        let listed = |listing, shard| dataset("a", Some(listing), shard);
        assert_eq!(compare(&listed("l", None), &listed("l", None)), Some(Sameness::Same));
        assert_eq!(compare(&listed("l", Some("h")), &listed("m", None)), Some(Sameness::ByContent));
        assert_eq!(compare(&listed("l", None), &listed("m", None)), None);
        // Of the kind that older versions wrote.
        assert_eq!(compare(&hashed("a"), &listed("l", None)), Some(Sameness::Unknown));
        assert_eq!(compare(&hashed("b"), &listed("l", None)), None);
    }

    #[test]
    fn fuzz() {
        let old = std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../tests/fixtures/format-0/checkpoints/";
        let states = ["0000000020-1-0", "0000000030-3-0"].map(|name| format!("{old}{name}/{STATE}"));
        let inputs = states.map(|path| std::fs::read(path).unwrap());
        lockstep_fuzzing::fuzz_text("state", &inputs, |text| {
            let Ok(state) = serde_json::from_slice::<State>(text) else { return };
            let written = serde_json::to_vec(&state).unwrap();
            assert_eq!(serde_json::from_slice::<State>(&written).unwrap(), state);
        });
    }

    #[test]
    fn an_index_that_was_sealed_since_is_known_again() {
        let sealed = Dataset { unsealed: Some("a".into()), ..dataset("s", None, None) };
        let before = dataset("a", Some("l"), Some("h"));
        assert_eq!(before.compare(&sealed).ok(), Some(Sameness::ByContent));
        assert_eq!(dataset("a", None, None).compare(&sealed).ok(), Some(Sameness::Unknown));
        assert!(dataset("a", Some("l"), None).compare(&sealed).is_err());
        assert!(dataset("b", Some("l"), Some("h")).compare(&sealed).is_err());
    }

    #[test]
    fn a_state_without_the_newer_fields_is_read_and_a_hashed_dataset_adds_none() {
        let text = r#"{"uri":"/data","split":null,"digest":"sha256:a"}"#;
        let old: Dataset = serde_json::from_str(text).unwrap();
        assert_eq!(old, dataset("sha256:a", None, None));
        assert_eq!(serde_json::to_string(&old).unwrap(), text);
    }
}
