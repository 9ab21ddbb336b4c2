use tch::TchError;

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

    /// An output that the model doesn't give.
    #[error("the model gives no output `{wanted}`; it gives: {found}")]
    Output {
        /// The output.
        wanted: String,
        /// What there is.
        found: String,
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

    /// Nobody says how many tokens there are.
    #[error(
        "it is not known how many tokens there are: set model.vocab, or let `lockstep.ranges.tokens` of the dataset's index \
         say which whole numbers from 0 they are"
    )]
    NoVocabulary,

    /// A column that does not hold windows of tokens.
    #[error(
        "column `{column}` is {found}, but the model reads whole numbers [samples, T + 1]: windows of one length, each with at \
         least one token to read and one to predict"
    )]
    Windows {
        /// The column.
        column: &'static str,
        /// Its kind and shape.
        found: String,
    },

    /// Windows that are longer than the model can read.
    #[error(
        "windows of the data give {length} tokens to read, but the model reads at most {context} (model.context); raise it, or \
         make shorter windows"
    )]
    Context {
        /// What the data has.
        length: i64,
        /// What the model can read.
        context: i64,
    },

    /// A token outside the model's vocabulary.
    #[error(
        "sample {sample} has token {token} at place {place}, but the model has {vocab} tokens (0 to {}); fix the dataset or \
         model.vocab", vocab - 1
    )]
    Token {
        /// Number of the sample in the dataset.
        sample: u64,
        /// Where in its window, from 0.
        place: i64,
        /// What it says.
        token: i64,
        /// How many tokens the model has.
        vocab: i64,
    },

    /// A tensor operation failed.
    #[error(transparent)]
    Torch(#[from] TchError),

    /// The same of one that Lockstep has beside tch's.
    #[error(transparent)]
    C10d(#[from] lockstep_c10d::Error),

    /// Anything else that a task finds.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}
