use super::{BadSamples, ImageOptions, kind_of, replace, taken};
use crate::batch::Column;
use crate::mds::{ColumnSpec, Flaw, ImageKind};
use crate::{Batch, Error, Result};
use bytes::Bytes;
use std::sync::Arc;

/// Reads the pictures of whole batches, on a few threads.
#[derive(Debug, Clone)]
pub(crate) struct Pictures {
    options: Arc<ImageOptions>,
    kind: ImageKind,
    threads: usize,
}

impl Pictures {
    /// For a dataset with these columns.
    pub(crate) fn of(options: ImageOptions, specs: &[ColumnSpec], threads: usize) -> Result<Self> {
        let column = |reason| Error::Column { name: options.column.clone(), reason };
        let spec = specs.iter().find(|spec| spec.name == options.column).ok_or_else(|| {
            let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
            column(format!("there is no such column; the dataset has {}", names.join(", ")))
        })?;
        let kind = kind_of(&spec.encoding).ok_or_else(|| {
            column(format!("data.image wants pictures (jpeg, png or pil), but it is {}", spec.encoding))
        })?;
        Ok(Self { options: Arc::new(options), kind, threads: threads.max(1) })
    }

    /// Gives the column of pictures the shape of what becomes of them.
    pub(crate) fn shape(&self, columns: &mut [Column]) {
        if let Some(column) = columns.iter_mut().find(|column| column.name == self.options.column) {
            replace(column, self.options.shape(), Vec::new());
        }
    }

    /// Makes the batch's pictures numbers, in place. `epoch` is that of a step of training; `file` names a sample's shard.
    pub(crate) async fn read(
        &self,
        batch: &mut Batch,
        epoch: Option<u64>,
        file: impl Fn(u64) -> String,
    ) -> Result<()> {
        let name = &self.options.column;
        let Some(column) = batch.columns.iter_mut().find(|column| column.name == *name) else {
            return Ok(());
        };
        let mut work: Vec<(u64, Bytes)> = Vec::new();
        for (sample, picture) in batch.samples.iter().zip(taken(column)) {
            work.extend(sample.map(|sample| (sample, picture)));
        }
        let mut read = self.read_all(work, epoch).await?.into_iter();
        let mut pictures = Vec::with_capacity(batch.samples.len());
        for row in &mut batch.samples {
            let Some(sample) = *row else {
                pictures.push(None);
                continue;
            };
            match read.next() {
                Some(Ok(picture)) => pictures.push(Some(picture)),
                Some(Err(flaw)) => {
                    let flaw = Box::new(flaw.in_column(name));
                    let error = Error::Sample { file: file(sample), sample, flaw };
                    if self.options.bad == BadSamples::Fail {
                        return Err(error);
                    }
                    batch.skipped.push(error.to_string());
                    *row = None;
                    pictures.push(None);
                }
                None => pictures.push(None),
            }
        }
        replace(column, self.options.shape(), pictures);
        Ok(())
    }

    /// In the order of `work`, each thread a run of it.
    async fn read_all(
        &self,
        work: Vec<(u64, Bytes)>,
        epoch: Option<u64>,
    ) -> Result<Vec<Result<Vec<u8>, Flaw>>> {
        let run = work.len().div_ceil(self.threads).max(1);
        let mut threads = Vec::new();
        for part in work.chunks(run) {
            let (part, options, kind) = (part.to_vec(), Arc::clone(&self.options), self.kind);
            threads.push(tokio::task::spawn_blocking(move || {
                let read = |(sample, picture): &(u64, Bytes)| options.read(kind, picture, epoch, *sample);
                part.iter().map(read).collect::<Vec<_>>()
            }));
        }
        let mut all = Vec::with_capacity(work.len());
        for thread in threads {
            let gone =
                |error| Error::io("read pictures of", &self.options.column)(std::io::Error::other(error));
            all.extend(thread.await.map_err(gone)?);
        }
        Ok(all)
    }
}
