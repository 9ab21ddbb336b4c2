use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    ops::Range,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Created, Error, Meta, Result, Storage, path};

type Objects = BTreeMap<String, Bytes>;

/// Objects in this process, gone with it. `memory://name` is shared by all who open that name.
#[derive(Debug)]
pub(crate) struct Memory {
    name: String,
    objects: Mutex<Objects>,
}

static NAMED: LazyLock<Mutex<HashMap<String, Arc<Memory>>>> = LazyLock::new(Mutex::default);

impl Memory {
    /// The storage of that name; an empty name gives a new one that nobody shares.
    pub(crate) fn open(name: &str) -> Arc<Self> {
        let new = || Arc::new(Self { name: name.to_owned(), objects: Mutex::default() });
        if name.is_empty() {
            return new();
        }
        let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
        named.entry(name.to_owned()).or_insert_with(new).clone()
    }

    // Nothing panics while the lock is held, and every change is one insert or remove.
    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meta(path: &str, body: &Bytes) -> Meta {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let etag = format!("{:016x}", hasher.finish());
        Meta {
            path: path.to_owned(),
            bytes: body.len() as u64,
            version: Some(etag.clone()),
            etag: Some(etag),
        }
    }

    fn find(&self, path: &str) -> Result<Bytes> {
        path::check(&self.uri(""), path)?;
        self.objects().get(path).cloned().ok_or_else(|| Error::NotFound { uri: self.uri(path) })
    }
}

#[async_trait]
impl Storage for Memory {
    fn uri(&self, path: &str) -> String {
        let slash = if path.is_empty() { "" } else { "/" };
        format!("memory://{}{slash}{path}", self.name)
    }

    async fn get_at_most(&self, path: &str, max: u64) -> Result<Bytes> {
        let body = self.find(path)?;
        let bytes = body.len() as u64;
        if bytes > max {
            return Err(Error::TooLarge { uri: self.uri(path), bytes, max });
        }
        Ok(body)
    }

    async fn get_listed(&self, listed: &Meta) -> Result<Bytes> {
        let body = self.find(&listed.path)?;
        if Self::meta(&listed.path, &body) != *listed {
            return Err(Error::Changed { uri: self.uri(&listed.path) });
        }
        Ok(body)
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let body = self.find(path)?;
        let bytes = body.len() as u64;
        if range.start > range.end || range.end > bytes {
            return Err(Error::OutOfRange { uri: self.uri(path), start: range.start, end: range.end, bytes });
        }
        Ok(body.slice(range.start as usize..range.end as usize))
    }

    async fn head(&self, path: &str) -> Result<Meta> {
        Ok(Self::meta(path, &self.find(path)?))
    }

    async fn create(&self, path: &str, body: Bytes) -> Result<Created> {
        path::check_new(&self.uri(""), path)?;
        Ok(match self.objects().entry(path.to_owned()) {
            Entry::Vacant(vacant) => {
                vacant.insert(body);
                Created::Ours
            }
            Entry::Occupied(there) if *there.get() == body => Created::Ours,
            Entry::Occupied(there) => Created::Theirs(there.get().clone()),
        })
    }

    async fn put(&self, path: &str, body: Bytes) -> Result<()> {
        path::check_new(&self.uri(""), path)?;
        self.objects().insert(path.to_owned(), body);
        Ok(())
    }

    async fn replace(&self, old: &Meta, body: Bytes) -> Result<bool> {
        path::check_new(&self.uri(""), &old.path)?;
        Ok(match self.objects().get_mut(&old.path) {
            Some(there) if Self::meta(&old.path, there) == *old => {
                *there = body;
                true
            }
            _ => false,
        })
    }

    async fn list(&self, folder: &str) -> Result<Vec<Meta>> {
        let folder = path::check_folder(&self.uri(""), folder)?;
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let objects = self.objects();
        let below = objects.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        Ok(below.map(|(path, body)| Self::meta(path, body)).collect())
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let start = match path::check_folder(&self.uri(""), folder)? {
            "" => 0,
            folder => folder.len() + 1,
        };
        let below = self.list(folder).await?;
        let mut names: Vec<_> =
            below.iter().filter_map(|meta| Some(meta.path[start..].split_once('/')?.0.to_owned())).collect();
        names.dedup();
        Ok(names)
    }

    async fn delete(&self, path: &str) -> Result<()> {
        path::check(&self.uri(""), path)?;
        self.objects().remove(path);
        Ok(())
    }
}
