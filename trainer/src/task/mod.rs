//! What a user writes: the model, its loss and its metrics. Everything else of a training run is the library's.

mod batch;
mod error;

pub use batch::Batch;
pub use error::TaskError;

use crate::rank::Running;
use serde::de::DeserializeOwned;
use tch::{Device, Tensor, nn};

/// Builds a model. See `trainer/examples/custom-task` for a whole one.
pub trait Task: Send + Sync + 'static {
    /// Makes the model, creating every parameter under `root`.
    ///
    /// The default generator is seeded before the call, so that initial values depend on the job's seed only. All ranks
    /// must create the same parameters in the same order.
    fn build(&self, setup: &Setup<'_>, root: &nn::Path<'_>) -> Result<Box<dyn Model>, TaskError>;

    /// The columns that the model reads; of others not a byte is looked at. Default: all that hold numbers, of which one
    /// that can't be read, or whose rows differ in shape, is an error only where a batch is asked for it.
    fn columns(&self) -> Option<Vec<&str>> {
        None
    }
}

/// A model that is being trained.
pub trait Model {
    /// The loss of a batch while training, **summed** over the batch's [items](Self::items): a scalar that autograd can
    /// differentiate.
    ///
    /// A sum, not a mean, because sums add up exactly over micro batches and ranks of unequal size; the loop divides by the
    /// number of items in the global batch.
    ///
    /// The batch may be empty: the last one of a padded epoch is on some ranks. The loss must depend on every parameter
    /// even then, as the sum over no samples does.
    fn forward(&self, batch: &Batch) -> Result<Tensor, TaskError>;

    /// What the model says of inputs, by name, such as `logits`: without dropout, and without looking at labels.
    ///
    /// No graph is recorded where this is called.
    fn predict(&self, batch: &Batch) -> Result<Outputs, TaskError>;

    /// How good that is: the loss, and named scalars such as the number of correct answers, each summed over the batch's
    /// items. What is reported is divided by the number of items in the evaluation data.
    fn score(&self, outputs: &Outputs, batch: &Batch) -> Result<Score, TaskError>;

    /// What losses and scores of a batch are sums over. Default: its samples.
    fn items(&self, batch: &Batch) -> Result<Items, TaskError> {
        let _ = batch;
        Ok(Items::PerSample(1))
    }

    /// What an item is, where speeds are told. Default: a sample, or a thing without a name.
    fn unit(&self) -> Unit {
        Unit::Sample
    }

    /// Floating-point operations that a forward and a backward pass take for one item, without what is computed again to save
    /// memory: of matrix products and convolutions, 2 for each multiplication with an addition, and twice as many backward as
    /// forward. With the peak of the GPUs, where it is known, they make the model FLOP utilisation. Default: unknown.
    fn flops_per_item(&self) -> Option<f64> {
        None
    }

    /// The parameter that a tensor of published weights is for; none for what is to be left out. Default: the one of the same
    /// name.
    fn parameter_of(&self, published: &str) -> Option<String> {
        Some(published.to_owned())
    }

    /// How many rows of a parameter published weights hold, where the model has more of them, as padding. Default: all.
    fn published_rows(&self, parameter: &str) -> Option<i64> {
        let _ = parameter;
        None
    }
}

/// What a sum over a batch has added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Items {
    /// So many for each sample, whichever it is: 1 for a label, the length for a window of tokens.
    PerSample(u64),
    /// So many in this batch, such as tokens that are not masked. The ranks add up what they have, once a step, while the
    /// forward pass runs; so each says this of every batch, even of an empty one, or none does.
    Counted(u64),
}

/// What a model counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A sample, or anything else: speeds are told in samples.
    Sample,
    /// A token: speeds are told in tokens, too.
    Token,
}

impl Items {
    /// How many a batch of `num_samples` samples has.
    pub(crate) fn of(self, num_samples: usize) -> u64 {
        match self {
            Self::PerSample(items) => items * num_samples as u64,
            Self::Counted(items) => items,
        }
    }
}

/// What a model says, by name.
#[derive(Debug)]
pub struct Outputs(Vec<(&'static str, Tensor)>);

impl Outputs {
    /// Named tensors, whose first dimension is one per sample.
    pub fn new(outputs: impl IntoIterator<Item = (&'static str, Tensor)>) -> Self {
        Self(outputs.into_iter().collect())
    }

    /// The one called `name`.
    ///
    /// # Errors
    /// [`TaskError::Output`] where there is none.
    pub fn get(&self, name: &str) -> Result<&Tensor, TaskError> {
        let found = self.0.iter().find(|(n, _)| *n == name).map(|(_, tensor)| tensor);
        found.ok_or_else(|| TaskError::Output {
            wanted: name.to_owned(),
            found: self.0.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", "),
        })
    }
}

/// How good outputs are.
#[derive(Debug)]
pub struct Score {
    /// The loss, a scalar summed over the items.
    pub loss: Tensor,
    /// Named scalars, each summed over the items.
    pub metrics: Vec<(&'static str, Tensor)>,
}

/// What a model is built from.
#[derive(Debug)]
pub struct Setup<'a> {
    /// `model.config` of the job file.
    pub config: &'a serde_json::Value,
    /// A batch of no samples: it shows the columns of the data, their kinds and their shapes.
    pub columns: &'a Batch,
    /// Number of classes, where the data has labels; where it has tokens, as `vocab`.
    pub num_classes: Option<i64>,
    /// The vocabulary, where the data has tokens and says how many different ones there are: the largest, plus 1. Token files
    /// without an index don't say it; `lockstep data seal` writes it down.
    pub vocab: Option<i64>,
    /// Where the model computes, and where tensors belong that are no parameters. Parameters are made on the CPU, so that the seed
    /// gives the same ones on any device, and are moved.
    pub device: Device,
    /// Where buffers are made that follow what forward passes see.
    pub running: &'a Running,
}

impl Setup<'_> {
    /// `model.config` as the task's own type.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, TaskError> {
        serde_json::from_value(self.config.clone()).map_err(|e| TaskError::Config { reason: e.to_string() })
    }
}
