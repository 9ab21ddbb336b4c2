use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Warmup;

/// The learning rate over time, as a factor of `lr`; `kind` names the curve after the warmup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Schedule {
    /// Stays at `lr`.
    Constant {
        /// Linear rise from zero at the start: `5%` of all steps, or `100 steps`. Default: 0%.
        #[serde(default = "no_warmup")]
        warmup: Warmup,
    },
    /// Falls linearly to `final` at the last step.
    Linear {
        /// Linear rise from zero at the start: `5%` of all steps, or `100 steps`. Default: 0%.
        #[serde(default = "no_warmup")]
        warmup: Warmup,
        /// Factor of `lr` at the last step. Default: 0.
        #[serde(default, rename = "final")]
        #[schemars(range(min = 0.0, max = 1.0))]
        final_factor: f64,
    },
    /// Falls along half a cosine wave to `final` at the last step.
    Cosine {
        /// Linear rise from zero at the start: `5%` of all steps, or `100 steps`. Default: 0%.
        #[serde(default = "no_warmup")]
        warmup: Warmup,
        /// Factor of `lr` at the last step. Default: 0.
        #[serde(default, rename = "final")]
        #[schemars(range(min = 0.0, max = 1.0))]
        final_factor: f64,
    },
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Constant { warmup: Warmup::NONE }
    }
}

fn no_warmup() -> Warmup {
    Warmup::NONE
}
