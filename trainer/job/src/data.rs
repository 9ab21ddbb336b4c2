use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Image};

/// The datasets of a run and the order in which their samples are seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Data {
    /// What is trained on.
    pub train: Split,
    /// What is evaluated on. Default: no evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<Split>,
    /// How the files are laid out. Default: mds.
    #[serde(default)]
    pub format: Format,
    /// How its pictures are read. Default: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Tokens that a sample predicts: it holds them and the one before, and the next sample begins with its last token. Only
    /// for the format tokens, which needs it. Unit: tokens. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "tokens"))]
    pub window: Option<u32>,
    /// Seed of the sample order. Default: train.seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How samples are mixed.
    #[serde(default)]
    pub shuffle: Shuffle,
    /// What happens to an epoch's last samples if they don't fill a global batch. Default: drop.
    #[serde(default)]
    pub tail: Tail,
    /// How far ahead of the training loop data is fetched.
    #[serde(default)]
    pub prefetch: Prefetch,
    /// Where each node keeps the shards that it has fetched.
    #[serde(default)]
    pub cache: Cache,
}

/// One split of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Split {
    /// Root of the dataset: a path relative to the job file, or a `file://`, `s3://`, `gs://`, `az://` or `abfss://` URI.
    #[schemars(length(min = 1), extend("examples" = ["../datasets/digits", "s3://bucket/dataset"]))]
    pub uri: String,
    /// Folder of the split below the root. Default: the root itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Digest that the dataset must have, as `lockstep data inspect` prints it. Default: any digest; it is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A dataset's file format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Format {
    /// MosaicML streaming shards.
    #[default]
    Mds,
    /// Files of tokens, `*.bin`, as `lockstep data pack --tokens`, llm.c and nanoGPT write them.
    Tokens,
}

/// How samples are mixed: shards are permuted and cut into lanes, and samples are permuted in blocks within a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Shuffle {
    /// How far a sample may move within its lane; 1 keeps the stored order. Unit: samples. Default: 65536.
    #[schemars(range(min = 1), extend("x-unit" = "samples"))]
    pub block: u32,
    /// How many shards are read side by side. Unit: lanes. Default: 8.
    #[schemars(range(min = 1), extend("x-unit" = "lanes"))]
    pub lanes: u32,
}

impl Default for Shuffle {
    fn default() -> Self {
        Self { block: 65_536, lanes: 8 }
    }
}

/// What happens to the samples at the end of an epoch that don't fill a global batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Tail {
    /// They are left out of this epoch.
    #[default]
    Drop,
    /// They form a step of their own, padded with masked samples that have no effect.
    Pad,
}

/// How far ahead of the training loop data is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Prefetch {
    /// How many decoded batches wait for the training thread. Unit: batches. Default: 4.
    #[schemars(range(min = 1), extend("x-unit" = "batches"))]
    pub batches: u32,
    /// How many shards are fetched before their first use. Unit: shards. Default: 4.
    #[schemars(range(min = 1), extend("x-unit" = "shards"))]
    pub shards: u32,
}

impl Default for Prefetch {
    fn default() -> Self {
        Self { batches: 4, shards: 4 }
    }
}

/// A node's cache of verified shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Cache {
    /// Folder on the node. Default: the node's scratch folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Size limit of the cache. Default: 16GiB.
    pub size: ByteSize,
}

impl Default for Cache {
    fn default() -> Self {
        Self { dir: None, size: ByteSize::new(16 << 30) }
    }
}
