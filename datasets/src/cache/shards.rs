use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    Dataset, Error, Result,
    cache::{budget::victims, download, lock::FetchLock, verify_raw},
    mds::Shard,
};

/// How often a damaged shard is fetched before its dataset is given up.
const ATTEMPTS: u32 = 3;

/// How long another process of this node may take to fetch a shard before we fetch it too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Unfinished files are removed when their writer must be long gone.
const STALE: Duration = Duration::from_secs(3600);

const TEMP_PREFIX: &str = ".tmp-";

/// Where shards are kept on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// A folder that all ranks of the node share; each dataset gets one below it, named by its digest.
    pub dir: PathBuf,
    /// Shards are dropped before a dataset holds more than this; `None` keeps all.
    pub max_bytes: Option<u64>,
}

/// The cached shards of one dataset.
#[derive(Debug)]
pub(crate) struct Cache {
    dataset: Dataset,
    dir: PathBuf,
    max_bytes: Option<u64>,
    warned: AtomicBool,
}

impl Cache {
    pub(crate) fn new(dataset: Dataset, options: &CacheOptions) -> Result<Self> {
        let digest = dataset.digest().trim_start_matches("sha256:");
        let dir = options.dir.join(digest.get(..16).unwrap_or(digest));
        fs::create_dir_all(dir.join("locks")).map_err(Error::io("make", &dir))?;
        remove_stale(&dir);
        Ok(Self { dataset, dir, max_bytes: options.max_bytes, warned: AtomicBool::new(false) })
    }

    pub(crate) fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    pub(crate) fn is_bounded(&self) -> bool {
        self.max_bytes.is_some()
    }

    /// Opens a shard, fetching it if this node does not hold a good copy. `next_use` is as [`victims`] takes it.
    pub(crate) async fn open(self: Arc<Self>, number: usize, next_use: Arc<[u64]>) -> Result<Shard> {
        if let Some(shard) = self.open_cached(number).await? {
            return Ok(shard);
        }
        let path = self.path(number);
        let lock = self.dir.join("locks").join(format!("{number:05}"));
        let lock = FetchLock::acquire(&lock, PATIENCE, || path.exists()).await?;
        if let Some(shard) = self.open_cached(number).await? {
            return Ok(shard);
        }
        let raw = self.fetch(number).await?;
        // The lock goes along: were this call given up now, the file would still be written.
        self.blocking(move |cache| {
            let shard = cache.store(number, &raw, &next_use);
            drop(lock);
            shard
        })
        .await
    }

    /// `None` when there is no copy, or a damaged one, which is removed.
    async fn open_cached(self: &Arc<Self>, number: usize) -> Result<Option<Shard>> {
        self.blocking(move |cache| {
            let path = cache.path(number);
            let raw = match fs::read(&path) {
                Ok(raw) => raw,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(Error::io("read", path)(error)),
            };
            let name = path.display().to_string();
            if let Err(damage) = verify_raw(&cache.dataset, number, &name, &raw) {
                tracing::warn!(shard = number, %damage, "a cached shard is damaged and is fetched again");
                remove(&path)?;
                return Ok(None);
            }
            cache.shard(number, &raw).map(Some)
        })
        .await
    }

    async fn fetch(&self, number: usize) -> Result<Vec<u8>> {
        let mut attempt = 1;
        loop {
            match download(&self.dataset, number).await {
                Err(damage) if damage.is_damage() && attempt < ATTEMPTS => {
                    tracing::warn!(shard = number, attempt, %damage, "a shard arrived damaged and is fetched again");
                    attempt += 1;
                }
                Err(damage) if damage.is_damage() => {
                    let info = &self.dataset.shards()[number];
                    let stored = info.zip_data.as_ref().unwrap_or(&info.raw_data);
                    let uri = self.dataset.storage().uri(&self.dataset.path(&stored.basename));
                    return Err(Error::Damaged {
                        shard: number,
                        uri,
                        attempts: attempt,
                        source: Box::new(damage),
                    });
                }
                other => return other,
            }
        }
    }

    fn store(&self, number: usize, raw: &[u8], next_use: &[u64]) -> Result<Shard> {
        self.make_room(raw.len() as u64, next_use)?;
        let path = self.path(number);
        let mut temp = tempfile::Builder::new()
            .prefix(TEMP_PREFIX)
            .tempfile_in(&self.dir)
            .map_err(Error::io("write in", &self.dir))?;
        temp.write_all(raw).map_err(Error::io("write", &path))?;
        temp.persist(&path).map_err(|failed| Error::io("write", &path)(failed.error))?;
        self.shard(number, raw)
    }

    fn make_room(&self, incoming: u64, next_use: &[u64]) -> Result<()> {
        let Some(max) = self.max_bytes else { return Ok(()) };
        let entries = fs::read_dir(&self.dir).map_err(Error::io("list", &self.dir))?;
        let cached = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let number = name.strip_prefix("shard.")?.strip_suffix(".mds")?.parse().ok()?;
            Some((number, entry.metadata().ok()?.len()))
        };
        let present: Vec<(usize, u64)> = entries.flatten().filter_map(cached).collect();
        for shard in victims(&present, incoming, max, next_use) {
            if next_use.get(shard) == Some(&0) && !self.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    cache = %self.dir.display(), max_bytes = max,
                    "the data cache is smaller than what is in use at once; shards will be fetched repeatedly"
                );
            }
            remove(&self.path(shard))?;
        }
        Ok(())
    }

    fn shard(&self, number: usize, raw: &[u8]) -> Result<Shard> {
        let info = &self.dataset.shards()[number];
        let uri = self.dataset.storage().uri(&self.dataset.path(&info.raw_data.basename));
        Shard::open(&self.path(number), uri, raw, info.samples, self.dataset.shared_columns())
    }

    fn path(&self, number: usize) -> PathBuf {
        self.dir.join(format!("shard.{number:05}.mds"))
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let cache = self.clone();
        match tokio::task::spawn_blocking(move || work(&cache)).await {
            Ok(result) => result,
            Err(gone) => Err(Error::io("use", &self.dir)(std::io::Error::other(gone))),
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Leftovers of killed processes. Only tidiness depends on it, so errors don't matter.
fn remove_stale(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let temp = entry.file_name().to_string_lossy().starts_with(TEMP_PREFIX);
        let age = entry.metadata().and_then(|found| found.modified()).ok().and_then(|at| at.elapsed().ok());
        if temp && age.is_some_and(|age| age > STALE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
