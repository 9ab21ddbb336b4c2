//! A dataset that is a pure function: noisy points around one centre for each class.

use lockstep_datasets::{Contents, Order, OrderOptions, Replica, Shuffle, Tail};
use lockstep_job::{self as job, JobSpec};
use lockstep_trainer::{Batch, Cursor, Data, Dataset, Error, EvalSource, Result, Share, TrainSource};
use std::sync::Arc;
use std::time::Duration;
use tch::{Kind, Tensor};

pub const NUM_INPUTS: usize = 64;
pub const NUM_CLASSES: i64 = 10;
/// Tokens that a window gives to read.
pub const LENGTH: i64 = 16;
/// Tokens are below this.
pub const VOCAB: i64 = 60;

/// Where a rank may be lost, see [`Blobs::lost`].
pub const EVALUATION: u64 = u64::MAX;

/// Some classes of points. Clone it for each rank.
#[derive(Clone)]
pub struct Blobs {
    pub num_train: u64,
    pub num_eval: u64,
    /// Changes the labels of single samples.
    pub label: Arc<dyn Fn(u64) -> i64 + Send + Sync>,
    /// Samples that can't be read, and are left out.
    pub is_bad: fn(u64) -> bool,
    /// How long each rank waits for a batch.
    pub delay: fn(u32) -> Duration,
    /// A rank, and the how manieth of the batches that it asks for ends it; or an [`EVALUATION`].
    pub lost: Option<(u32, u64)>,
    /// What each rank sees of files.
    pub seen: Arc<dyn Fn(u32) -> Seen + Send + Sync>,
}

/// What there is to see of files whose index has no hashes; nothing, where it has.
#[derive(Clone, Default)]
pub struct Seen {
    pub listing: Option<String>,
    /// Of each shard, where the rank has read it.
    pub contents: Vec<Option<u128>>,
}

impl Default for Blobs {
    fn default() -> Self {
        Self {
            num_train: 160,
            num_eval: 0,
            label: Arc::new(|sample| sample as i64 % NUM_CLASSES),
            is_bad: |_| false,
            delay: |_| Duration::ZERO,
            lost: None,
            seen: Arc::new(|_| Seen::default()),
        }
    }
}

impl Blobs {
    /// What one rank sees.
    pub fn rank(&self, rank: u32, job: &JobSpec) -> RankBlobs {
        let digest = format!("blobs-{}", self.num_train);
        let seen = (self.seen)(rank);
        let dataset = Dataset { uri: "memory".into(), digest, listing: seen.listing, ..Dataset::default() };
        let tail = match job.data.as_ref().unwrap().tail {
            job::Tail::Drop => Tail::Drop,
            job::Tail::Pad => Tail::Pad,
        };
        let shuffle = Some(Shuffle { lanes: 4, block: 16 });
        let options =
            OrderOptions { seed: job.data_seed(), global_batch: job.train.global_batch, shuffle, tail };
        let order = Order::new(options, &[self.num_train]).unwrap();
        let replica = Replica::new(rank, job.world_size()).unwrap();
        RankBlobs { blobs: self.clone(), dataset, order, replica, job: job.clone() }
    }

    /// The samples as a batch.
    ///
    /// Shapes: x `[n, 64]` u8, image `[n, 1, 8, 8]` f32 between 0 and 1 with the same content, label `[n]` i64,
    /// tokens `[n, 17]` i32
    pub fn batch(&self, samples: Vec<u64>) -> Batch {
        let mut images = Vec::with_capacity(samples.len() * NUM_INPUTS);
        let mut labels = Vec::with_capacity(samples.len());
        for &sample in &samples {
            labels.push((self.label)(sample));
            images.extend(image(sample));
        }
        let shape = [samples.len() as i64, NUM_INPUTS as i64];
        let image = Tensor::f_from_data_size(&images, &shape, Kind::Uint8).unwrap();
        let square = (image.to_kind(Kind::Float) / 95.0).view([-1, 1, 8, 8]);
        let label = Tensor::from_slice(&labels);
        let columns = [("x", image), ("image", square), ("label", label), ("tokens", windows(&samples))];
        Batch::new(columns.map(|(name, tensor)| (name.to_owned(), tensor)).into(), samples)
    }
}

/// Each window counts on from somewhere, in steps of 1, 2 or 3, and starts over at 60.
pub fn windows(samples: &[u64]) -> Tensor {
    let window = |sample: &u64| {
        let (from, by) = (*sample as i64 * 7, 1 + *sample as i64 % 3);
        (0..=LENGTH).map(move |place| ((from + by * place) % VOCAB) as i32)
    };
    let tokens: Vec<i32> = samples.iter().flat_map(window).collect();
    Tensor::from_slice(&tokens).view([samples.len() as i64, LENGTH + 1])
}

/// Pixels from 0 to 95: the class's centre and noise.
fn image(sample: u64) -> [u8; NUM_INPUTS] {
    let bytes = |seed: u64, domain: u8| {
        let mut bytes = [0; NUM_INPUTS];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(&[domain]).finalize_xof().fill(&mut bytes);
        bytes
    };
    let (centre, noise) = (bytes(sample % NUM_CLASSES as u64, 0), bytes(sample, 1));
    std::array::from_fn(|i| centre[i] / 4 + noise[i] / 8)
}

pub struct RankBlobs {
    blobs: Blobs,
    dataset: Dataset,
    order: Order,
    replica: Replica,
    job: JobSpec,
}

impl Data for RankBlobs {
    fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    fn expect(&self, shards: &Contents, _: bool) -> Result<()> {
        let seen = (self.blobs.seen)(self.replica.rank()).contents;
        for (shard, expected) in shards {
            let got = seen.get(*shard as usize).copied().flatten().map(|hash| format!("{hash:032x}"));
            if let Some(got) = got.filter(|got| got != expected) {
                let (file, algorithm) = (format!("shard {shard}"), "xxh3_128".into());
                let expected = expected.clone();
                return Err(lockstep_datasets::Error::Replaced { file, algorithm, expected, got }.into());
            }
        }
        Ok(())
    }

    fn num_samples(&self) -> u64 {
        self.blobs.num_train
    }

    fn num_classes(&self) -> Option<i64> {
        Some(NUM_CLASSES)
    }

    fn empty(&self) -> Result<Batch> {
        Ok(self.blobs.batch(Vec::new()))
    }

    fn start(&self) -> Cursor {
        Cursor::before(&self.order, 0)
    }

    fn train(&self, from: &Cursor) -> Result<Box<dyn TrainSource>> {
        let index = from.index_in(&self.order)?;
        Ok(Box::new(Train {
            blobs: self.blobs.clone(),
            order: self.order.clone(),
            replica: self.replica,
            index,
            first: index,
        }))
    }

    fn eval(&self) -> Result<Option<Box<dyn EvalSource>>> {
        let has_eval = self.job.data.as_ref().is_some_and(|data| data.eval.is_some());
        let eval =
            Eval { blobs: self.blobs.clone(), replica: self.replica, size: self.job.eval_micro_batch() };
        Ok(has_eval.then(|| Box::new(eval) as Box<dyn EvalSource>))
    }
}

struct Train {
    blobs: Blobs,
    order: Order,
    replica: Replica,
    index: u64,
    first: u64,
}

impl TrainSource for Train {
    fn next(&mut self) -> Result<Share> {
        std::thread::sleep((self.blobs.delay)(self.replica.rank()));
        if self.blobs.lost == Some((self.replica.rank(), self.index - self.first + 1)) {
            return Err(Error::Panic { message: "lost on purpose".into() });
        }
        let (epoch, step) = self.order.epoch_of(self.index);
        let all = self.order.epoch(epoch).slots(step, self.replica).into_iter().flatten();
        let (bad, samples): (Vec<u64>, Vec<u64>) = all.partition(|sample| (self.blobs.is_bad)(*sample));
        let global_batch = u64::from(self.order.options().global_batch);
        let seen = ((step + 1) * global_batch).min(self.blobs.num_train);
        self.index += 1;
        Ok(Share {
            batch: self.blobs.batch(samples),
            skipped: bad.iter().map(|sample| format!("sample {sample} can't be read")).collect(),
            global_samples: seen - step * global_batch,
            after: Cursor::before(&self.order, self.index),
            epoch: epoch as f64 + seen as f64 / self.blobs.num_train as f64,
        })
    }

    fn contents(&self) -> Vec<Option<u128>> {
        (self.blobs.seen)(self.replica.rank()).contents
    }
}

struct Eval {
    blobs: Blobs,
    replica: Replica,
    size: u32,
}

impl EvalSource for Eval {
    fn batches(&mut self) -> Result<Box<dyn Iterator<Item = Result<Batch>> + '_>> {
        if self.blobs.lost == Some((self.replica.rank(), EVALUATION)) {
            return Err(Error::Panic { message: "lost on purpose".into() });
        }
        let first = self.blobs.num_train;
        let all = first + u64::from(self.replica.rank())..first + self.blobs.num_eval;
        let mine: Vec<u64> = all.step_by(self.replica.world_size() as usize).collect();
        let batches: Vec<_> =
            mine.chunks(self.size as usize).map(|samples| Ok(self.blobs.batch(samples.to_vec()))).collect();
        Ok(Box::new(batches.into_iter()))
    }
}
