use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use lockstep_datasets::{
    Batch, CacheOptions, ColumnSpec, Dataset, Error, Loader, LoaderOptions, Order, OrderOptions, Replica,
    Shuffle, Tail, Value, Writer, WriterOptions,
};
use lockstep_storage::{Created, Meta, Storage, open};
use serde_json::Value as Json;

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A URI that no other test uses.
pub(crate) fn fresh() -> String {
    format!("memory://test-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn spec(name: &str, encoding: &str) -> ColumnSpec {
    ColumnSpec { name: name.into(), encoding: encoding.parse().unwrap() }
}

/// Runs storage calls from a plain test.
pub(crate) fn wait<T>(call: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(call)
}

/// As MDSWriter writes by default: nothing but sizes in the index.
pub(crate) fn without_hashes() -> WriterOptions {
    WriterOptions { hashes: Vec::new(), ..small_shards() }
}

/// Adds 1 to the number of each sample of a shard of [`numbers`]: another content of the same size.
pub(crate) fn relabel(uri: &str, file: &str) {
    edit_file(uri, file, |body| {
        let samples = u32::from_le_bytes(body[..4].try_into().unwrap()) as usize;
        for sample in 0..samples {
            let at = 4 + 4 * sample;
            let begin = u32::from_le_bytes(body[at..at + 4].try_into().unwrap()) as usize;
            // After the size of the text.
            body[begin + 4] += 1;
        }
    });
}

/// The numbers that the stored order brings.
pub(crate) fn all_numbers(dataset: &Dataset, cache: &std::path::Path) -> Result<Vec<i64>, Error> {
    let whole = dataset.num_samples() as u32;
    let mut loader = Loader::eval(dataset.clone(), whole, Replica::new(0, 1).unwrap(), cached_in(cache))?;
    loader.batch(0)?.column("n")?.to_i64()
}

/// Numbers 0..samples in a column `n`, a name for each in `s`; small shards.
pub(crate) fn numbers(uri: &str, samples: i64, options: WriterOptions) {
    let columns = vec![spec("n", "int"), spec("s", "str")];
    let mut writer = Writer::create(uri, "", columns, options).unwrap();
    for number in 0..samples {
        writer.write(&[Value::Int(number), Value::Text(&format!("sample {number}"))]).unwrap();
    }
    writer.finish().unwrap();
}

pub(crate) fn small_shards() -> WriterOptions {
    WriterOptions { shard_bytes: 600, ..WriterOptions::default() }
}

pub(crate) fn edit_index(uri: &str, edit: impl FnOnce(&mut Json)) {
    let storage = open(uri).unwrap();
    wait(async {
        let mut index = serde_json::from_slice(&storage.get("index.json").await.unwrap()).unwrap();
        edit(&mut index);
        storage.put("index.json", serde_json::to_vec(&index).unwrap().into()).await.unwrap();
    });
}

pub(crate) fn edit_file(uri: &str, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
    let storage = open(uri).unwrap();
    wait(async {
        let mut body = storage.get(name).await.unwrap().to_vec();
        edit(&mut body);
        storage.put(name, body.into()).await.unwrap();
    });
}

pub(crate) fn put(uri: &str, name: &str, body: &[u8]) {
    let storage = open(uri).unwrap();
    wait(async { storage.put(name, body.to_vec().into()).await.unwrap() });
}

pub(crate) fn order(dataset: &Dataset, global_batch: u32) -> Order {
    let shuffle = Some(Shuffle { lanes: 3, block: 16 });
    let options = OrderOptions { seed: 5, global_batch, shuffle, tail: Tail::Drop };
    Order::new(options, &dataset.shard_samples()).unwrap()
}

pub(crate) fn cached_in(dir: &std::path::Path) -> LoaderOptions {
    LoaderOptions::new(CacheOptions { dir: dir.to_owned(), max_bytes: None })
}

pub(crate) fn train(dataset: &Dataset, global_batch: u32, options: LoaderOptions) -> Loader {
    let order = order(dataset, global_batch);
    Loader::train(dataset.clone(), order, Replica::new(0, 1).unwrap(), options).unwrap()
}

/// Each row of a batch of [`numbers`] is the sample that it says it is.
pub(crate) fn check_numbers(batch: &Batch) {
    let numbers = batch.column("n").unwrap().to_i64().unwrap();
    let samples: Vec<i64> = batch.samples.iter().map(|sample| sample.unwrap() as i64).collect();
    assert_eq!(numbers, samples);
}

/// Counts what is read, by path.
#[derive(Debug)]
pub(crate) struct Counting {
    inner: Arc<dyn Storage>,
    gets: Mutex<Vec<String>>,
}

impl Counting {
    pub(crate) fn new(uri: &str) -> Arc<Self> {
        Arc::new(Self { inner: open(uri).unwrap(), gets: Mutex::default() })
    }

    /// What was read since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.gets.lock().unwrap())
    }
}

#[async_trait]
impl Storage for Counting {
    fn uri(&self, path: &str) -> String {
        self.inner.uri(path)
    }
    async fn get_at_most(&self, path: &str, max: u64) -> lockstep_storage::Result<Bytes> {
        self.gets.lock().unwrap().push(path.to_owned());
        self.inner.get_at_most(path, max).await
    }
    async fn get_listed(&self, listed: &Meta) -> lockstep_storage::Result<Bytes> {
        self.gets.lock().unwrap().push(listed.path.clone());
        self.inner.get_listed(listed).await
    }
    async fn get_range(&self, path: &str, range: Range<u64>) -> lockstep_storage::Result<Bytes> {
        self.inner.get_range(path, range).await
    }
    async fn head(&self, path: &str) -> lockstep_storage::Result<Meta> {
        self.inner.head(path).await
    }
    async fn create(&self, path: &str, body: Bytes) -> lockstep_storage::Result<Created> {
        self.inner.create(path, body).await
    }
    async fn put(&self, path: &str, body: Bytes) -> lockstep_storage::Result<()> {
        self.inner.put(path, body).await
    }
    async fn replace(&self, old: &Meta, body: Bytes) -> lockstep_storage::Result<bool> {
        self.inner.replace(old, body).await
    }
    async fn list(&self, folder: &str) -> lockstep_storage::Result<Vec<Meta>> {
        self.inner.list(folder).await
    }
    async fn folders(&self, folder: &str) -> lockstep_storage::Result<Vec<String>> {
        self.inner.folders(folder).await
    }
    async fn delete(&self, path: &str) -> lockstep_storage::Result<()> {
        self.inner.delete(path).await
    }
}
