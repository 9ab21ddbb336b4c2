use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// On what a model computes. Checkpoints are the same: what was saved on one kind of device loads on the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Device {
    /// On GPUs where every rank has one, and on CPUs otherwise; in a pod that asked for GPUs, on those or not at all.
    #[default]
    Auto,
    /// On CPUs; ranks are connected by Gloo.
    Cpu,
    /// On NVIDIA's GPUs, one for each rank, connected by NCCL; the run fails where there is none.
    Cuda,
}

impl Device {
    // Records of jobs that say nothing of it stay as they were.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How far the bits of a run are the same each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reproducible {
    /// On GPUs the fastest kernels and NCCL's own choice of algorithms; CPUs have no faster way, and are fixed.
    Off,
    /// The same bits on the same number of ranks of the same machines. On GPUs it costs speed: deterministic kernels, and one
    /// algorithm for all sums.
    Fixed,
}
