use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use object_store::memory::InMemory;
use url::Url;

use crate::{
    Error, Limits, Result, Scheme, Storage,
    bucket::{Bucket, Protocol},
    clouds::{self, Container},
    local::LocalFiles,
};

/// Settings of a storage beyond its URI.
#[derive(Clone, Default)]
pub struct Options {
    /// Settings of a bucket by object_store's names (`aws_endpoint`, `google_service_account`, `azure_storage_account_key`,
    /// ...); they win over the variables of the same names.
    pub config: Vec<(String, String)>,
    /// Deadlines.
    pub limits: Limits,
}

/// Values of settings may be secrets.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.config.iter().map(|(name, _)| name).collect();
        f.debug_struct("Options").field("config", &names).field("limits", &self.limits).finish()
    }
}

/// Opens a storage: a path, `file:///path`, a bucket (`s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`,
/// `abfss://container@account.dfs.core.windows.net/prefix`), or `memory://name` (in this process only).
///
/// Nothing is contacted yet, except that a bucket's settings are read from the environment.
///
/// # Errors
/// [`Error::BadUri`] with what to write instead.
pub fn open(uri: &str) -> Result<Arc<dyn Storage>> {
    open_with(uri, &Options::default())
}

/// As [`open`], with other deadlines, or settings of a bucket that are not the environment's.
///
/// # Errors
/// As [`open`]; a setting that its store's client doesn't know is one too.
pub fn open_with(uri: &str, options: &Options) -> Result<Arc<dyn Storage>> {
    let bad = |reason: String| Error::BadUri { uri: uri.to_owned(), reason };
    let Some((scheme, rest)) = uri.split_once("://") else {
        return local(Path::new(uri), options);
    };
    match scheme {
        "file" => {
            let url = Url::parse(uri).map_err(|error| bad(error.to_string()))?;
            let path = url
                .to_file_path()
                .map_err(|()| bad("write file:///absolute/path, or a plain path".into()))?;
            local(&path, options)
        }
        "memory" => Ok(memory(rest.trim_matches('/'), options)),
        _ => match Scheme::of(uri) {
            Some(scheme) => bucket(scheme, uri, rest, options),
            None => Err(bad(format!("write a path, file:///path or {}", Scheme::EXAMPLES))),
        },
    }
}

fn local(path: &Path, options: &Options) -> Result<Arc<dyn Storage>> {
    let root = std::path::absolute(path).map_err(|error| Error::BadUri {
        uri: path.display().to_string(),
        reason: format!("{error}; write a path, file:///path or {}", Scheme::EXAMPLES),
    })?;
    Ok(Arc::new(LocalFiles::new(root, options.limits)))
}

/// Objects in this process, gone with it. All who open one name share them; an empty name gives new ones that nobody shares.
fn memory(name: &str, options: &Options) -> Arc<dyn Storage> {
    static NAMED: LazyLock<Mutex<HashMap<String, Arc<Bucket>>>> = LazyLock::new(Mutex::default);
    let root = format!("memory://{name}");
    let new = || Arc::new(Bucket::new(root, "", InMemory::new(), Protocol::Etags, options.limits));
    if name.is_empty() {
        return new();
    }
    // Nothing panics while the lock is held.
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    named.entry(name.to_owned()).or_insert_with(new).clone()
}

fn bucket(scheme: Scheme, uri: &str, rest: &str, options: &Options) -> Result<Arc<dyn Storage>> {
    let bad = |reason: String| Error::BadUri { uri: uri.to_owned(), reason };
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if name.is_empty() {
        return Err(bad(format!("the bucket is missing; write {}", scheme.example())));
    }
    if scheme == Scheme::Abfss && !name.contains('@') {
        return Err(bad(format!("the account is missing; write {}", scheme.example())));
    }
    let prefix = prefix.trim_matches('/');
    if !prefix.is_empty() {
        crate::path::check(uri, prefix)?;
    }
    let root = uri.trim_end_matches('/').to_owned();
    let limits = options.limits;
    Ok(match scheme {
        Scheme::S3 => {
            let client = clouds::s3(name, options).map_err(bad)?;
            Arc::new(Bucket::new(root, prefix, client, Protocol::Etags, limits))
        }
        Scheme::Gs => {
            let client = clouds::gcs(name, options).map_err(bad)?;
            Arc::new(Bucket::new(root, prefix, client, Protocol::Generations, limits))
        }
        Scheme::Az | Scheme::Abfss => {
            let container = if scheme == Scheme::Az { Container::Named(name) } else { Container::Whole(uri) };
            let client = clouds::azure(container, options).map_err(bad)?;
            Arc::new(Bucket::new(root, prefix, client, Protocol::BareEtags, limits))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client can't be made without, with planted secrets.
    fn settings(uri: &str) -> Vec<(String, String)> {
        let config: &[_] = match Scheme::of(uri) {
            Some(Scheme::S3) => {
                &[("aws_access_key_id", "planted-id"), ("aws_secret_access_key", "planted-secret")]
            }
            Some(Scheme::Az | Scheme::Abfss) => {
                // An account's key is in base64.
                &[
                    ("azure_storage_account_name", "account"),
                    ("azure_storage_account_key", "cGxhbnRlZC1zZWNyZXQ="),
                ]
            }
            Some(Scheme::Gs) | None => &[],
        };
        config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn uris_are_full_and_open_again() {
        for (given, full) in [
            ("/data/runs", "/data/runs/a/b"),
            ("/data/runs/", "/data/runs/a/b"),
            ("file:///data/my%20runs", "/data/my runs/a/b"),
            ("memory://shared", "memory://shared/a/b"),
            ("s3://bucket", "s3://bucket/a/b"),
            ("s3://bucket/some/prefix/", "s3://bucket/some/prefix/a/b"),
            ("gs://bucket/", "gs://bucket/a/b"),
            ("gs://bucket/some/prefix", "gs://bucket/some/prefix/a/b"),
            ("az://container/prefix", "az://container/prefix/a/b"),
            (
                "abfss://container@account.dfs.core.windows.net/prefix/",
                "abfss://container@account.dfs.core.windows.net/prefix/a/b",
            ),
        ] {
            let options = Options { config: settings(given), ..Options::default() };
            let storage = open_with(given, &options).unwrap();
            assert_eq!(storage.uri("a/b"), full);
            assert_eq!(open_with(&storage.uri(""), &options).unwrap().uri("a/b"), full);
        }
    }

    #[test]
    fn what_cannot_be_opened_says_what_to_write() {
        for (uri, part) in [
            ("s3://", "s3://bucket/prefix"),
            ("s3:///prefix", "s3://bucket/prefix"),
            ("file://relative/path", "file:///absolute/path"),
            ("gs://", "gs://bucket/prefix"),
            ("az:///prefix", "az://container/prefix"),
            ("abfss://container/prefix", "abfss://container@account.dfs.core.windows.net/prefix"),
            ("abfss://container@account.example.com/prefix", "abfss://"),
            ("gopher://x", "s3://"),
            ("", "write a path"),
        ] {
            let error = open(uri).unwrap_err();
            assert!(matches!(error, Error::BadUri { .. }), "{error:?}");
            assert!(error.to_string().contains(part), "{error}");
        }
        let options = Options { config: vec![("aws_nonsense".into(), "1".into())], ..Options::default() };
        assert!(matches!(open_with("s3://bucket", &options), Err(Error::BadUri { .. })));
    }

    #[test]
    fn no_debug_output_holds_a_secret() {
        for uri in ["s3://bucket", "az://container", "abfss://container@account.dfs.core.windows.net/x"] {
            let options = Options { config: settings(uri), ..Options::default() };
            let shown = format!("{options:?} {:?}", open_with(uri, &options).unwrap());
            assert!(shown.contains(&options.config[1].0) && shown.contains(uri), "{shown}");
            assert!(!shown.contains("planted-secret") && !shown.contains("cGxhbnRlZC"), "{shown}");
        }
    }

    #[tokio::test]
    async fn one_memory_per_name() {
        open("memory://one").unwrap().put("a", "1".into()).await.unwrap();
        assert_eq!(open("memory://one").unwrap().get("a").await.unwrap(), "1");
        assert!(open("memory://two").unwrap().get("a").await.unwrap_err().is_not_found());
        open("memory://").unwrap().put("a", "1".into()).await.unwrap();
        assert!(open("memory://").unwrap().get("a").await.unwrap_err().is_not_found());
    }
}
