use super::TaskError;
use std::ops::Range;
use tch::{Device, Kind, TchError, Tensor};

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

    /// The same samples where the model is. What is there already is not copied.
    pub(crate) fn to_device(&self, device: Device) -> Result<Batch, TchError> {
        let columns = self.columns.iter().map(|(name, t)| Ok((name.clone(), t.f_to_device(device)?)));
        let columns = columns.collect::<Result<_, TchError>>()?;
        Ok(Batch { columns, unreadable: self.unreadable.clone(), samples: self.samples.clone() })
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
