use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::{OnceCell, Semaphore, oneshot};

use crate::{
    Batch, CacheOptions, Column, Dataset, Error, Order, Replica, Result,
    cache::Cache,
    images::{ImageOptions, Pictures},
    mds::{ColumnSpec, Encoding, Shard, decodable},
    sampling::Sampling,
};

/// Shards that are fetched at the same time.
const FETCHES: usize = 4;

/// Open shards; beyond it those of no planned step are closed.
const MAX_OPEN: usize = 256;

/// How batches are brought.
#[derive(Debug, Clone)]
pub struct LoaderOptions {
    /// The node's cache.
    pub cache: CacheOptions,
    /// Columns of the batches.
    pub columns: Columns,
    /// Batches that wait ready. Default 2.
    pub prefetch: usize,
    /// Steps ahead whose shards are fetched. Default 64.
    pub ahead_steps: u64,
    /// The column that holds pictures, and what becomes of them; else they stay bytes. Default none.
    pub images: Option<ImageOptions>,
    /// Threads that read pictures. Default 1.
    pub threads: usize,
    /// A batch that takes longer is an error. Default 10 minutes.
    pub deadline: Duration,
}

/// Which columns are decoded. The others are passed over by their sizes, whatever they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Columns {
    /// All but those of an encoding that is never decoded. What can't be read is an error.
    #[default]
    All,
    /// These, in this order. What can't be read is an error.
    Named(Vec<String>),
    /// All that hold numbers, for a reader that doesn't say which of them it needs: one that can't be read, or whose rows
    /// differ in shape, is left out of the batch, with the reason.
    Numbers,
}

impl Columns {
    fn of(&self, dataset: &Dataset) -> Result<Vec<usize>> {
        let specs = dataset.columns();
        let find = |name: &String| {
            let column = |reason| Error::Column { name: name.clone(), reason };
            let number = specs.iter().position(|spec| spec.name == *name).ok_or_else(|| {
                let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
                column(format!("{} has no such column; it has {}", dataset.uri(), names.join(", ")))
            })?;
            match &specs[number].encoding {
                Encoding::Other { name, .. } => Err(column(format!(
                    "its encoding in {} is {name}, which Lockstep does not decode; write it in another encoding",
                    dataset.uri()
                ))),
                _ => Ok(number),
            }
        };
        match self {
            Self::All => Ok(decodable(specs)),
            Self::Named(names) => names.iter().map(find).collect(),
            Self::Numbers => Ok((0..specs.len()).filter(|n| specs[*n].encoding.is_numeric()).collect()),
        }
    }
}

impl LoaderOptions {
    /// The defaults, with all columns.
    pub fn new(cache: CacheOptions) -> Self {
        Self {
            cache,
            columns: Columns::All,
            prefetch: 2,
            ahead_steps: 64,
            images: None,
            threads: 1,
            deadline: Duration::from_secs(600),
        }
    }
}

/// The batches of one rank, made ahead by a thread of its own.
#[derive(Debug)]
pub struct Loader {
    source: Source,
    options: LoaderOptions,
    running: Option<Running>,
}

/// What a producer needs, and what a new one starts from after a jump.
#[derive(Debug, Clone)]
struct Source {
    cache: Arc<Cache>,
    wanted: Arc<[usize]>,
    /// See [`Columns::Numbers`].
    lenient: bool,
    sampling: Sampling,
    pictures: Option<Pictures>,
}

/// Fields are dropped in this order: a producer that waits to hand over goes on, sees the stop, and is joined.
#[derive(Debug)]
struct Running {
    next_step: u64,
    batches: Receiver<Result<Batch>>,
    _stop: oneshot::Sender<()>,
    _thread: Joined,
}

#[derive(Debug)]
struct Joined(Option<JoinHandle<()>>);

impl Drop for Joined {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join();
        }
    }
}

impl Loader {
    /// Training: each step's share of `replica`, without end. Nothing is fetched before the first
    /// [`batch`](Self::batch), whose step is where it begins.
    ///
    /// # Errors
    /// [`Error::BadOption`] when the global batch is not a multiple of the world size, or the order is of another
    /// dataset; [`Error::Column`] for a column that is not there; [`Error::Io`] when the cache can't be made.
    pub fn train(dataset: Dataset, order: Order, replica: Replica, options: LoaderOptions) -> Result<Self> {
        if order.num_samples() != dataset.num_samples() {
            let rule = format!("of this dataset's {} samples", dataset.num_samples());
            return Err(Error::option("order", rule, order.num_samples()));
        }
        Self::new(dataset, Sampling::elastic(order, replica)?, options)
    }

    /// Evaluation: the samples of `replica` in batches of at most `batch`, as stored. Over all ranks each sample comes
    /// exactly once; ranks may have different numbers of batches.
    ///
    /// # Errors
    /// As [`train`](Self::train).
    pub fn eval(dataset: Dataset, batch: u32, replica: Replica, options: LoaderOptions) -> Result<Self> {
        let sampling = Sampling::once(dataset.num_samples(), batch, replica)?;
        Self::new(dataset, sampling, options)
    }

    fn new(dataset: Dataset, sampling: Sampling, options: LoaderOptions) -> Result<Self> {
        let wanted = options.columns.of(&dataset)?.into();
        let lenient = options.columns == Columns::Numbers;
        let pictures = options.images.clone();
        let pictures =
            pictures.map(|images| Pictures::of(images, dataset.columns(), options.threads)).transpose()?;
        let cache = Arc::new(Cache::new(dataset, &options.cache)?);
        Ok(Self { source: Source { cache, wanted, lenient, sampling, pictures }, options, running: None })
    }

    /// A batch of no rows, with the columns that batches have; none where only a row tells the shape of one. Reads nothing.
    pub fn empty(&self) -> Option<Batch> {
        let specs = self.source.cache.dataset().columns();
        let mut columns: Vec<_> =
            self.source.wanted.iter().map(|number| Column::empty(&specs[*number])).collect();
        if let Some(pictures) = &self.source.pictures {
            pictures.shape(&mut columns);
        }
        let is_known = !columns.iter().any(Column::is_unknown);
        is_known.then(|| Batch { step: 0, samples: Vec::new(), columns, skipped: Vec::new() })
    }

    /// Number of batches, where there is an end.
    pub fn num_batches(&self) -> Option<u64> {
        self.source.sampling.num_steps()
    }

    /// The batch of a step. Steps in a row are made ahead; any other step starts anew from there, at the cost of one
    /// step. Blocking, for at most the deadline.
    ///
    /// # Errors
    /// What kept the batch from being made; asking for the same step again tries again.
    pub fn batch(&mut self, step: u64) -> Result<Batch> {
        let running = match self.running.take_if(|running| running.next_step == step) {
            Some(running) => running,
            None => {
                self.running = None;
                Running::start(self.source.clone(), step, &self.options)?
            }
        };
        let no_batch = |reason: String| Error::NoBatch { step, reason };
        let batch = match running.batches.recv_timeout(self.options.deadline) {
            Ok(batch) => batch?,
            Err(RecvTimeoutError::Timeout) => {
                return Err(no_batch(format!("not ready within {:?}", self.options.deadline)));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(no_batch(match self.num_batches() {
                    Some(end) => format!("there are only {end} batches"),
                    None => "the loader's thread ended early".into(),
                }));
            }
        };
        self.running = Some(Running { next_step: step + 1, ..running });
        Ok(batch)
    }
}

impl Running {
    fn start(source: Source, step: u64, options: &LoaderOptions) -> Result<Self> {
        let failed = |error| Error::io("start the loader for", source.cache.dataset().uri())(error);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lockstep-fetch")
            .enable_all()
            .build()
            .map_err(failed)?;
        let (to_consumer, batches) = sync_channel(options.prefetch.max(1));
        let (stop, stopped) = oneshot::channel();
        let producer = Producer {
            source: source.clone(),
            ahead: options.ahead_steps,
            planned: VecDeque::new(),
            shards: HashMap::new(),
            next_use: Arc::from([]),
        };
        let thread = thread::Builder::new()
            .name("lockstep-loader".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! { () = producer.run(step, to_consumer) => (), _ = stopped => () }
                });
                // File work that hangs must not keep the training thread.
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self { next_step: step, batches, _stop: stop, _thread: Joined(Some(thread)) })
    }
}

type Opened = Arc<OnceCell<Arc<Shard>>>;

struct Producer {
    source: Source,
    ahead: u64,
    /// Steps whose shards were asked for, the next one first; the last one may be the end.
    planned: VecDeque<Option<Vec<Option<u64>>>>,
    /// With the last planned step that needs each.
    shards: HashMap<usize, (Opened, u64)>,
    /// See [`Sampling::next_uses`].
    next_use: Arc<[u64]>,
}

impl Producer {
    async fn run(mut self, first: u64, batches: SyncSender<Result<Batch>>) {
        let permits = Arc::new(Semaphore::new(FETCHES));
        for step in first.. {
            self.look_ahead(step, &permits);
            let Some(Some(slots)) = self.planned.pop_front() else { return };
            let batch = self.assemble(step, slots).await;
            let failed = batch.is_err();
            if batches.send(batch).is_err() || failed {
                return;
            }
            if self.shards.len() > MAX_OPEN {
                self.shards.retain(|_, (_, last)| *last > step);
            }
        }
    }

    /// Plans up to `ahead` steps, and begins to fetch the shards that they bring in.
    fn look_ahead(&mut self, now: u64, permits: &Arc<Semaphore>) {
        let mut new_shards = Vec::new();
        while self.planned.len() as u64 <= self.ahead && self.planned.back() != Some(&None) {
            let step = now + self.planned.len() as u64;
            let slots = self.source.sampling.slots(step);
            for sample in slots.iter().flatten().flatten() {
                let (number, _) = self.source.cache.dataset().locate(*sample);
                let entry = self.shards.entry(number).or_insert_with(|| {
                    new_shards.push(number);
                    Default::default()
                });
                entry.1 = step;
            }
            self.planned.push_back(slots);
        }
        if !new_shards.is_empty() && self.source.cache.is_bounded() {
            let samples = self.source.cache.dataset().shard_samples();
            self.next_use = self.source.sampling.next_uses(now, &samples).into();
        }
        for number in new_shards {
            let opened = self.opened(number);
            let (cache, next_use, permits) =
                (self.source.cache.clone(), self.next_use.clone(), permits.clone());
            tokio::spawn(async move {
                let _permit = permits.acquire_owned().await;
                // A failure is met again, and told, by the batch that needs the shard.
                let _ = opened.get_or_try_init(|| open(cache, number, next_use)).await;
            });
        }
    }

    fn opened(&self, number: usize) -> Opened {
        self.shards.get(&number).map(|(opened, _)| opened.clone()).unwrap_or_default()
    }

    async fn assemble(&self, step: u64, samples: Vec<Option<u64>>) -> Result<Batch> {
        let wanted = &self.source.wanted;
        let specs: &[ColumnSpec] = self.source.cache.dataset().columns();
        let mut columns: Vec<_> = wanted.iter().map(|number| Column::empty(&specs[*number])).collect();
        for sample in &samples {
            match sample {
                Some(sample) => self.append(*sample, &mut columns).await?,
                None if columns.iter().any(Column::is_unknown) => {
                    // Only a sample knows the shape of an empty row here.
                    self.append(0, &mut columns).await?;
                    columns.iter_mut().for_each(|column| {
                        column.clear();
                        column.push_empty();
                    });
                }
                None => columns.iter_mut().for_each(Column::push_empty),
            }
        }
        let mut batch = Batch { step, samples, columns, skipped: Vec::new() };
        if let Some(pictures) = &self.source.pictures {
            let cache = &self.source.cache;
            let file = |sample| cache.uri(cache.dataset().locate(sample).0);
            pictures.read(&mut batch, self.source.sampling.epoch(step), file).await?;
        }
        Ok(batch)
    }

    async fn append(&self, sample: u64, columns: &mut [Column]) -> Result<()> {
        let cache = &self.source.cache;
        let (number, row) = cache.dataset().locate(sample);
        let opened = self.opened(number);
        let shard = opened.get_or_try_init(|| open(cache.clone(), number, self.next_use.clone())).await?;
        shard.append(row, sample, &self.source.wanted, columns, self.source.lenient)
    }
}

async fn open(cache: Arc<Cache>, number: usize, next_use: Arc<[u64]>) -> Result<Arc<Shard>> {
    cache.open(number, next_use).await.map(Arc::new)
}
