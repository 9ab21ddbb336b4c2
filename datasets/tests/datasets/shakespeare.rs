//! The committed text is whole, and a loader brings each of its windows.

use lockstep_datasets::{Dataset, Loader, Replica, inspect, verify};

use crate::support::cached_in;

// Cargo starts a test in its package.
const SHAKESPEARE: &str = "shakespeare";

#[test]
fn every_byte_is_verified() {
    let found = verify(SHAKESPEARE, None).unwrap();
    assert!(found.is_good(), "{:?}", found.problems);
    assert_eq!(found.good_samples, 1_115_394);
    let digests: Vec<_> =
        found.splits.iter().map(|split| (split.split.as_str(), split.digest.as_str())).collect();
    // What was published under this name never changes.
    assert_eq!(
        digests,
        [
            ("test", "sha256:49cd2d89e11230652b5a92831af5671e5843fd740b80d65a5ef33d2c23c1d20d"),
            ("train", "sha256:cc53d202e7d41e75ba36a6c1f9d1221dc30f38cee297a306414df0af9f3dec2e"),
        ]
    );
    let stored: u64 = inspect(SHAKESPEARE).unwrap().splits.iter().map(|split| split.stored_bytes).sum();
    assert!(stored < 3 << 20, "{stored}");
}

#[test]
fn windows_are_text_that_goes_on_in_the_next() {
    let dataset = Dataset::open_tokens(SHAKESPEARE, "test", 256).unwrap();
    assert_eq!(dataset.num_samples(), 111_538 / 256);
    let cache = tempfile::tempdir().unwrap();
    let loader = Loader::eval(dataset, 2, Replica::new(0, 1).unwrap(), cached_in(cache.path()));
    let tokens = loader.unwrap().batch(0).unwrap().column("tokens").unwrap().to_i64().unwrap();
    assert_eq!((tokens.len(), tokens[256]), (2 * 257, tokens[257]));
    let text: String = tokens[..16].iter().map(|token| char::from(*token as u8)).collect();
    assert_eq!(text, "\n\nGREMIO:\nGood m");
}
