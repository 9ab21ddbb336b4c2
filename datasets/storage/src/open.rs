use std::{fmt, path::Path, sync::Arc};

use url::Url;

use crate::{Error, Limits, Result, Storage, local::LocalFiles, memory::Memory, s3::S3};

/// Settings of a storage beyond its URI.
#[derive(Clone, Default)]
pub struct Options {
    /// S3 settings by object_store's names (`aws_endpoint`, `aws_access_key_id`, ...); they win over the `AWS_*` variables.
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

/// Opens a storage: a path, `file:///path`, `s3://bucket/prefix`, or `memory://name` (in this process only).
///
/// Nothing is contacted yet, except that S3 settings are read from the environment.
///
/// # Errors
/// [`Error::BadUri`] with what to write instead.
pub fn open(uri: &str) -> Result<Arc<dyn Storage>> {
    open_with(uri, &Options::default())
}

/// As [`open`], with other deadlines or S3 settings than the environment's.
pub fn open_with(uri: &str, options: &Options) -> Result<Arc<dyn Storage>> {
    let bad = |reason: &str| Error::BadUri { uri: uri.to_owned(), reason: reason.to_owned() };
    let Some((scheme, rest)) = uri.split_once("://") else {
        return local(Path::new(uri), options);
    };
    match scheme {
        "file" => {
            let url = Url::parse(uri).map_err(|error| bad(&error.to_string()))?;
            let path =
                url.to_file_path().map_err(|()| bad("write file:///absolute/path, or a plain path"))?;
            local(&path, options)
        }
        "memory" => Ok(Memory::open(rest.trim_matches('/'))),
        "s3" => {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err(bad("the bucket is missing; write s3://bucket/prefix"));
            }
            let prefix = prefix.trim_matches('/');
            if !prefix.is_empty() {
                crate::path::check(uri, prefix)?;
            }
            Ok(Arc::new(S3::open(bucket, prefix, &options.config, options.limits)?))
        }
        _ => Err(bad("write a path, file:///path or s3://bucket/prefix")),
    }
}

fn local(path: &Path, options: &Options) -> Result<Arc<dyn Storage>> {
    let root = std::path::absolute(path).map_err(|error| Error::BadUri {
        uri: path.display().to_string(),
        reason: format!("{error}; write a path, file:///path or s3://bucket/prefix"),
    })?;
    Ok(Arc::new(LocalFiles::new(root, options.limits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_full_and_open_again() {
        for (given, full) in [
            ("/data/runs", "/data/runs/a/b"),
            ("/data/runs/", "/data/runs/a/b"),
            ("file:///data/my%20runs", "/data/my runs/a/b"),
            ("memory://shared", "memory://shared/a/b"),
            ("s3://bucket", "s3://bucket/a/b"),
            ("s3://bucket/some/prefix/", "s3://bucket/some/prefix/a/b"),
        ] {
            let storage = open(given).unwrap();
            assert_eq!(storage.uri("a/b"), full);
            assert_eq!(open(&storage.uri("")).unwrap().uri("a/b"), full);
        }
    }

    #[test]
    fn what_cannot_be_opened_says_what_to_write() {
        for (uri, part) in [
            ("s3://", "s3://bucket/prefix"),
            ("s3:///prefix", "s3://bucket/prefix"),
            ("file://relative/path", "file:///absolute/path"),
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
        let config = [("aws_access_key_id", "planted-id"), ("aws_secret_access_key", "planted-secret")];
        let config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let options = Options { config, ..Options::default() };
        let s3 = S3::open("bucket", "", &options.config, options.limits).unwrap();
        let shown = format!("{options:?} {s3:?}");
        assert!(shown.contains("aws_secret_access_key") && !shown.contains("planted-secret"), "{shown}");
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
