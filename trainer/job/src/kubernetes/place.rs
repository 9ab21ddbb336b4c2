use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// A taint that the pods bear.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Toleration {
    /// The taint's key. Default: every key; then operator is Exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether the taint's value counts. Default: Equal.
    pub operator: Operator,
    /// The taint's value, for Equal. Default: the empty one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The taint's effect. Default: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// How long a pod stays after a taint of effect NoExecute appears. Default: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stays: Option<Span>,
}

/// Whether a taint's value counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// The value must be the same.
    #[default]
    Equal,
    /// Any value will do.
    Exists,
}

/// What a taint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Effect {
    /// Keeps new pods away.
    NoSchedule,
    /// Keeps new pods away if there is room elsewhere.
    PreferNoSchedule,
    /// Drives running pods away too.
    NoExecute,
}

/// How evenly the pods spread over the values of a node label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TopologySpread {
    /// The node label, like `kubernetes.io/hostname`.
    #[schemars(extend("examples" = ["topology.kubernetes.io/zone"]))]
    pub topology_key: String,
    /// The most pods by which two of its values may differ. Unit: nodes. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100_000), extend("x-unit" = "nodes"))]
    pub max_skew: u32,
    /// What happens to a pod for which that can't be kept. Default: DoNotSchedule.
    #[serde(default)]
    pub when_unsatisfiable: WhenUnsatisfiable,
}

/// What happens to a pod that would make the spread uneven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenUnsatisfiable {
    /// It waits.
    #[default]
    DoNotSchedule,
    /// It is placed where that does the least harm.
    ScheduleAnyway,
}

/// Whose machines those are that may be taken back at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Spot {
    /// Karpenter's: `karpenter.sh/capacity-type: spot`.
    Karpenter,
    /// Those of EKS managed node groups: `eks.amazonaws.com/capacityType: SPOT`.
    Eks,
    /// Those of GKE: `cloud.google.com/gke-spot: "true"`, and its taint.
    Gke,
    /// Those of AKS: `kubernetes.azure.com/scalesetpriority: spot`, and its taint.
    Aks,
}

fn one() -> u32 {
    1
}
