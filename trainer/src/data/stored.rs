//! The job's datasets as batches of tensors: `lockstep-datasets` behind the seam of `source.rs`, whatever its formats.

use super::pictures::{self, IMAGE, Pictures};
use super::{Cursor, Data, EvalSource, Share, TrainSource};
use crate::checkpoint::Dataset;
use crate::task::Batch;
use crate::{Error, Result};
use lockstep_datasets as datasets;
use lockstep_datasets::{
    CacheOptions, Column, Columns, Contents, Identity, Loader, LoaderOptions, Order, OrderOptions, Range,
    Replica, Shuffle, Values,
};
use lockstep_job::{self as job, JobSpec};
use lockstep_run::DatasetUse;
use lockstep_run::link::Start;
use tch::{TchError, Tensor};

/// What each rank reads of files that are not those of a checkpoint, before it trains on; the rest is compared when it is
/// used.
const LOOK_BYTES: u64 = 256 << 20;

/// The columns whose largest value says how many kinds there are.
const LABEL: &str = "label";
const TOKENS: &str = "tokens";

/// The largest label or token that is one: beyond it not all whole numbers can be told apart in what the index says.
const MAX_KIND: f64 = 9_007_199_254_740_991.0;

/// The datasets of a job, for one rank.
#[derive(Debug)]
pub(super) struct Stored {
    train: datasets::Dataset,
    eval: Option<datasets::Dataset>,
    dataset: Dataset,
    uses: Vec<DatasetUse>,
    order: Order,
    replica: Replica,
    eval_batch: u32,
    options: LoaderOptions,
    pictures: Option<Pictures>,
}

/// Reads the indices of the job's datasets.
///
/// `columns` are those that the model reads, where it says so.
pub(super) fn open(
    job: &JobSpec,
    data: &job::Data,
    start: &Start,
    columns: Option<Vec<&str>>,
) -> Result<Stored> {
    let cut = Cut::of(data)?;
    let train = open_split(&data.train, cut)?;
    let eval = data.eval.as_ref().map(|split| open_split(split, cut)).transpose()?;
    let tail = match data.tail {
        job::Tail::Drop => datasets::Tail::Drop,
        job::Tail::Pad => datasets::Tail::Pad,
    };
    // A block of one sample moves nothing: that is the stored order.
    let job::Shuffle { block, lanes } = data.shuffle;
    let shuffle = (block > 1).then_some(Shuffle { lanes, block });
    let order_options =
        OrderOptions { seed: job.data_seed(), global_batch: job.train.global_batch, shuffle, tail };
    let dir = data.cache.dir.as_ref().map_or_else(|| start.scratch.join("datasets"), Into::into);
    let cache = CacheOptions { dir, max_bytes: Some(data.cache.size.bytes()) };
    let prefetch = data.prefetch.batches as usize;
    let pictures =
        data.image.as_ref().map(|image| Pictures::new(image, start.local_world_size)).transpose()?;
    let stored = |name: &str| match &data.image {
        Some(image) if name == IMAGE => image.column.clone(),
        _ => name.to_owned(),
    };
    let named = |names: Vec<&str>| Columns::Named(names.into_iter().map(stored).collect());
    let columns = columns.map_or(Columns::Numbers, named);
    Ok(Stored {
        order: Order::new(order_options, &train.shard_samples())?,
        replica: Replica::new(start.rank.0, start.world_size)?,
        dataset: recorded(&train, data.train.split.clone()),
        uses: std::iter::once(used("train", &data.train, &train))
            .chain(data.eval.as_ref().zip(eval.as_ref()).map(|(split, eval)| used("eval", split, eval)))
            .collect(),
        eval_batch: job.eval_micro_batch(),
        options: LoaderOptions {
            columns,
            prefetch,
            images: data.image.as_ref().map(|image| pictures::options(image, job.data_seed())),
            threads: pictures.as_ref().map_or(1, |pictures| pictures.threads),
            ..LoaderOptions::new(cache)
        },
        pictures,
        train,
        eval,
    })
}

/// How many kinds a column of whole numbers from 0 tells apart.
fn kinds(range: Range) -> Option<i64> {
    let whole = |value: f64| value.fract() == 0.0 && (0.0..=MAX_KIND).contains(&value);
    (whole(range.min) && whole(range.max)).then(|| range.max as i64 + 1)
}

fn used(role: &str, split: &job::Split, dataset: &datasets::Dataset) -> DatasetUse {
    let (uri, digest) = (dataset.uri(), dataset.digest().to_owned());
    DatasetUse { role: role.to_owned(), uri, split: split.split.clone(), digest }
}

/// What goes into a checkpoint.
pub(crate) fn recorded(train: &datasets::Dataset, split: Option<String>) -> Dataset {
    let Identity { index, listing, .. } = train.identity();
    let unsealed = train.is_hashed().then(|| train.unsealed_digest());
    Dataset { uri: train.uri(), split, digest: index, listing, shards: Contents::new(), unsealed }
}

/// How files become samples.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// They know their samples.
    AsStored,
    /// Each sample predicts so many tokens.
    Windows(u32),
}

impl Cut {
    fn of(data: &job::Data) -> Result<Self> {
        let bad = |reason: &str| Err(Error::Job { reason: reason.to_owned() });
        match (data.format, data.window) {
            (job::Format::Mds, _) => Ok(Self::AsStored),
            (job::Format::Tokens, Some(window)) => Ok(Self::Windows(window)),
            (job::Format::Tokens, None) => bad(
                "data.format is tokens, but data.window is missing; say how many tokens a sample predicts",
            ),
            _ => bad(
                "this worker does not know the format of its data; use the same version of Lockstep everywhere",
            ),
        }
    }
}

fn open_split(split: &job::Split, cut: Cut) -> Result<datasets::Dataset> {
    let folder = split.split.as_deref().unwrap_or_default();
    let dataset = match cut {
        Cut::AsStored => datasets::Dataset::open(&split.uri, folder)?,
        Cut::Windows(window) => datasets::Dataset::open_tokens(&split.uri, folder, window)?,
    };
    let (uri, digest) = (dataset.uri(), dataset.digest());
    let reason = match &split.digest {
        Some(wanted) if *wanted == dataset.identity().index && wanted != digest => format!(
            "the index of {uri} has the digest {wanted}, as the job wants (data digest), but holds no hashes of the files, so \
             that digest does not cover the data; run `lockstep data seal`, and use the digest that it prints"
        ),
        Some(wanted) if wanted != digest => {
            format!("{uri} has digest {digest}, but the job wants {wanted} (data digest)")
        }
        _ => return Ok(dataset),
    };
    Err(Error::Job { reason })
}

impl Data for Stored {
    fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    fn uses(&self) -> Vec<DatasetUse> {
        self.uses.clone()
    }

    fn expect(&self, shards: &Contents, look: bool) -> Result<()> {
        self.train.expect(shards)?;
        if look {
            self.train.check_expected(&self.options.cache, self.replica, LOOK_BYTES)?;
        }
        Ok(())
    }

    fn num_samples(&self) -> u64 {
        self.train.num_samples()
    }

    fn num_classes(&self) -> Option<i64> {
        match self.train.range(LABEL) {
            Some(labels) => kinds(labels),
            None => self.vocab(),
        }
    }

    fn vocab(&self) -> Option<i64> {
        kinds(self.train.range(TOKENS)?)
    }

    fn empty(&self) -> Result<Batch> {
        let first = Replica::new(0, 1)?;
        let mut loader = Loader::eval(self.train.clone(), 1, first, self.options.clone())?;
        // Columns of a variable shape say nothing about it in the index; then a row does.
        let row = loader.empty().map_or_else(|| loader.batch(0), Ok)?;
        Ok(to_tensors(row, self.pictures.as_ref())?.narrow(0..0)?)
    }

    fn start(&self) -> Cursor {
        Cursor::before(&self.order, 0)
    }

    fn train(&self, from: &Cursor) -> Result<Box<dyn TrainSource>> {
        let index = from.index_in(&self.order)?;
        let loader =
            Loader::train(self.train.clone(), self.order.clone(), self.replica, self.options.clone())?;
        let (dataset, order, pictures) = (self.train.clone(), self.order.clone(), self.pictures.clone());
        Ok(Box::new(Train { dataset, loader, order, index, pictures }))
    }

    fn eval(&self) -> Result<Option<Box<dyn EvalSource>>> {
        let Some(eval) = &self.eval else { return Ok(None) };
        let loader = Loader::eval(eval.clone(), self.eval_batch, self.replica, self.options.clone())?;
        Ok(Some(Box::new(Eval { loader, pictures: self.pictures.clone() })))
    }
}

/// Batch after batch of the elastic order.
#[derive(Debug)]
struct Train {
    dataset: datasets::Dataset,
    loader: Loader,
    order: Order,
    index: u64,
    pictures: Option<Pictures>,
}

impl TrainSource for Train {
    fn next(&mut self) -> Result<Share> {
        let mut read = self.loader.batch(self.index)?;
        let skipped = std::mem::take(&mut read.skipped);
        let batch = to_tensors(read, self.pictures.as_ref())?;
        let (epoch, step) = self.order.epoch_of(self.index);
        let global_batch = u64::from(self.order.options().global_batch);
        let seen = ((step + 1) * global_batch).min(self.order.num_samples());
        self.index += 1;
        Ok(Share {
            batch,
            skipped,
            global_samples: seen - step * global_batch,
            after: Cursor::before(&self.order, self.index),
            epoch: epoch as f64 + seen as f64 / self.order.num_samples() as f64,
        })
    }

    fn contents(&self) -> Vec<Option<u128>> {
        let known = self.dataset.contents();
        let number = |shard| u128::from_str_radix(known.get(&(shard as u32))?, 16).ok();
        (0..self.dataset.shard_samples().len()).map(number).collect()
    }
}

/// This rank's share of the evaluation data.
#[derive(Debug)]
struct Eval {
    loader: Loader,
    pictures: Option<Pictures>,
}

impl EvalSource for Eval {
    fn batches(&mut self) -> Result<Box<dyn Iterator<Item = Result<Batch>> + '_>> {
        let num_batches = self.loader.num_batches().unwrap_or(0);
        let batch = |i| {
            let read = self.loader.batch(i)?;
            read.skipped.iter().for_each(|reason| tracing::warn!("{reason}; evaluation leaves it out"));
            Ok(to_tensors(read, self.pictures.as_ref())?)
        };
        Ok(Box::new((0..num_batches).map(batch)))
    }
}

/// Columns of numbers become tensors; of others the batch says why not. Rows that only fill up a step are dropped.
fn to_tensors(batch: datasets::Batch, pictures: Option<&Pictures>) -> Result<Batch, TchError> {
    let kept = rows_with_samples(&batch.samples)?;
    let mut columns = Vec::with_capacity(batch.columns.len());
    let mut unreadable = Vec::new();
    for column in &batch.columns {
        let flat = match &column.flaw {
            Some(flaw) => Err(flaw.clone()),
            None => to_tensor(column)?.ok_or_else(|| "it holds text or bytes, not numbers".to_owned()),
        };
        let flat = match flat {
            Ok(flat) => flat,
            Err(reason) => {
                unreadable.push((column.name.clone(), reason));
                continue;
            }
        };
        let mut shape = vec![column.rows as i64];
        shape.extend(column.shape.iter().flatten().map(|&side| side as i64));
        let all = flat.f_view(shape.as_slice())?;
        let rows = match &kept {
            Some(kept) => all.f_index_select(0, kept)?,
            None => all,
        };
        columns.push(match pictures.filter(|pictures| pictures.column == column.name) {
            Some(pictures) => (IMAGE.to_owned(), pictures.normalised(&rows)?),
            None => (column.name.clone(), rows),
        });
    }
    Ok(Batch::new(columns, batch.samples.into_iter().flatten().collect()).with_unreadable(unreadable))
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

#[cfg(test)]
mod tokens;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskError;

    #[test]
    fn whole_numbers_from_0_have_so_many_kinds() {
        let kinds = |min, max| kinds(Range { min, max });
        assert_eq!((kinds(0.0, 255.0), kinds(3.0, 9.0), kinds(0.0, 0.0)), (Some(256), Some(10), Some(1)));
        assert_eq!((kinds(-1.0, 9.0), kinds(0.0, 1.5), kinds(0.0, 1e300)), (None, None, None));
    }

    #[test]
    fn a_column_that_could_not_be_read_is_told_to_who_asks_for_it() {
        let column = |name: &str, values, flaw: Option<&str>| Column {
            name: name.into(),
            shape: Some(Vec::new()),
            rows: 2,
            values,
            flaw: flaw.map(str::to_owned),
        };
        let columns = vec![
            column("x", Values::U8(vec![1, 2]), None),
            column("boxes", Values::F32(Vec::new()), Some("sample 7: expected shape [1, 4], got [2, 4]")),
            column("note", Values::Text(vec!["a".into(), "b".into()]), None),
        ];
        let samples = vec![Some(6), Some(7)];
        let batch = datasets::Batch { step: 0, samples, columns, skipped: Vec::new() };
        let batch = to_tensors(batch, None).unwrap();
        assert_eq!(batch.column("x").unwrap().size(), [2]);
        // A part of it says the same.
        for batch in [&batch, &batch.narrow(0..1).unwrap()] {
            let told = |name| match batch.column(name) {
                Err(TaskError::Unreadable { reason, .. }) => reason,
                other => panic!("{other:?}"),
            };
            assert!(told("boxes").contains("sample 7"));
            assert!(told("note").contains("not numbers"));
            assert!(matches!(batch.column("y"), Err(TaskError::Column { .. })));
        }
    }
}
