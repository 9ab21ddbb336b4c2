use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    Dataset, Error, Result,
    cache::{
        download,
        folder::{CacheOptions, Copy, Folder, Note},
        lock::FetchLock,
        spare::Spare,
        verify_raw,
    },
    identity::CONTENT_HASH,
    mds::{Layout, Shard},
};

/// How often a damaged shard is fetched before its dataset is given up.
const ATTEMPTS: u32 = 3;

/// How long another process of this node may take to fetch a shard before we fetch it too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Shards that a full disk doesn't take are kept in memory up to here.
const SPARE_BYTES: u64 = 1 << 30;

/// The cached shards of one dataset.
#[derive(Debug)]
pub(crate) struct Cache {
    dataset: Dataset,
    folder: Folder,
    spare: Spare,
    warned: AtomicBool,
}

impl Cache {
    pub(crate) fn new(dataset: Dataset, options: &CacheOptions) -> Result<Self> {
        let folder = Folder::open(&dataset, options)?;
        Ok(Self { dataset, folder, spare: Spare::new(SPARE_BYTES), warned: AtomicBool::new(false) })
    }

    pub(crate) fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    pub(crate) fn is_bounded(&self) -> bool {
        self.folder.is_bounded()
    }

    /// Opens a shard, fetching it if this node does not hold a good copy. `next_use` is as
    /// [`victims`](crate::cache::budget::victims) takes it.
    pub(crate) async fn open(self: Arc<Self>, number: usize, next_use: Arc<[u64]>) -> Result<Shard> {
        if let Some(shard) = self.open_cached(number).await? {
            return Ok(shard);
        }
        let path = self.folder.path(number);
        let lock = FetchLock::acquire(self.folder.lock(number), PATIENCE, move || path.exists()).await;
        // Without locks a shard may be fetched twice, and that is all.
        let lock = lock.unwrap_or_else(|error| {
            self.warn_once(&error, "shards may be fetched more than once");
            None
        });
        if let Some(shard) = self.open_cached(number).await? {
            return Ok(shard);
        }
        let raw = self.fetch(number).await?;
        // The lock goes along: were this call given up now, the file would still be written.
        self.blocking(move |cache| {
            let shard = cache.store(number, raw, &next_use);
            drop(lock);
            shard
        })
        .await
    }

    /// `None` when there is no copy, or one that is not known to be good, which is removed.
    async fn open_cached(self: &Arc<Self>, number: usize) -> Result<Option<Shard>> {
        self.blocking(move |cache| {
            let bytes = cache.dataset.shards()[number].raw_data.bytes;
            let damage: Error = match cache.folder.read(number, bytes) {
                Ok(None) => return Ok(None),
                Ok(Some(copy)) => match cache.verify(number, &copy) {
                    Ok(layout) => {
                        cache.dataset.learn(number, &copy.raw)?;
                        return Ok(Some(cache.shard(number, copy, layout)));
                    }
                    Err(damage) => damage,
                },
                Err(error) => Error::io("read", cache.folder.path(number))(error),
            };
            tracing::warn!(shard = number, %damage, "a cached shard can't be used and is fetched again");
            if let Err(error) = cache.folder.remove(number) {
                cache.warn_once(&error, "a bad copy of a shard stays there");
            }
            Ok(None)
        })
        .await
    }

    /// A copy is good if the index says so, or, where the index can't, if it is what was once fetched of the very object
    /// that is there now. Where its samples lie.
    fn verify(&self, number: usize, copy: &Copy) -> Result<Layout> {
        let path = self.folder.path(number);
        let file = path.display().to_string();
        let layout = verify_raw(&self.dataset, number, &file, &copy.raw)?;
        if self.dataset.is_hashed() {
            return Ok(layout);
        }
        let unknown = |reason: &str| Err(Error::io("trust", &path)(io::Error::other(reason.to_owned())));
        let Some(note) = &copy.note else { return unknown("there is no record of what it is a copy of") };
        let listed = self.dataset.listed(number).and_then(|(_, meta)| meta.etag.clone());
        if note.etag != listed {
            return unknown("the original was replaced since");
        }
        match CONTENT_HASH.hash(&copy.raw) == note.hash {
            true => Ok(layout),
            false => unknown("its content is not what was fetched"),
        }
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
                    return Err(Error::Damaged {
                        shard: number,
                        uri: self.uri(number),
                        attempts: attempt,
                        source: Box::new(damage),
                    });
                }
                other => return other.map(|fetched| fetched.raw),
            }
        }
    }

    /// Keeps what was fetched. A disk that doesn't take it is no reason to stop while there is memory.
    fn store(&self, number: usize, raw: Vec<u8>, next_use: &[u64]) -> Result<Shard> {
        let hash = self.dataset.learn(number, &raw)?;
        let layout = self.dataset.layout(number, &raw).map_err(|flaw| flaw.in_file(&self.uri(number), 0))?;
        let etag = self.dataset.listed(number).and_then(|(_, meta)| meta.etag.clone());
        let note = hash.filter(|_| !self.dataset.is_hashed()).map(|hash| Note { etag, hash });
        match self.folder.write(number, &raw, note.as_ref(), next_use) {
            Ok(file) => Ok(self.shard(number, Copy { file, raw, note }, layout)),
            Err(error) => {
                let Some(spare) = self.spare.take(raw.len() as u64) else {
                    return Err(Error::io("write", self.folder.path(number))(error));
                };
                self.warn_once(&error, "shards are kept in memory instead, and fetched again by each rank");
                let (columns, uri) = (self.dataset.shared_columns(), self.uri(number));
                Ok(Shard::in_memory(raw, spare, uri, layout, columns))
            }
        }
    }

    fn shard(&self, number: usize, copy: Copy, layout: Layout) -> Shard {
        Shard::open(copy.file, copy.raw, self.uri(number), layout, self.dataset.shared_columns())
    }

    pub(crate) fn uri(&self, number: usize) -> String {
        let info = &self.dataset.shards()[number];
        let form = self.dataset.listed(number).map_or(0, |(form, _)| *form);
        self.dataset.storage().uri(&self.dataset.path(&info.stored()[form].basename))
    }

    fn warn_once(&self, error: &dyn std::fmt::Display, instead: &str) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            let dir = self.folder.dir().display();
            tracing::warn!(cache = %dir, %error, "the data cache can't be used as it should: {instead}");
        }
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let cache = self.clone();
        match tokio::task::spawn_blocking(move || work(&cache)).await {
            Ok(result) => result,
            Err(gone) => Err(Error::io("use", self.folder.dir())(io::Error::other(gone))),
        }
    }
}
