use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The training loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Train {
    /// Optimizer steps to train for; either this or `epochs`. Unit: steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "steps"))]
    pub steps: Option<u64>,
    /// Passes over the training data; either this or `steps`. Unit: epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "epochs"))]
    pub epochs: Option<u64>,
    /// Samples per optimizer step, over all ranks. Unit: samples. Default: 32.
    #[schemars(range(min = 1), extend("x-unit" = "samples"))]
    pub global_batch: u32,
    /// Samples per rank and forward pass; the rest of the global batch is accumulated. Unit: samples. Default:
    /// globalBatch / (nodes x ranksPerNode), without accumulation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "samples"))]
    pub micro_batch: Option<u32>,
    /// Seed of the initial weights, of dropout and, unless data.seed is set, of the sample order. Default: 0.
    pub seed: u64,
    /// The L2 norm to which larger gradients are scaled down. Default: no clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub clip_grad_norm: Option<f64>,
    /// What to do when the loss or the gradient is not finite.
    pub non_finite: NonFinite,
    /// In which numbers a model computes. Default: fp32.
    #[serde(skip_serializing_if = "Precision::is_default")]
    pub precision: Precision,
    /// In which numbers ranks exchange gradients. Default: fp32.
    #[serde(skip_serializing_if = "Exchange::is_default")]
    pub exchange: Exchange,
    /// A moving average of the parameters, which evaluation uses. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<Ema>,
    /// Threads of each rank for tensor arithmetic. A command gets the number as OMP_NUM_THREADS, unless env sets that.
    /// Unit: threads. Default: 1.
    #[schemars(range(min = 1), extend("x-unit" = "threads"))]
    pub threads: u32,
}

impl Default for Train {
    fn default() -> Self {
        Self {
            steps: None,
            epochs: None,
            global_batch: 32,
            micro_batch: None,
            seed: 0,
            clip_grad_norm: None,
            non_finite: NonFinite::default(),
            precision: Precision::default(),
            exchange: Exchange::default(),
            ema: None,
            threads: 1,
        }
    }
}

/// What to do when the loss or the gradient is not finite. All ranks skip the update of such a step in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NonFinite {
    /// Whether such steps may end the run. Default: stop.
    pub policy: NonFinitePolicy,
    /// With `stop`, how many such steps in a row end the run. Unit: steps. Default: 3.
    #[schemars(range(min = 1), extend("x-unit" = "steps"))]
    pub after: u32,
}

impl Default for NonFinite {
    fn default() -> Self {
        Self { policy: NonFinitePolicy::Stop, after: 3 }
    }
}

/// Whether steps that are not finite may end the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NonFinitePolicy {
    /// Skip the update and go on, however often it happens.
    Skip,
    /// Stop the run on all ranks after `after` of them in a row.
    Stop,
}

/// In which numbers a model computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Precision {
    /// In 32 bits.
    #[default]
    Fp32,
    /// In 16 bits where that gains, as PyTorch's autocast decides; parameters, gradients and updates keep 32.
    Bf16,
    /// The same, with matrices and their gradients in 16 bits, too: nothing to cast, and half the bytes between ranks. A copy of the
    /// matrices in 32 bits is trained and saved.
    #[serde(rename = "bf16-params")]
    Bf16Params,
    /// In the 16 bits of fp16 where that gains: more precise than bf16, but with so little range that the loss is scaled up, and
    /// updates whose gradient overflows are left out. For GPUs without bf16.
    Fp16,
}

impl Precision {
    // Records of jobs that say nothing of it stay as they were.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// In which numbers ranks exchange gradients. Each rank's own, and their average, are kept in 32 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Exchange {
    /// In 32 bits.
    #[default]
    Fp32,
    /// In 16 bits with the range of 32 and 8 bits of precision: half the bytes, as PyTorch's bf16_compress_hook.
    Bf16,
    /// In 16 bits with 11 bits of precision, as PyTorch's fp16_compress_hook. A gradient above 65504 becomes infinite, and the
    /// step's update is left out.
    Fp16,
}

impl Exchange {
    // Records of jobs that say nothing of it stay as they were.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// An exponential moving average of the parameters. It moves with each update, and lies in checkpoints as `ema.safetensors`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Ema {
    /// How much of the average each update leaves: it remembers about 1 / (1 - decay) updates. Default: 0.999.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub decay: f64,
}

impl Default for Ema {
    fn default() -> Self {
        Self { decay: 0.999 }
    }
}
