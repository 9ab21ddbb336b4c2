//! The one place that reads environment variables.

use crate::Failure;
use lockstep_storage::Scheme;
use std::path::PathBuf;

/// A variable's value, as the agents that are started from here will see it.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The object store that a bucket's URI means, where it isn't the cloud's own.
pub(crate) fn storage_endpoint(uri: &str) -> Option<String> {
    let names: &[_] = match Scheme::of(uri)? {
        Scheme::S3 => &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"],
        Scheme::Gs => &["GOOGLE_BASE_URL"],
        // Whose account it is doesn't stand in the URI.
        Scheme::Az => &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT", "AZURE_STORAGE_ACCOUNT_NAME"],
        Scheme::Abfss => &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"],
    };
    let set: Vec<_> = names.iter().filter_map(|name| variable(name)).collect();
    (!set.is_empty()).then(|| set.join(" "))
}

/// The folder of this user's session, where there is one: it is this user's alone, and gone at the next start of the machine.
pub(crate) fn runtime_folder() -> Option<PathBuf> {
    std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute())
}

/// Where things are kept that can be made again, such as fetched dataset shards. There is no default in a folder that others
/// can write to: they could be there first.
///
/// # Errors
/// Where nothing says where this user's files are.
pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("LOCKSTEP_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("lockstep")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/lockstep")))
        .and_then(|folder| std::path::absolute(folder).ok())
        .ok_or_else(|| {
            Failure::usage("there is no folder for fetched data: HOME is not set")
                .note("fix", "export LOCKSTEP_CACHE with a folder of your own, or HOME")
                .into()
        })
}
