use crate::{Step, number};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a checkpoint was made from, where and by what: nobody could find it out later.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Provenance {
    /// The launch that its generation belongs to.
    pub launch: Option<String>,
    /// Who launched it, as `user@host`, where that is known.
    pub launched_by: Option<String>,
    /// The data, in the order train, eval.
    pub datasets: Vec<DatasetUse>,
    /// The code that was brought along, or that lay around the job file.
    pub code: Option<Code>,
    /// The image of the pods, as the job names it.
    pub image: Option<String>,
    /// What ran.
    pub versions: Option<Versions>,
    /// What it ran on, as the writer sees it.
    pub hardware: Option<Hardware>,
    /// The newest evaluation.
    pub evaluation: Option<Evaluation>,
}

/// A dataset and what it was used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatasetUse {
    /// `train` or `eval`.
    pub role: String,
    /// Where it lay.
    pub uri: String,
    /// Which split.
    pub split: Option<String>,
    /// What identifies it.
    pub digest: String,
}

/// Where the code was from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Code {
    /// blake3 of the archive that `launch --sync` stored.
    pub digest: Option<String>,
    /// The commit that was checked out where the job was launched.
    pub git_commit: Option<String>,
    /// Whether files differed from it.
    pub git_dirty: Option<bool>,
}

/// Versions of the programs that took part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// Of the agent.
    pub agent: String,
    /// Of the worker.
    pub worker: String,
    /// Of libtorch.
    pub libtorch: String,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hardware {
    /// The processor's name, as the kernel tells it.
    pub cpu: String,
    /// Cores that the process may use.
    pub num_cores: u32,
    /// Names of the accelerators.
    pub accelerators: Vec<String>,
}

/// Results of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    /// The step that it came after.
    pub step: Step,
    /// Results by name.
    #[serde(with = "number::map")]
    pub results: BTreeMap<String, f64>,
}
