//! On which nodes the pods run, and when they leave them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Toleration, TopologySpreadConstraint};
use lockstep_job::{Effect, Kubernetes, Operator, Spot, WhenUnsatisfiable};

use crate::quantity::{count, seconds};
use crate::source::Source;
use crate::{Wrong, typed::typed};

/// A pod on a node that is gone is taken for lost after this time; by itself that would be 300 s.
const LOST_NODE_SECONDS: i64 = 15;

pub(crate) fn node_selector(kubernetes: &Kubernetes) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    if let Some(spot) = kubernetes.spot {
        let (key, value) = spot_label(spot);
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels.extend(kubernetes.node_selector.clone());
    Some(labels).filter(|labels| !labels.is_empty())
}

fn spot_label(spot: Spot) -> (&'static str, &'static str) {
    match spot {
        Spot::Karpenter => ("karpenter.sh/capacity-type", "spot"),
        Spot::Eks => ("eks.amazonaws.com/capacityType", "SPOT"),
        Spot::Gke => ("cloud.google.com/gke-spot", "true"),
        Spot::Aks => ("kubernetes.azure.com/scalesetpriority", "spot"),
    }
}

pub(crate) fn affinity(kubernetes: &Kubernetes) -> Result<Option<Affinity>, Wrong> {
    kubernetes.affinity.as_ref().map(|affinity| typed("kubernetes.affinity", affinity)).transpose()
}

pub(crate) fn tolerations(kubernetes: &Kubernetes) -> Vec<Toleration> {
    let lost = |key: &str| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: Some(LOST_NODE_SECONDS),
        value: None,
    };
    let mut all = vec![lost("node.kubernetes.io/not-ready"), lost("node.kubernetes.io/unreachable")];
    all.extend(kubernetes.gpu.as_ref().map(|gpu| Toleration {
        key: Some(gpu.resource.clone()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoSchedule".to_owned()),
        ..Default::default()
    }));
    all.extend(kubernetes.spot.filter(|spot| matches!(spot, Spot::Gke | Spot::Aks)).map(|spot| {
        let (key, value) = spot_label(spot);
        Toleration {
            key: Some(key.to_owned()),
            operator: Some("Equal".to_owned()),
            value: Some(value.to_owned()),
            effect: Some("NoSchedule".to_owned()),
            toleration_seconds: None,
        }
    }));
    all.extend(kubernetes.tolerations.iter().map(given));
    all
}

fn given(toleration: &lockstep_job::Toleration) -> Toleration {
    let exists = toleration.key.is_none() || toleration.operator == Operator::Exists;
    let effect = toleration.effect.map(|effect| match effect {
        Effect::NoSchedule => "NoSchedule",
        Effect::PreferNoSchedule => "PreferNoSchedule",
        Effect::NoExecute => "NoExecute",
    });
    Toleration {
        key: toleration.key.clone(),
        operator: Some(if exists { "Exists" } else { "Equal" }.to_owned()),
        value: toleration.value.clone(),
        effect: effect.map(str::to_owned),
        toleration_seconds: toleration.stays.map(seconds),
    }
}

pub(crate) fn spread(source: &Source<'_>) -> Vec<TopologySpreadConstraint> {
    let constraint = |given: &lockstep_job::TopologySpread| TopologySpreadConstraint {
        topology_key: given.topology_key.clone(),
        max_skew: count(given.max_skew),
        when_unsatisfiable: match given.when_unsatisfiable {
            WhenUnsatisfiable::DoNotSchedule => "DoNotSchedule".to_owned(),
            WhenUnsatisfiable::ScheduleAnyway => "ScheduleAnyway".to_owned(),
        },
        label_selector: Some(source.meta.label_selector()),
        ..Default::default()
    };
    source.kubernetes.topology_spread.iter().map(constraint).collect()
}
