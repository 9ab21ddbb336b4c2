use std::{collections::HashSet, fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{
    GetOptions, GetRange, MultipartId, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
    UpdateVersion, multipart::MultipartStore, path::Path,
};

use crate::{Created, Error, Limits, Meta, RECORD_BYTES, Result, Storage, path, settle};

/// Larger objects go in parts of this size, [`PARTS_IN_FLIGHT`] at a time.
const PART_BYTES: usize = 16 << 20;
const PARTS_IN_FLIGHT: usize = 4;

/// What differs between the protocols of object stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Conditions name an object by its ETag: Amazon's S3, and objects in memory.
    Etags,
    /// Conditions on writes name an object by its generation, which listings don't tell: Google's.
    Generations,
    /// As [`Etags`](Self::Etags), but listings tell them without quotes: Azure's.
    BareEtags,
}

/// Objects of one bucket (Azure: container) below a prefix, whoever serves it.
pub(crate) struct Bucket {
    root: String,
    prefix: String,
    objects: Arc<dyn ObjectStore>,
    uploads: Arc<dyn MultipartStore>,
    protocol: Protocol,
    limits: Limits,
}

/// The clients hold keys.
impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket")
            .field("root", &self.root)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    /// `root` is the full URI of `prefix`, without a slash at its end.
    pub(crate) fn new<S: ObjectStore + MultipartStore>(
        root: String,
        prefix: &str,
        store: S,
        protocol: Protocol,
        limits: Limits,
    ) -> Self {
        let store = Arc::new(store);
        Self { root, prefix: prefix.to_owned(), objects: store.clone(), uploads: store, protocol, limits }
    }

    fn key(&self, path: &str) -> Result<Path> {
        path::check(&self.root, path)?;
        let full = if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) };
        Path::parse(full).map_err(|_| Error::BadPath {
            uri: self.root.clone(),
            path: path.to_owned(),
            reason: "it has a character that object stores do not take",
        })
    }

    /// The key below which a folder's objects are; none is the whole bucket.
    fn folder(&self, folder: &str) -> Result<Option<Path>> {
        match folder {
            "" => Ok(Path::parse(&self.prefix).ok().filter(|_| !self.prefix.is_empty())),
            folder => self.key(folder).map(Some),
        }
    }

    fn failed(&self, path: &str, operation: &'static str) -> impl Fn(object_store::Error) -> Error {
        let uri = self.uri(path);
        move |error| Error::from_object_store(uri.clone(), operation, &error)
    }

    fn meta(&self, found: ObjectMeta) -> Meta {
        let full = found.location.as_ref();
        let path = full.strip_prefix(&self.prefix).unwrap_or(full).trim_start_matches('/').to_owned();
        let quote = |etag: String| {
            let bare = self.protocol == Protocol::BareEtags && !etag.starts_with(['"', 'W']);
            if bare { format!("\"{etag}\"") } else { etag }
        };
        let etag = found.e_tag.map(quote);
        Meta { path, bytes: found.size, version: etag.clone(), etag }
    }

    /// The time for the body, and the room that it takes, are known only once the answer has begun.
    async fn fetch(&self, path: &str, options: GetOptions, max: u64) -> Result<Bytes> {
        let key = self.key(path)?;
        let failed = self.failed(path, "get");
        let uri = || self.uri(path);
        let begin = async {
            self.objects.get_opts(&key, options).await.map_err(|error| match error {
                object_store::Error::Precondition { .. } => Error::Changed { uri: uri() },
                error => failed(error),
            })
        };
        let answer = self.limits.bound(uri, "get", 0, begin).await?;
        let expected = answer.range.end - answer.range.start;
        if expected > max {
            return Err(Error::TooLarge { uri: uri(), bytes: expected, max });
        }
        let body = async { answer.bytes().await.map_err(&failed) };
        let body = self.limits.bound(uri, "get", expected, body).await?;
        if body.len() as u64 != expected {
            let reason = format!("the body ended after {} of {expected} bytes", body.len());
            return Err(Error::Unavailable { uri: self.uri(path), operation: "get", reason });
        }
        Ok(body)
    }

    /// `Ok(false)`: the condition doesn't hold.
    async fn put_if(&self, path: &str, operation: &'static str, body: Bytes, mode: PutMode) -> Result<bool> {
        use object_store::Error as Os;
        let key = self.key(path)?;
        match self.objects.put_opts(&key, PutPayload::from_bytes(body), mode.into()).await {
            Ok(_) => Ok(true),
            Err(Os::AlreadyExists { .. } | Os::Precondition { .. }) => Ok(false),
            Err(error) => Err(self.failed(path, operation)(error)),
        }
    }

    /// What a write must name to replace `old` and nothing else; none if `old` is no longer there.
    ///
    /// A generation is asked for here. Between the question and the write it holds the object fast, and before the
    /// question the ETag does.
    async fn version_of(&self, old: &Meta) -> Result<Option<UpdateVersion>> {
        if self.protocol != Protocol::Generations {
            return Ok(Some(UpdateVersion { e_tag: old.etag.clone(), version: None }));
        }
        let key = self.key(&old.path)?;
        match self.objects.head(&key).await {
            Ok(now) if now.e_tag == old.etag => Ok(Some(UpdateVersion { e_tag: None, version: now.version })),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(&old.path, "replace")(error)),
        }
    }

    async fn put_parts(&self, key: &Path, body: Bytes) -> object_store::Result<()> {
        let upload = self.uploads.create_multipart(key).await?;
        let done = self.put_each_part(key, &upload, body).await;
        if done.is_err() {
            // Unfinished parts cost money until the bucket's lifecycle rule takes them.
            if let Err(leftover) = self.uploads.abort_multipart(key, &upload).await {
                tracing::warn!(%key, error = %leftover, "could not remove the parts of a failed upload");
            }
        }
        done
    }

    async fn put_each_part(&self, key: &Path, upload: &MultipartId, body: Bytes) -> object_store::Result<()> {
        let starts = (0..body.len()).step_by(PART_BYTES).enumerate();
        let parts = starts.map(|(index, start)| {
            let part = body.slice(start..body.len().min(start + PART_BYTES));
            self.uploads.put_part(key, upload, index, part.into())
        });
        let parts = stream::iter(parts).buffered(PARTS_IN_FLIGHT).try_collect().await?;
        self.uploads.complete_multipart(key, upload, parts).await.map(drop)
    }
}

#[async_trait]
impl Storage for Bucket {
    fn uri(&self, path: &str) -> String {
        if path.is_empty() { self.root.clone() } else { format!("{}/{path}", self.root) }
    }

    async fn get_at_most(&self, path: &str, max: u64) -> Result<Bytes> {
        self.fetch(path, GetOptions::default(), max).await
    }

    async fn get_listed(&self, listed: &Meta) -> Result<Bytes> {
        let options = GetOptions { if_match: listed.etag.clone(), ..GetOptions::default() };
        match self.fetch(&listed.path, options, listed.bytes).await {
            Ok(body) if body.len() as u64 == listed.bytes => Ok(body),
            Ok(_) | Err(Error::TooLarge { .. }) => Err(Error::Changed { uri: self.uri(&listed.path) }),
            // Of an object that is gone some stores say that the condition doesn't hold.
            Err(error @ Error::Changed { .. }) => Err(self.head(&listed.path).await.err().unwrap_or(error)),
            Err(error) => Err(error),
        }
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.head(path).await?.bytes;
        let (start, end) = (range.start, range.end);
        if start > end || end > bytes {
            return Err(Error::OutOfRange { uri: self.uri(path), start, end, bytes });
        }
        if start == end {
            return Ok(Bytes::new());
        }
        let range = Some(GetRange::Bounded(range));
        self.fetch(path, GetOptions { range, ..GetOptions::default() }, end - start).await
    }

    async fn head(&self, path: &str) -> Result<Meta> {
        let key = self.key(path)?;
        let call = async { self.objects.head(&key).await.map_err(self.failed(path, "head")) };
        Ok(self.meta(self.limits.bound(|| self.uri(path), "head", 0, call).await?))
    }

    async fn create(&self, path: &str, body: Bytes) -> Result<Created> {
        path::check_new(&self.root, path)?;
        let most = RECORD_BYTES.max(body.len() as u64);
        let put = || self.put_if(path, "create", body.clone(), PutMode::Create);
        let call = settle::create(&body, put, || self.get_at_most(path, most));
        self.limits.bound(|| self.uri(path), "create", body.len() as u64, call).await
    }

    async fn put(&self, path: &str, body: Bytes) -> Result<()> {
        path::check_new(&self.root, path)?;
        let key = self.key(path)?;
        let bytes = body.len() as u64;
        let call = async {
            let done = if body.len() > PART_BYTES {
                self.put_parts(&key, body).await
            } else {
                self.objects.put(&key, PutPayload::from_bytes(body)).await.map(drop)
            };
            done.map_err(self.failed(path, "put"))
        };
        self.limits.bound(|| self.uri(path), "put", bytes, call).await
    }

    async fn replace(&self, old: &Meta, body: Bytes) -> Result<bool> {
        let path = old.path.as_str();
        path::check_new(&self.root, path)?;
        let most = RECORD_BYTES.max(body.len() as u64);
        let put = || async {
            match self.version_of(old).await? {
                Some(version) => self.put_if(path, "replace", body.clone(), PutMode::Update(version)).await,
                None => Ok(false),
            }
        };
        let call = settle::create(&body, put, || self.get_at_most(path, most));
        let settled = self.limits.bound(|| self.uri(path), "replace", body.len() as u64, call).await;
        match settled {
            Ok(created) => Ok(created == Created::Ours),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<Meta>> {
        let folder = path::check_folder(&self.root, folder)?;
        let key = self.folder(folder)?;
        let call = async {
            let found: Vec<_> =
                self.objects.list(key.as_ref()).try_collect().await.map_err(self.failed(folder, "list"))?;
            let mut objects: Vec<_> = found.into_iter().map(|one| self.meta(one)).collect();
            objects.retain(|object| !object.path.split('/').any(path::is_foreign));
            objects.sort_by(|a, b| a.path.cmp(&b.path));
            drop_markers(&mut objects, folder);
            Ok(objects)
        };
        self.limits.bound(|| self.uri(folder), "list", 0, call).await
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let folder = path::check_folder(&self.root, folder)?;
        let key = self.folder(folder)?;
        let call = async {
            let found = self.objects.list_with_delimiter(key.as_ref()).await;
            let below = found.map_err(self.failed(folder, "list"))?.common_prefixes;
            let mut names: Vec<_> =
                below.iter().filter_map(|path| path.filename().map(str::to_owned)).collect();
            names.retain(|name| !path::is_foreign(name));
            names.sort();
            Ok(names)
        };
        self.limits.bound(|| self.uri(folder), "list", 0, call).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let key = self.key(path)?;
        let call = async {
            match self.objects.delete(&key).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(self.failed(path, "delete")(error)),
            }
        };
        self.limits.bound(|| self.uri(path), "delete", 0, call).await
    }
}

/// Takes out what consoles and other tools put where a folder begins: an empty object whose key ends with `/`. The client cuts
/// that off, so any empty object goes that has others below it. `objects` are sorted.
fn drop_markers(objects: &mut Vec<Meta>, folder: &str) {
    let is_marker = |one: &Meta| {
        let below = format!("{}/", one.path);
        let next = objects.partition_point(|other| other.path < below);
        let begins = objects.get(next).is_some_and(|other| other.path.starts_with(&below));
        one.bytes == 0 && (one.path.is_empty() || one.path == folder || begins)
    };
    let markers: HashSet<_> =
        objects.iter().filter(|one| is_marker(one)).map(|one| one.path.clone()).collect();
    objects.retain(|one| !markers.contains(&one.path));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_marks_a_folder_is_no_object_of_it() {
        let listed = |all: &[(&str, u64)], folder: &str| -> Vec<String> {
            let meta = |(path, bytes): &(&str, u64)| Meta {
                path: (*path).to_owned(),
                bytes: *bytes,
                etag: None,
                version: None,
            };
            let mut objects = all.iter().map(meta).collect();
            drop_markers(&mut objects, folder);
            objects.into_iter().map(|one| one.path).collect()
        };
        let bucket =
            [("", 0), ("a", 0), ("a-b", 0), ("a/b", 1), ("a/c", 0), ("a/c/d", 0), ("e", 3), ("e/f", 1)];
        assert_eq!(listed(&bucket, ""), ["a-b", "a/b", "a/c/d", "e", "e/f"]);
        assert_eq!(listed(&[("a", 0)], "a"), [""; 0]);
        assert_eq!(listed(&[("a/b", 0)], "a"), ["a/b"]);
    }
}
