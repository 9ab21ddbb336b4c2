use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Cpu};

/// When nodes pull an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// If the node doesn't have it yet.
    #[default]
    IfNotPresent,
    /// Whenever a pod starts.
    Always,
    /// Never; the node must have it.
    Never,
}

/// What each pod gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Resources {
    /// Cores, such as `4` or `500m`: reserved, not limited, so that a step may use idle cores. Default: what the namespace
    /// gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Memory, including /dev/shm: reserved and limited. Default: what the namespace gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Space on the node's disk for /tmp, the dataset cache and logs: reserved and limited. Default: what the namespace
    /// gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<ByteSize>,
}

/// The accelerators of each pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gpu {
    /// Name of the extended resource, such as `nvidia.com/gpu.shared` or `nvidia.com/mig-1g.5gb`. Default: nvidia.com/gpu.
    #[serde(default = "nvidia")]
    pub resource: String,
    /// How many of them each pod gets. Unit: GPUs.
    #[schemars(range(min = 1, max = 1024), extend("x-unit" = "GPUs"), extend("examples" = [8]))]
    pub count: u32,
}

impl Gpu {
    /// Whether it is a GPU of NVIDIA's, whole or in part, on which CUDA runs.
    pub fn is_nvidia(&self) -> bool {
        self.resource.starts_with("nvidia.com/")
    }
}

/// A Secret whose values become environment variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretEnv {
    /// The Secret's name.
    #[schemars(extend("examples" = ["s3-key"]))]
    pub name: String,
    /// The key of the Secret to use. Default: all keys, each under its own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Name of the variable that holds the key's value. Default: the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

/// An existing object to mount into the pods: one of `claim`, `configMap` and `secret`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Volume {
    /// Where to mount it: an absolute path.
    #[schemars(extend("examples" = ["/data"]))]
    pub mount_path: String,
    /// Path inside the volume to mount. Default: its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
    /// Whether to mount it read-only. Default: false.
    #[serde(default)]
    pub read_only: bool,
    /// Name of a PersistentVolumeClaim. A job of several nodes needs one that many nodes may mount. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// Name of a ConfigMap. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<String>,
    /// Name of a Secret. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

fn nvidia() -> String {
    "nvidia.com/gpu".to_owned()
}
