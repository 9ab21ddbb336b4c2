//! Hashes are written into an index once, at once, and only if they are true.

use lockstep_datasets::{Compression, Contents, Dataset, Error, WriterOptions, seal, verify};
use serde_json::{Value as Json, json};

use crate::support::{
    all_numbers, edit_file, edit_index, fresh, numbers, relabel, small_shards, wait, without_hashes,
};

fn index(uri: &str) -> Json {
    let storage = lockstep_storage::open(uri).unwrap();
    serde_json::from_slice(&wait(async { storage.get("index.json").await.unwrap() })).unwrap()
}

#[test]
fn a_sealed_dataset_is_known_by_its_content() {
    for compression in [None, Some(Compression::Zstd(3)), Some(Compression::Gzip)] {
        let folder = tempfile::tempdir().unwrap();
        for uri in [fresh(), folder.path().to_str().unwrap().to_owned()] {
            numbers(&uri, 40, WriterOptions { compression, ..without_hashes() });
            // What we don't know stays.
            edit_index(&uri, |index| index["added"] = json!({"by": "somebody"}));
            let before = Dataset::open(&uri, "").unwrap();
            let cache = tempfile::tempdir().unwrap();
            all_numbers(&before, cache.path()).unwrap();

            let done = seal(&uri).unwrap();
            let split = &done.splits[0];
            assert!(!split.was_sealed && split.samples == 40, "{done:?}");
            let after = Dataset::open(&uri, "").unwrap();
            assert!(after.is_hashed() && after.digest() == split.digest);
            assert_eq!(after.unsealed_digest(), before.identity().index);
            assert_eq!(after.identity().content, before.identity().content);
            after.expect(&before.contents()).unwrap();
            assert!(verify(&uri, None).unwrap().is_good());
            assert_eq!(all_numbers(&after, cache.path()).unwrap(), (0..40).collect::<Vec<_>>());
            assert_eq!(index(&uri)["added"], json!({"by": "somebody"}));
            assert_eq!(index(&uri)["shards"][0]["hashes"], json!(["xxh3_128"]));

            let again = seal(&uri).unwrap();
            assert!(again.splits[0].was_sealed && again.splits[0].digest == split.digest, "{again:?}");
            let end =
                compression.map(|compression| format!(".{}", compression.extension())).unwrap_or_default();
            edit_file(&uri, &format!("shard.00000.mds{end}"), |body| *body.last_mut().unwrap() ^= 1);
            assert!(!verify(&uri, None).unwrap().is_good());
        }
    }
}

#[test]
fn an_index_with_hashes_is_not_touched() {
    let uri = fresh();
    numbers(&uri, 40, small_shards());
    let before = index(&uri);
    assert!(seal(&uri).unwrap().splits[0].was_sealed);
    assert_eq!(index(&uri), before);
}

#[test]
fn what_is_damaged_is_not_sealed() {
    let uri = fresh();
    numbers(&uri, 40, without_hashes());
    let before = index(&uri);
    edit_file(&uri, "shard.00002.mds", |body| *body.last_mut().unwrap() = 0xff);
    let error = seal(&uri).unwrap_err();
    assert!(error.to_string().contains("shard.00002.mds"), "{error}");
    assert_eq!(index(&uri), before);
    assert!(matches!(seal(&fresh()), Err(Error::NoDataset { .. })));
}

#[test]
fn a_seal_that_contradicts_what_was_read_is_seen() {
    let uri = fresh();
    numbers(&uri, 40, without_hashes());
    let before = Dataset::open(&uri, "").unwrap();
    all_numbers(&before, tempfile::tempdir().unwrap().path()).unwrap();
    let contents: Contents = before.contents();
    relabel(&uri, "shard.00000.mds");
    seal(&uri).unwrap();
    let after = Dataset::open(&uri, "").unwrap();
    assert!(matches!(after.expect(&contents), Err(Error::Replaced { .. })));
}
