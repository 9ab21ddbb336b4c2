use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Schedule;

/// How gradients become updates; `kind` names the method. Default: adamw with its defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Optimizer {
    /// Adam with decoupled weight decay.
    Adamw {
        /// Learning rate at the peak of the schedule. Default: 1e-3.
        #[serde(default = "default_lr")]
        #[schemars(extend("exclusiveMinimum" = 0))]
        lr: f64,
        /// Decay of the running means of the gradient and of its square. Default: [0.9, 0.999].
        #[serde(default = "default_betas")]
        #[schemars(extend("items" = { "type": "number", "minimum": 0, "exclusiveMaximum": 1 }))]
        betas: [f64; 2],
        /// Added to the root of the mean square. Default: 1e-8.
        #[serde(default = "default_eps")]
        #[schemars(extend("exclusiveMinimum" = 0))]
        eps: f64,
        /// Weight decay per step, multiplied by the learning rate. Default: 0.01.
        #[serde(default = "default_weight_decay")]
        #[schemars(range(min = 0.0))]
        weight_decay: f64,
        /// Of which parameters weights decay. Default: all.
        #[serde(default, skip_serializing_if = "Decay::is_default")]
        decay: Decay,
        /// The learning rate over time. Default: constant.
        #[serde(default)]
        schedule: Schedule,
    },
    /// Stochastic gradient descent.
    Sgd {
        /// Learning rate at the peak of the schedule.
        #[schemars(extend("exclusiveMinimum" = 0, "examples" = [0.1]))]
        lr: f64,
        /// Share of the previous update that is kept. Default: 0.
        #[serde(default)]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
        momentum: f64,
        /// L2 penalty added to the gradient. Default: 0.
        #[serde(default)]
        #[schemars(range(min = 0.0))]
        weight_decay: f64,
        /// Of which parameters weights decay. Default: all.
        #[serde(default, skip_serializing_if = "Decay::is_default")]
        decay: Decay,
        /// Whether to use Nesterov's momentum. Default: false.
        #[serde(default)]
        nesterov: bool,
        /// The learning rate over time. Default: constant.
        #[serde(default)]
        schedule: Schedule,
    },
}

/// Of which parameters weights decay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Decay {
    /// Of all.
    #[default]
    All,
    /// Of those with two dimensions or more: of no bias, and of no weight of a normalisation.
    Matrices,
}

impl Decay {
    // Records of jobs that say nothing of it stay as they were.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Optimizer {
    /// Learning rate at the peak of the schedule.
    pub fn lr(&self) -> f64 {
        match self {
            Self::Adamw { lr, .. } | Self::Sgd { lr, .. } => *lr,
        }
    }

    /// The learning rate over time.
    pub fn schedule(&self) -> &Schedule {
        match self {
            Self::Adamw { schedule, .. } | Self::Sgd { schedule, .. } => schedule,
        }
    }
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::Adamw {
            lr: default_lr(),
            betas: default_betas(),
            eps: default_eps(),
            weight_decay: default_weight_decay(),
            decay: Decay::default(),
            schedule: Schedule::default(),
        }
    }
}

fn default_lr() -> f64 {
    1e-3
}

fn default_betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn default_eps() -> f64 {
    1e-8
}

fn default_weight_decay() -> f64 {
    0.01
}
