//! What a user writes: the model, its loss and its metrics. Everything else of a training run is the library's.

use serde::de::DeserializeOwned;
use std::ops::Range;
use tch::{Device, Kind, TchError, Tensor, nn};

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
    /// Computes the loss of a batch, and in [`Mode::Eval`] its metrics.
    ///
    /// The batch may be empty: the last one of a padded epoch is on some ranks. The loss must depend on every parameter
    /// even then, as the sum over no samples does.
    fn forward(&self, batch: &Batch, mode: Mode) -> Result<Output, TaskError>;
}

/// What the forward pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Gradients will be taken; dropout is on.
    Train,
    /// Only numbers are wanted; dropout is off and no graph is recorded.
    Eval,
}

/// What one forward pass gives.
#[derive(Debug)]
pub struct Output {
    /// The loss **summed** over the samples of the batch, a scalar that autograd can differentiate.
    ///
    /// A sum, not a mean, because sums add up exactly over micro batches and ranks of unequal size; the loop divides by
    /// the number of samples in the global batch.
    pub loss: Tensor,
    /// Named scalars summed over the samples, such as the number of correct answers; reported divided by the number of
    /// samples. Left empty while training, where nobody looks at them.
    pub metrics: Vec<(&'static str, Tensor)>,
}

/// What a model is built from.
#[derive(Debug)]
pub struct Setup<'a> {
    /// `model.config` of the job file.
    pub config: &'a serde_json::Value,
    /// A batch of no samples: it shows the columns of the data, their kinds and their shapes.
    pub columns: &'a Batch,
    /// Number of classes, where the data has labels.
    pub num_classes: Option<i64>,
    /// Where parameters live.
    pub device: Device,
}

impl Setup<'_> {
    /// `model.config` as the task's own type.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, TaskError> {
        serde_json::from_value(self.config.clone()).map_err(|e| TaskError::Config { reason: e.to_string() })
    }
}

/// Samples for one forward pass, as columns.
#[derive(Debug)]
pub struct Batch {
    columns: Vec<(String, Tensor)>,
    /// Columns that could not be read, and why.
    unreadable: Vec<(String, String)>,
    samples: Vec<u64>,
}

impl Batch {
    /// A batch of the samples with these numbers in the dataset. The first dimension of each column is one per sample.
    pub fn new(columns: Vec<(String, Tensor)>, samples: Vec<u64>) -> Self {
        Self { columns, unreadable: Vec::new(), samples }
    }

    /// The same with columns that can't be read, each with the reason, which is told to whoever asks for one.
    pub(crate) fn with_unreadable(self, unreadable: Vec<(String, String)>) -> Self {
        Self { unreadable, ..self }
    }

    /// A column.
    ///
    /// Shapes: `[len, ...]`, of the kind that the dataset stores; images of bytes come as [`Kind::Uint8`].
    pub fn column(&self, name: &str) -> Result<&Tensor, TaskError> {
        let found = self.columns.iter().find(|(n, _)| n == name).map(|(_, t)| t);
        found.ok_or_else(|| match self.unreadable.iter().find(|(n, _)| n == name) {
            Some((_, reason)) => TaskError::Unreadable { column: name.to_owned(), reason: reason.clone() },
            None => TaskError::Column {
                wanted: name.to_owned(),
                found: self.columns.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", "),
            },
        })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// True where the batch has no samples.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Cuts the batch into `num` micro batches of `size` samples each; where samples are missing at the end, the last ones
    /// are smaller or empty.
    pub(crate) fn split(&self, size: u32, num: u32) -> Result<Vec<Batch>, TchError> {
        let end = self.len();
        let bound = |i: u32| (i as usize * size as usize).min(end);
        (0..num).map(|i| self.narrow(bound(i)..bound(i + 1))).collect()
    }

    /// The samples of a range of places in this batch. Columns are views of the same memory.
    pub(crate) fn narrow(&self, range: Range<usize>) -> Result<Batch, TchError> {
        let narrow = |t: &Tensor| t.f_narrow(0, range.start as i64, range.len() as i64);
        let columns = self
            .columns
            .iter()
            .map(|(name, t)| Ok((name.clone(), narrow(t)?)))
            .collect::<Result<_, TchError>>()?;
        Ok(Batch {
            columns,
            unreadable: self.unreadable.clone(),
            samples: self.samples[range.clone()].to_vec(),
        })
    }

    /// The number in the dataset of each sample, for messages.
    pub fn samples(&self) -> &[u64] {
        &self.samples
    }

    /// Checks labels after a loss function refused them: names the first that isn't in `0..num_classes`.
    pub fn check_labels(&self, column: &str, num_classes: i64) -> Result<(), TaskError> {
        let labels = Vec::<i64>::try_from(&self.column(column)?.f_to_kind(Kind::Int64)?.f_flatten(0, -1)?)?;
        match self.samples.iter().zip(labels).find(|(_, label)| !(0..num_classes).contains(label)) {
            Some((&sample, label)) => Err(TaskError::Label { sample, label, num_classes }),
            None => Ok(()),
        }
    }
}

/// Why a task can't be built or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// `model.config` of the job file doesn't fit the task.
    #[error("model.config does not fit this task: {reason}")]
    Config {
        /// What serde says.
        reason: String,
    },

    /// The dataset lacks a column that the task reads.
    #[error("the dataset has no column `{wanted}`; it has: {found}")]
    Column {
        /// The column.
        wanted: String,
        /// What there is.
        found: String,
    },

    /// A column that the task reads can't be made a tensor.
    #[error("column `{column}` can't be read: {reason}")]
    Unreadable {
        /// The column.
        column: String,
        /// What is in the way, with the sample.
        reason: String,
    },

    /// A classifier needs labels.
    #[error(
        "the dataset has no labels, so there are no classes to tell apart: `lockstep.ranges.label` of its index must say which \
         whole numbers from 0 they are"
    )]
    NoClasses,

    /// More classes than a classifier is built for.
    #[error(
        "labels go up to {}, which makes {num_classes} classes, but a model has at most {most}; number the labels from 0 \
         without gaps, or correct `lockstep.ranges.label` in the dataset's index", num_classes - 1
    )]
    TooManyClasses {
        /// What the dataset says.
        num_classes: i64,
        /// The bound.
        most: i64,
    },

    /// A label outside the model's classes.
    #[error(
        "sample {sample} has label {label}, but the model has {num_classes} classes (0 to {}); \
         fix the dataset or the number of classes", num_classes - 1
    )]
    Label {
        /// Number of the sample in the dataset.
        sample: u64,
        /// What it says.
        label: i64,
        /// What the model can tell apart.
        num_classes: i64,
    },

    /// A tensor operation failed.
    #[error(transparent)]
    Torch(#[from] TchError),

    /// Anything else that a task finds.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}
