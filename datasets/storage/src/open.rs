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
    settings,
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
        return match Scheme::misspelt(uri) {
            Some(instead) => Err(bad(instead)),
            None => local(Path::new(uri), options),
        };
    };
    match scheme {
        "file" => {
            let url = Url::parse(uri).map_err(|error| bad(error.to_string()))?;
            if url.query().is_some() || url.fragment().is_some() {
                return Err(bad(
                    "write %3F for a question mark and %23 for a number sign, or a plain path".into()
                ));
            }
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
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let bad = |reason: String| Error::BadUri { uri: without_secrets(uri, name), reason };
    if name.is_empty() {
        return Err(bad(format!("the bucket is missing; write {}", scheme.example())));
    }
    let bucket = match (scheme, name.split_once('@')) {
        (Scheme::Abfss, None) => {
            return Err(bad(format!("the account is missing; write {}", scheme.example())));
        }
        (Scheme::Abfss, Some((container, _))) => container,
        _ => name,
    };
    settings::bucket_name(bucket).map_err(|what| bad(format!("{what}; write {}", scheme.example())))?;
    if uri.contains("sig=") && uri.contains('?') {
        return Err(bad("a shared access signature goes into AZURE_STORAGE_SAS_TOKEN".to_owned()));
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

/// A URI to be shown where it may hold a key before its bucket's name, or a signature behind its path.
fn without_secrets(uri: &str, name: &str) -> String {
    let uri = uri.split('?').next().unwrap_or(uri);
    match name.rsplit_once('@') {
        Some((before, _)) if before.contains(':') => uri.replacen(before, "...", 1),
        _ => uri.to_owned(),
    }
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
            ("s3:/bucket/prefix", "write s3://bucket/prefix"),
            ("gs:bucket", "write gs://bucket/prefix, or ./gs:bucket"),
            ("file:///runs/a#1", "%23"),
            ("file:///runs/a?b", "%3F"),
            ("s3://lock step/x", "can't hold ' '"),
            ("s3://lock\nstep/x", "can't hold '\\n'"),
            ("s3://bucket?x/y", "can't hold '?'"),
            ("s3://planted-id:planted-secret@bucket/x", "s3://...@bucket/x"),
            ("az://container/x?sv=1&sig=planted-secret", "AZURE_STORAGE_SAS_TOKEN"),
            ("abfss://c@a.dfs.core.windows.net/x?sig=planted-secret", "AZURE_STORAGE_SAS_TOKEN"),
            ("", "write a path"),
        ] {
            let error = open(uri).unwrap_err();
            assert!(matches!(error, Error::BadUri { .. }), "{error:?}");
            assert!(error.to_string().contains(part) && !error.to_string().contains("planted"), "{error}");
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
