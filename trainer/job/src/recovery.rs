use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// How long each sign of life may take, and what happens then. The times nest: heartbeat < dead < stepBudget,
/// 2 x stepBudget <= collective, and revoke < grace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Recovery {
    /// How often workers and agents report that they are alive. Default: 200ms.
    pub heartbeat: Span,
    /// How long a worker or a node may be silent before it counts as dead. Default: 3s.
    pub dead: Span,
    /// How long node 0 may be missing at the start before the lowest node that is there becomes the leader. Default: 5s.
    pub join: Span,
    /// How long the nodes of a new generation may take to form it. Default: 10s.
    pub form: Span,
    /// How long a worker has to leave a generation before it is killed. Default: 5s.
    pub revoke: Span,
    /// How long a rank may take for a step, at least, before it counts as hung. Default: 10s.
    pub step_budget: Span,
    /// The same for a worker's first step, in which it loads and warms up. Default: 1m.
    pub first_step_budget: Span,
    /// The same for an evaluation. Default: 5m.
    pub eval_budget: Span,
    /// The same for a checkpoint. Default: 5m.
    pub checkpoint_budget: Span,
    /// Timeout of a collective operation, as a last resort. Default: 2 x stepBudget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collective: Option<Span>,
    /// Time from a request to stop until everything is killed. The last checkpoint is written in this time. Default: 30s.
    pub grace: Span,
    /// How long to wait for a lost node before the run stops. It can be resumed. Default: 10m.
    pub replacement: Span,
    /// How often the same cause may interrupt training without progress before the run ends. Unit: times.
    /// Default: 3.
    #[schemars(range(min = 1), extend("x-unit" = "times"))]
    pub same_cause: u32,
    /// The fewest nodes that may train. Unit: nodes. Default: nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "nodes"))]
    pub min_nodes: Option<u32>,
}

impl Recovery {
    /// Timeout of a collective operation.
    pub fn collective(&self) -> Span {
        self.collective.unwrap_or(self.step_budget * 2)
    }
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            heartbeat: Span::from_millis(200),
            dead: Span::from_secs(3),
            join: Span::from_secs(5),
            form: Span::from_secs(10),
            revoke: Span::from_secs(5),
            step_budget: Span::from_secs(10),
            first_step_budget: Span::from_secs(60),
            eval_budget: Span::from_secs(300),
            checkpoint_budget: Span::from_secs(300),
            collective: None,
            grace: Span::from_secs(30),
            replacement: Span::from_secs(600),
            same_cause: 3,
            min_nodes: None,
        }
    }
}
