use super::TaskError;
use lockstep_c10d::to_device;
use std::ops::Range;
use tch::{Device, Kind, TchError, Tensor};

/// Samples for one forward pass, as columns.
#[derive(Debug)]
pub struct Batch {
    columns: Vec<(String, Tensor)>,
    /// The same on the CPU, where they were moved from there.
    on_host: Option<Vec<(String, Tensor)>>,
    /// Columns that could not be read, and why.
    unreadable: Vec<(String, String)>,
    samples: Vec<u64>,
}

impl Batch {
    /// A batch of the samples with these numbers in the dataset. The first dimension of each column is one per sample.
    pub fn new(columns: Vec<(String, Tensor)>, samples: Vec<u64>) -> Self {
        Self { columns, on_host: None, unreadable: Vec::new(), samples }
    }

    /// The same with columns that can't be read, each with the reason, which is told to whoever asks for one.
    pub(crate) fn with_unreadable(self, unreadable: Vec<(String, String)>) -> Self {
        Self { unreadable, ..self }
    }

    /// A column.
    ///
    /// Shapes: `[len, ...]`, of the kind that the dataset stores; images of bytes come as [`Kind::Uint8`].
    pub fn column(&self, name: &str) -> Result<&Tensor, TaskError> {
        self.find(&self.columns, name)
    }

    /// The same column on the CPU, whose numbers can be read without a wait for the device.
    pub fn on_host(&self, name: &str) -> Result<&Tensor, TaskError> {
        self.find(self.on_host.as_ref().unwrap_or(&self.columns), name)
    }

    fn find<'b>(&self, columns: &'b [(String, Tensor)], name: &str) -> Result<&'b Tensor, TaskError> {
        let found = columns.iter().find(|(n, _)| n == name).map(|(_, t)| t);
        found.ok_or_else(|| match self.unreadable.iter().find(|(n, _)| n == name) {
            Some((_, reason)) => TaskError::Unreadable { column: name.to_owned(), reason: reason.clone() },
            None => TaskError::Column {
                wanted: name.to_owned(),
                found: self.columns.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", "),
            },
        })
    }

    /// The same samples where the model is; none where they are there already, on the CPU.
    pub(crate) fn moved_to(&self, device: Device) -> crate::Result<Option<Batch>> {
        if device == Device::Cpu { Ok(None) } else { self.to_device(device).map(Some) }
    }

    /// A copy of the columns on a device, beside those on the CPU. Doesn't wait for it.
    pub(crate) fn to_device(&self, device: Device) -> crate::Result<Batch> {
        let moved = map(&self.columns, |t| to_device(t, device))?;
        let on_host = Some(map(&self.columns, |t| Ok::<_, TchError>(t.shallow_clone()))?);
        let (unreadable, samples) = (self.unreadable.clone(), self.samples.clone());
        Ok(Batch { columns: moved, on_host, unreadable, samples })
    }

    /// Whether the columns are on another device than the one that they came from.
    pub(crate) fn is_moved(&self) -> bool {
        self.on_host.is_some()
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
        Ok(Batch {
            columns: map(&self.columns, narrow)?,
            on_host: self.on_host.as_ref().map(|columns| map(columns, narrow)).transpose()?,
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
        let labels = Vec::<i64>::try_from(&self.on_host(column)?.f_to_kind(Kind::Int64)?.f_flatten(0, -1)?)?;
        match self.samples.iter().zip(labels).find(|(_, label)| !(0..num_classes).contains(label)) {
            Some((&sample, label)) => Err(TaskError::Label { sample, label, num_classes }),
            None => Ok(()),
        }
    }
}

fn map<E>(
    columns: &[(String, Tensor)],
    f: impl Fn(&Tensor) -> Result<Tensor, E>,
) -> Result<Vec<(String, Tensor)>, E> {
    columns.iter().map(|(name, tensor)| Ok((name.clone(), f(tensor)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_was_moved_is_still_read_on_the_host_part_by_part() {
        let batch =
            Batch::new(vec![("label".to_owned(), Tensor::from_slice(&[1i64, 2, 7]))], vec![10, 11, 12]);
        assert!(batch.moved_to(Device::Cpu).unwrap().is_none() && !batch.is_moved());
        // To the same device, as there is no other here: what is computed with is another tensor then.
        let mut moved = batch.to_device(Device::Cpu).unwrap();
        moved.columns[0].1 = Tensor::zeros([3], (Kind::Int64, Device::Cpu));
        assert!(moved.is_moved());
        let parts = moved.split(2, 2).unwrap();
        assert_eq!(Vec::<i64>::try_from(parts[1].on_host("label").unwrap()).unwrap(), [7]);
        assert_eq!(Vec::<i64>::try_from(parts[1].column("label").unwrap()).unwrap(), [0]);
        let bad = parts[1].check_labels("label", 7).unwrap_err();
        assert!(matches!(bad, TaskError::Label { sample: 12, label: 7, .. }), "{bad}");
        assert!(moved.on_host("labels").is_err());
    }
}
