//! The job's datasets as batches of tensors: `lockstep-datasets` behind the seam of [`crate::data`].

use crate::checkpoint::Dataset;
use crate::cursor::Cursor;
use crate::data::{Data, EvalSource, Share, TrainSource};
use crate::task::Batch;
use crate::{Error, Result};
use lockstep_datasets as datasets;
use lockstep_datasets::{
    CacheOptions, Column, Loader, LoaderOptions, Order, OrderOptions, Part, Shuffle, Values,
};
use lockstep_jobspec::{self as jobspec, JobSpec};
use lockstep_run::link::Start;
use tch::{TchError, Tensor};

/// The datasets of a job, for one rank.
#[derive(Debug)]
pub(crate) struct Mds {
    train: datasets::Dataset,
    eval: Option<datasets::Dataset>,
    dataset: Dataset,
    order: Order,
    part: Part,
    eval_batch: u32,
    options: LoaderOptions,
}

/// Reads the indices of the job's datasets.
///
/// Blocking: two small objects are read.
pub(crate) fn open(job: &JobSpec, start: &Start) -> Result<Mds> {
    let data = job
        .data
        .as_ref()
        .ok_or_else(|| Error::Job { reason: "it has no data; add data.train".to_owned() })?;
    let train = open_split(&data.train)?;
    let eval = data.eval.as_ref().map(open_split).transpose()?;
    let tail = match data.tail {
        jobspec::Tail::Drop => datasets::Tail::Drop,
        jobspec::Tail::Pad => datasets::Tail::Pad,
    };
    // A block of one sample moves nothing: that is the stored order.
    let jobspec::Shuffle { block, lanes } = data.shuffle;
    let shuffle = (block > 1).then_some(Shuffle { lanes, block });
    let order_options =
        OrderOptions { seed: job.data_seed(), global_batch: job.train.global_batch, shuffle, tail };
    let dir = data.cache.dir.as_ref().map_or_else(|| start.scratch.join("datasets"), Into::into);
    let cache = CacheOptions { dir, max_bytes: Some(data.cache.size.bytes()) };
    let prefetch = data.prefetch.batches as usize;
    Ok(Mds {
        order: Order::new(order_options, &train.shard_samples())?,
        part: Part::new(start.rank.0, start.world_size)?,
        dataset: Dataset {
            uri: train.uri(),
            split: data.train.split.clone(),
            digest: train.digest().to_owned(),
        },
        eval_batch: job.eval_micro_batch(),
        options: LoaderOptions { prefetch, ..LoaderOptions::new(cache) },
        train,
        eval,
    })
}

fn open_split(split: &jobspec::Split) -> Result<datasets::Dataset> {
    let dataset = datasets::Dataset::open(&split.uri, split.split.as_deref().unwrap_or_default())?;
    match &split.digest {
        Some(wanted) if wanted != dataset.digest() => Err(Error::Job {
            reason: format!(
                "{} has digest {}, the job wants {wanted} (data digest)",
                dataset.uri(),
                dataset.digest()
            ),
        }),
        _ => Ok(dataset),
    }
}

impl Data for Mds {
    fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    fn num_samples(&self) -> u64 {
        self.train.num_samples()
    }

    fn num_classes(&self) -> Option<i64> {
        self.train.range("label").map(|range| range.max as i64 + 1)
    }

    fn empty(&self) -> Result<Batch> {
        // A row tells the shapes; columns of a variable shape say nothing about them in the index.
        let first = Part::new(0, 1)?;
        let row = Loader::eval(self.train.clone(), 1, first, self.options.clone())?.batch(0)?;
        Ok(to_tensors(row)?.narrow(0..0)?)
    }

    fn start(&self) -> Cursor {
        Cursor::before(&self.order, 0)
    }

    fn train(&self, from: &Cursor) -> Result<Box<dyn TrainSource>> {
        let index = from.index_in(&self.order)?;
        let loader = Loader::train(self.train.clone(), self.order.clone(), self.part, self.options.clone())?;
        Ok(Box::new(Train { loader, order: self.order.clone(), index }))
    }

    fn eval(&self) -> Result<Option<Box<dyn EvalSource>>> {
        let Some(eval) = &self.eval else { return Ok(None) };
        let loader = Loader::eval(eval.clone(), self.eval_batch, self.part, self.options.clone())?;
        Ok(Some(Box::new(Eval { loader })))
    }
}

/// Batch after batch of the elastic order.
#[derive(Debug)]
struct Train {
    loader: Loader,
    order: Order,
    index: u64,
}

impl TrainSource for Train {
    fn next(&mut self) -> Result<Share> {
        let batch = to_tensors(self.loader.batch(self.index)?)?;
        let (epoch, step) = self.order.epoch_of(self.index);
        let global_batch = u64::from(self.order.options().global_batch);
        let seen = ((step + 1) * global_batch).min(self.order.num_samples());
        self.index += 1;
        Ok(Share {
            batch,
            global_samples: seen - step * global_batch,
            after: Cursor::before(&self.order, self.index),
            epoch: epoch as f64 + seen as f64 / self.order.num_samples() as f64,
        })
    }
}

/// This rank's share of the evaluation data.
#[derive(Debug)]
struct Eval {
    loader: Loader,
}

impl EvalSource for Eval {
    fn batches(&mut self) -> Result<Box<dyn Iterator<Item = Result<Batch>> + '_>> {
        let num_batches = self.loader.num_batches().unwrap_or(0);
        Ok(Box::new((0..num_batches).map(|i| Ok(to_tensors(self.loader.batch(i)?)?))))
    }
}

/// Columns of numbers become tensors; others are left out. Rows that only fill up a step are dropped.
fn to_tensors(batch: datasets::Batch) -> Result<Batch, TchError> {
    let kept = rows_with_samples(&batch.samples)?;
    let mut columns = Vec::with_capacity(batch.columns.len());
    for column in &batch.columns {
        let Some(flat) = to_tensor(column)? else { continue };
        let mut shape = vec![column.rows as i64];
        shape.extend(column.shape.iter().flatten().map(|&side| side as i64));
        let all = flat.f_view(shape.as_slice())?;
        let rows = match &kept {
            Some(kept) => all.f_index_select(0, kept)?,
            None => all,
        };
        columns.push((column.name.clone(), rows));
    }
    Ok(Batch::new(columns, batch.samples.into_iter().flatten().collect()))
}

/// The rows that hold samples; none where all do.
fn rows_with_samples(samples: &[Option<u64>]) -> Result<Option<Tensor>, TchError> {
    if samples.iter().all(Option::is_some) {
        return Ok(None);
    }
    let rows = samples.iter().enumerate().filter(|(_, sample)| sample.is_some());
    Tensor::f_from_slice(&rows.map(|(row, _)| row as i64).collect::<Vec<_>>()).map(Some)
}

fn to_tensor(column: &Column) -> Result<Option<Tensor>, TchError> {
    Ok(Some(match &column.values {
        Values::U8(v) => Tensor::f_from_slice(v)?,
        Values::I8(v) => Tensor::f_from_slice(v)?,
        Values::I16(v) => Tensor::f_from_slice(v)?,
        Values::I32(v) => Tensor::f_from_slice(v)?,
        Values::I64(v) => Tensor::f_from_slice(v)?,
        Values::F32(v) => Tensor::f_from_slice(v)?,
        Values::F64(v) => Tensor::f_from_slice(v)?,
        // libtorch has few operations on these; the next wider kind holds them all.
        Values::U16(v) => Tensor::f_from_slice(&v.iter().map(|&x| i32::from(x)).collect::<Vec<_>>())?,
        Values::U32(v) => Tensor::f_from_slice(&v.iter().map(|&x| i64::from(x)).collect::<Vec<_>>())?,
        Values::U64(v) => {
            let wide: Option<Vec<i64>> = v.iter().map(|&x| x.try_into().ok()).collect();
            let Some(wide) = wide else {
                return Err(TchError::Convert(format!("column {} holds numbers above 2^63", column.name)));
            };
            Tensor::f_from_slice(&wide)?
        }
        Values::Bytes(_) | Values::Text(_) => return Ok(None),
    }))
}
