use std::{ops::Range, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutPayload, RetryConfig, UpdateVersion, WriteMultipart,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    path::Path,
};

use crate::{Created, Error, Limits, Meta, RECORD_BYTES, Result, Storage, error::causes, path, settle};

/// Larger objects go in parts of this size, [`PARTS_IN_FLIGHT`] at a time.
const PART_BYTES: usize = 16 << 20;
const PARTS_IN_FLIGHT: usize = 4;

/// Objects below `s3://bucket/prefix`, by Amazon's protocol; the settings come from the usual `AWS_*` variables.
#[derive(Debug)]
pub(crate) struct S3 {
    store: AmazonS3,
    bucket: String,
    prefix: String,
    limits: Limits,
}

impl S3 {
    /// `config` holds object_store's keys (`aws_endpoint`, `aws_region`, ...) and wins over the environment.
    pub(crate) fn open(
        bucket: &str,
        prefix: &str,
        config: &[(String, String)],
        limits: Limits,
    ) -> Result<Self> {
        let bad = |reason: String| Error::BadUri { uri: format!("s3://{bucket}/{prefix}"), reason };
        // Another part of the process may have installed one before; either does.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
        for (key, value) in config {
            let known: AmazonS3ConfigKey = key.parse().map_err(|error| bad(causes(&error)))?;
            builder = builder.with_config(known, value);
        }
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
        let client = ClientOptions::new()
            // The user wrote `http://` on purpose; without an endpoint it is https anyway.
            .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")))
            .with_connect_timeout(Duration::from_secs(5))
            // The client's own timeout spans the whole body. Ours know the size; this one catches a stalled body.
            .with_timeout_disabled()
            .with_read_timeout(limits.call / 3);
        let retry = RetryConfig {
            backoff: BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() },
            max_retries: 6,
            retry_timeout: limits.call,
        };
        let store = builder
            .with_client_options(client)
            .with_retry(retry)
            .build()
            .map_err(|error| bad(format!("{}; see the AWS_* variables", causes(&error))))?;
        Ok(Self { store, bucket: bucket.to_owned(), prefix: prefix.to_owned(), limits })
    }

    fn key(&self, path: &str) -> Result<Path> {
        path::check(&self.uri(""), path)?;
        let full = if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) };
        Path::parse(full).map_err(|_| Error::BadPath {
            uri: self.uri(""),
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
        Meta { path, bytes: found.size, version: found.e_tag.clone(), etag: found.e_tag }
    }

    /// The time for the body, and the room that it takes, are known only once the answer has begun.
    async fn fetch(&self, path: &str, options: GetOptions, max: u64) -> Result<Bytes> {
        let key = self.key(path)?;
        let failed = self.failed(path, "get");
        let uri = || self.uri(path);
        let begin = async {
            self.store.get_opts(&key, options).await.map_err(|error| match error {
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
        match self.store.put_opts(&key, PutPayload::from_bytes(body), mode.into()).await {
            Ok(_) => Ok(true),
            Err(Os::AlreadyExists { .. } | Os::Precondition { .. }) => Ok(false),
            Err(error) => Err(self.failed(path, operation)(error)),
        }
    }

    async fn put_parts(&self, key: &Path, body: Bytes) -> object_store::Result<()> {
        let upload = self.store.put_multipart(key).await?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        for start in (0..body.len()).step_by(PART_BYTES) {
            if let Err(error) = writer.wait_for_capacity(PARTS_IN_FLIGHT).await {
                // Unfinished parts cost money until the bucket's lifecycle rule takes them.
                if let Err(leftover) = writer.abort().await {
                    tracing::warn!(%key, error = %leftover, "could not remove the parts of a failed upload");
                }
                return Err(error);
            }
            writer.put(body.slice(start..body.len().min(start + PART_BYTES)));
        }
        writer.finish().await.map(drop)
    }
}

#[async_trait]
impl Storage for S3 {
    fn uri(&self, path: &str) -> String {
        let names = [self.bucket.as_str(), &self.prefix, path];
        let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
        format!("s3://{}", names.join("/"))
    }

    async fn get_at_most(&self, path: &str, max: u64) -> Result<Bytes> {
        self.fetch(path, GetOptions::default(), max).await
    }

    async fn get_listed(&self, listed: &Meta) -> Result<Bytes> {
        let options = GetOptions { if_match: listed.etag.clone(), ..GetOptions::default() };
        match self.fetch(&listed.path, options, listed.bytes).await {
            Ok(body) if body.len() as u64 == listed.bytes => Ok(body),
            Ok(_) | Err(Error::TooLarge { .. }) => Err(Error::Changed { uri: self.uri(&listed.path) }),
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
        let call = async { self.store.head(&key).await.map_err(self.failed(path, "head")) };
        Ok(self.meta(self.limits.bound(|| self.uri(path), "head", 0, call).await?))
    }

    async fn create(&self, path: &str, body: Bytes) -> Result<Created> {
        path::check_new(&self.uri(""), path)?;
        let most = RECORD_BYTES.max(body.len() as u64);
        let put = || self.put_if(path, "create", body.clone(), PutMode::Create);
        let call = settle::create(&body, put, || self.get_at_most(path, most));
        self.limits.bound(|| self.uri(path), "create", body.len() as u64, call).await
    }

    async fn put(&self, path: &str, body: Bytes) -> Result<()> {
        path::check_new(&self.uri(""), path)?;
        let key = self.key(path)?;
        let bytes = body.len() as u64;
        let call = async {
            let done = if body.len() > PART_BYTES {
                self.put_parts(&key, body).await
            } else {
                self.store.put(&key, PutPayload::from_bytes(body)).await.map(drop)
            };
            done.map_err(self.failed(path, "put"))
        };
        self.limits.bound(|| self.uri(path), "put", bytes, call).await
    }

    async fn replace(&self, old: &Meta, body: Bytes) -> Result<bool> {
        let path = old.path.as_str();
        path::check_new(&self.uri(""), path)?;
        let version = UpdateVersion { e_tag: old.etag.clone(), version: None };
        let most = RECORD_BYTES.max(body.len() as u64);
        let put = || self.put_if(path, "replace", body.clone(), PutMode::Update(version.clone()));
        let call = settle::create(&body, put, || self.get_at_most(path, most));
        let settled = self.limits.bound(|| self.uri(path), "replace", body.len() as u64, call).await;
        match settled {
            Ok(created) => Ok(created == Created::Ours),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<Meta>> {
        let folder = path::check_folder(&self.uri(""), folder)?;
        let key = self.folder(folder)?;
        let call = async {
            let found: Vec<_> =
                self.store.list(key.as_ref()).try_collect().await.map_err(self.failed(folder, "list"))?;
            let mut objects: Vec<_> = found.into_iter().map(|one| self.meta(one)).collect();
            objects.retain(|object| !object.path.split('/').any(path::is_foreign));
            objects.sort_by(|a, b| a.path.cmp(&b.path));
            Ok(objects)
        };
        self.limits.bound(|| self.uri(folder), "list", 0, call).await
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let folder = path::check_folder(&self.uri(""), folder)?;
        let key = self.folder(folder)?;
        let call = async {
            let found = self.store.list_with_delimiter(key.as_ref()).await;
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
            match self.store.delete(&key).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(self.failed(path, "delete")(error)),
            }
        };
        self.limits.bound(|| self.uri(path), "delete", 0, call).await
    }
}
