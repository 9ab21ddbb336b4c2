//! How agents that die come back on a cluster: as the cluster's version decides, which is seen by what it makes of a Job.

use super::apply::Owner;
use lockstep_render::{returns, without_returns};
use serde::Serialize;
use std::fmt;

/// How an agent that dies comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Return {
    /// In its pod.
    InItsPod,
    /// In a pod that the Job controller makes in its place.
    InANewPod,
}

impl Return {
    /// As the cluster has taken it: one that doesn't know the rules may drop them without a word.
    pub(super) fn of<K: Owner>(work: &K) -> Self {
        let mut work = work.clone();
        if work.pods_mut().is_some_and(|template| returns(template)) {
            Self::InItsPod
        } else {
            Self::InANewPod
        }
    }
}

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InItsPod => "an agent that dies comes back in its pod",
            Self::InANewPod => {
                "an agent that dies comes back in a new pod after 10 s or more: its pod has no restartPolicyRules, which Kubernetes takes from 1.35 on"
            }
        })
    }
}

/// The same work for a cluster that has refused the rules, if that is why it refused: before 1.34 it says that it doesn't know
/// the one field, or that the other isn't for this kind of container. None where they aren't why.
pub(super) fn for_an_older_cluster<K: Owner>(work: &K, refusal: &anyhow::Error) -> Option<K> {
    let said = format!("{refusal:#}");
    let is_why = said.contains("restartPolicyRules") || said.contains("].restartPolicy:");
    let mut work = work.clone();
    let template = work.pods_mut().filter(|template| is_why && returns(template))?;
    without_returns(template);
    Some(work)
}
