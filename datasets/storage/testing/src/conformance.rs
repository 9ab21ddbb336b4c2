//! The contract of [`Storage`], on a storage of its own: what [`lockstep_storage::conformance`] checks of any store, and what
//! an implementation owes whatever its store does.

use std::sync::Arc;

use lockstep_storage::{Error, Meta, Storage, conformance};

/// Runs every check on a storage, which must be empty.
///
/// # Panics
/// When the implementation breaks the contract.
pub async fn run(storage: Arc<dyn Storage>) {
    assert_eq!(storage.list("").await.unwrap(), [], "the suite needs an empty storage");
    let told = |check: &conformance::Check, outcome: &conformance::Outcome| {
        assert_eq!(*outcome, Ok(()), "{}: {}", check.name, check.promise);
    };
    conformance::run(&storage, "contract", told).await;
    conformance::clean(&storage, "contract").await.unwrap();
    assert_eq!(storage.list("").await.unwrap(), [], "the suite takes its objects away");
    root(&*storage).await;
    bad_paths(&*storage).await;
}

/// The root is a folder like any other.
async fn root(s: &dyn Storage) {
    for path in ["root/b/1", "root/a/2", "top"] {
        s.put(path, "1".into()).await.unwrap();
    }
    let listed: Vec<_> = s.list("").await.unwrap().into_iter().map(|meta| meta.path).collect();
    assert_eq!(listed, ["root/a/2", "root/b/1", "top"]);
    // A folder whose objects are gone may be named too.
    assert!(s.folders("").await.unwrap().contains(&"root".to_owned()));
}

async fn bad_paths(s: &dyn Storage) {
    for path in ["../up", "/abs", "a/../b", "a//b", "a/", "a\\b", "a\0b", "bad_paths/.tmp-x"] {
        let meta = Meta { path: path.to_owned(), bytes: 1, etag: None, version: None };
        let errors = [
            s.get(path).await.unwrap_err(),
            s.get_at_most(path, 1).await.unwrap_err(),
            s.get_listed(&meta).await.unwrap_err(),
            s.replace(&meta, "x".into()).await.unwrap_err(),
            s.get_range(path, 0..1).await.unwrap_err(),
            s.head(path).await.unwrap_err(),
            s.create(path, "x".into()).await.unwrap_err(),
            s.create_secret(path, "x".into()).await.unwrap_err(),
            s.put(path, "x".into()).await.unwrap_err(),
            s.delete(path).await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, Error::BadPath { .. }), "{path:?}: {error:?}");
        }
    }
    // What file managers, editors and file systems leave is never listed, so it can't be written either.
    for path in [".DS_Store", "a/._b", ".nfs1/a", "index.json~", "lost+found/a", ".a.swp"] {
        let errors = [
            s.create(path, "x".into()).await.unwrap_err(),
            s.create_secret(path, "x".into()).await.unwrap_err(),
            s.put(path, "x".into()).await.unwrap_err(),
        ];
        assert!(errors.iter().all(|error| matches!(error, Error::BadPath { .. })), "{path:?}: {errors:?}");
    }
    assert!(matches!(s.list("../up").await, Err(Error::BadPath { .. })));
    assert!(matches!(s.folders("../up").await, Err(Error::BadPath { .. })));
}
