//! The part of a job file that says how its pods look and where they run.

mod place;
mod pod;

pub use place::{Effect, Operator, Spot, Toleration, TopologySpread, WhenUnsatisfiable};
pub use pod::{Gpu, PullPolicy, Resources, SecretEnv, Volume};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ByteSize, Span};

/// How the job runs on Kubernetes. `--local` ignores this section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kubernetes {
    /// The kube context of the cluster. Default: the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Namespace of all objects. Default: the kube context's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Image of the pods, with lockstep-agent in its PATH and lockstep-worker beside it. With agentImage, any image.
    #[schemars(extend("examples" = ["registry.example.com/team/lockstep:1.2"]))]
    pub image: String,
    /// Lockstep's own image, from which an init container brings the agent into the pods. Then `image` only needs to hold
    /// what `command` needs. It needs no shell and no C library. Default: none; `image` holds the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["registry.example.com/team/lockstep:1.2"]))]
    pub agent_image: Option<String>,
    /// When nodes pull the images. Default: IfNotPresent.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// Names of the Secrets for pulling the images. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pull_secrets: Vec<String>,
    /// An existing service account, such as one that a cloud's workload identity trusts. Its token is not mounted.
    /// Default: the namespace's default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// What each pod gets.
    #[serde(default)]
    pub resources: Resources,
    /// The accelerators of each pod. Each gets one rank, unless ranksPerNode is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
    /// Size of /dev/shm, which is memory and counts against resources.memory. Default: a quarter of resources.memory,
    /// or 1GiB if that isn't set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<ByteSize>,
    /// Size of /tmp on the node's disk. Default: 1GiB.
    #[serde(default = "default_tmp_size")]
    pub tmp_size: ByteSize,
    /// Labels that a node must have. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Which nodes are wanted or avoided, as in a pod's spec.affinity. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Value>,
    /// Taints that the pods tolerate, in addition to that of gpu.resource. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// How the pods spread over nodes, racks or zones. Default: as the scheduler decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread: Vec<TopologySpread>,
    /// Run on machines that the provider may reclaim at any time. The value says whose labels and taints they have.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot: Option<Spot>,
    /// Name of the pods' PriorityClass. Default: the cluster's default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class: Option<String>,
    /// Name of the Kueue LocalQueue that admits the job. Default: none; it starts at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Environment variables of the agent, and so of its workers, too: what the storage needs, such as AWS_REGION or
    /// AWS_ENDPOINT_URL. Values are not expanded. Variables of the workers alone belong in the job's own `env`. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Secrets whose values become environment variables of the agent and its workers. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretEnv>,
    /// What to mount into the pods, in addition to /tmp, /cache and /dev/shm. Default: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Whether a NetworkPolicy lets only the run's own pods in. Default: true.
    #[serde(default = "yes")]
    pub network_policy: bool,
    /// A PodDisruptionBudget, which makes node drains wait for the run. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pdb: Option<Pdb>,
    /// When to launch the job again, each time as a run of its own: a CronJob. Default: once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<CronSchedule>,
    /// How long `lockstep launch` waits until all pods have started, before it removes the job and ends with exit
    /// code 3. Default: 30m.
    #[serde(default = "default_start_timeout")]
    pub start_timeout: Span,
    /// How long the cluster keeps the Job, and with it the pods' logs, after its end. `lockstep render` leaves it out,
    /// because GitOps tools would recreate what the cluster removes. Default: until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// Time from SIGTERM until the node kills the pod. It must exceed recovery.grace, in which the checkpoint is written.
    /// Default: recovery.grace + 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period: Option<Span>,
    /// Part of a pod template (metadata, spec) to merge into the rendered one, as server-side apply would: objects field by
    /// field, containers, env and volumes by name, volumeMounts by mountPath. Other lists are replaced. The container is
    /// called `agent`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_overlay: Option<Value>,
}

/// A PodDisruptionBudget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Pdb {
    /// How many pods drains may take away at the same time. Unit: nodes. Default: 0.
    #[schemars(extend("x-unit" = "nodes"))]
    pub max_unavailable: u32,
}

/// When a job is launched again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CronSchedule {
    /// Minute, hour, day of month, month, day of week. A launch that is due while a run goes on is skipped.
    #[schemars(extend("examples" = ["0 2 * * *"]))]
    pub cron: String,
    /// Time zone of `cron`, by its IANA name. Default: Etc/UTC.
    #[serde(default = "utc")]
    pub time_zone: String,
}

impl Kubernetes {
    /// Size of /dev/shm.
    pub fn shm_size(&self) -> ByteSize {
        let quarter = self.resources.memory.map(|memory| ByteSize::new(memory.bytes() / 4));
        self.shm_size.or(quarter).unwrap_or(ByteSize::new(1 << 30))
    }

    /// From SIGTERM until the node kills the pod, given `recovery.grace`.
    pub fn grace_period(&self, grace: Span) -> Span {
        self.grace_period.unwrap_or(Span::from(grace.duration() + Span::from_secs(10).duration()))
    }
}

fn default_start_timeout() -> Span {
    Span::from_secs(30 * 60)
}

fn default_tmp_size() -> ByteSize {
    ByteSize::new(1 << 30)
}

fn yes() -> bool {
    true
}

fn utc() -> String {
    "Etc/UTC".to_owned()
}
