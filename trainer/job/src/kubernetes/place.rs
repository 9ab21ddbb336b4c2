use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// A taint that the pods tolerate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Toleration {
    /// The taint's key. Default: every key, for which operator must be Exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether the taint's value matters. Default: Equal.
    pub operator: Operator,
    /// The taint's value, for Equal. Default: empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The taint's effect. Default: all effects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// How long a pod stays after a taint of effect NoExecute appears. Default: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stays: Option<Span>,
}

/// Whether a taint's value matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// The value must be the same.
    #[default]
    Equal,
    /// Any value matches.
    Exists,
}

/// What a taint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Effect {
    /// Keeps new pods away.
    NoSchedule,
    /// Keeps new pods away as long as there is room elsewhere.
    PreferNoSchedule,
    /// Evicts running pods, too.
    NoExecute,
}

/// How evenly the pods spread over the values of a node label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TopologySpread {
    /// The node label, such as `kubernetes.io/hostname`.
    #[schemars(extend("examples" = ["topology.kubernetes.io/zone"]))]
    pub topology_key: String,
    /// The largest allowed difference between the pod counts of two values. Unit: nodes. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100_000), extend("x-unit" = "nodes"))]
    pub max_skew: u32,
    /// What happens to a pod that would exceed maxSkew. Default: DoNotSchedule.
    #[serde(default)]
    pub when_unsatisfiable: WhenUnsatisfiable,
}

/// What happens to a pod that would make the spread uneven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenUnsatisfiable {
    /// It waits.
    #[default]
    DoNotSchedule,
    /// It is placed where it makes the spread least uneven.
    ScheduleAnyway,
}

/// Whose machines the provider may reclaim at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Spot {
    /// Machines of Karpenter: `karpenter.sh/capacity-type: spot`.
    Karpenter,
    /// Machines of EKS managed node groups: `eks.amazonaws.com/capacityType: SPOT`.
    Eks,
    /// Machines of GKE: `cloud.google.com/gke-spot: "true"`, and its taint.
    Gke,
    /// Machines of AKS: `kubernetes.azure.com/scalesetpriority: spot`, and its taint.
    Aks,
}

fn one() -> u32 {
    1
}
