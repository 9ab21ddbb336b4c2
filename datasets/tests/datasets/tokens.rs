//! Token files: what becomes of them as samples, and what is none.

use std::{collections::BTreeMap, fs, path::Path};

use lockstep_datasets::{
    CacheOptions, Dataset, Error, Loader, Order, OrderOptions, Replica, Shuffle, Tail, Values, inspect, seal,
    verify,
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};
use serde_json::json;

use crate::support::{cached_in, edit_file, edit_index, fresh, numbers, put, small_shards};

/// As `write_datafile` of llm.c does.
pub(crate) fn llm_c(tokens: &[u32]) -> Vec<u8> {
    let is_wide = tokens.iter().any(|token| *token > u16::MAX.into());
    let mut header = [0_i32; 256];
    header[..3].copy_from_slice(&match is_wide {
        false => [20_240_520, 1, tokens.len() as i32],
        true => [20_240_801, 7, tokens.len() as i32],
    });
    let width = if is_wide { 4 } else { 2 };
    let tokens = tokens.iter().flat_map(|token| token.to_le_bytes()[..width].to_vec());
    header.iter().flat_map(|n| n.to_le_bytes()).chain(tokens).collect()
}

/// As nanoGPT does.
pub(crate) fn bare(tokens: &[u32]) -> Vec<u8> {
    tokens.iter().flat_map(|token| token.to_le_bytes()[..2].to_vec()).collect()
}

fn open(uri: &str, window: u32) -> Result<Dataset, Error> {
    Dataset::open_tokens(uri, "", window)
}

/// A dataset of files named so that they are read in this order, every second one with a header.
fn files(files: &[Vec<u32>]) -> String {
    let uri = fresh();
    for (number, tokens) in files.iter().enumerate() {
        let body = if number % 2 == 0 { llm_c(tokens) } else { bare(tokens) };
        put(&uri, &format!("{number:03}.bin"), &body);
    }
    uri
}

/// Windows by plain reading.
fn windows(tokens: &[u32], window: usize) -> Vec<Vec<i64>> {
    let mut found = Vec::new();
    let mut begin = 0;
    while begin + window < tokens.len() {
        found.push(tokens[begin..=begin + window].iter().map(|token| i64::from(*token)).collect());
        begin += window;
    }
    found
}

fn rows(batch: &lockstep_datasets::Batch) -> Vec<Vec<i64>> {
    let column = batch.column("tokens").unwrap();
    column.to_i64().unwrap().chunks(column.row_len().max(1)).map(<[i64]>::to_vec).collect()
}

/// All samples in the stored order.
fn all(dataset: &Dataset, cache: &Path) -> Result<Vec<Vec<i64>>, Error> {
    let whole = dataset.num_samples() as u32;
    let mut loader = Loader::eval(dataset.clone(), whole, Replica::new(0, 1).unwrap(), cached_in(cache))?;
    Ok(rows(&loader.batch(0)?))
}

fn counting(from: u32, count: u32) -> Vec<u32> {
    (from..from + count).collect()
}

#[test]
fn files_of_other_writers_are_read() {
    let fixtures = format!("{}/tests/fixtures/tokens", std::env::var("CARGO_MANIFEST_DIR").unwrap());
    let narrow: Vec<u32> = (0..700).map(|i| (i * 7919 + 13) % 50257).collect();
    let wide: Vec<u32> = narrow.iter().map(|token| token + 70000).collect();
    for (name, tokens, encoding) in [
        ("gpt-2.bin", &narrow, "ndarray:uint16:65"),
        ("nanogpt.bin", &narrow, "ndarray:uint16:65"),
        ("llama-3.bin", &wide, "ndarray:uint32:65"),
    ] {
        let uri = fresh();
        put(&uri, name, &fs::read(format!("{fixtures}/{name}")).unwrap());
        let dataset = open(&uri, 64).unwrap();
        assert_eq!(dataset.columns()[0].encoding.to_string(), encoding);
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(all(&dataset, cache.path()).unwrap(), windows(tokens, 64), "{name}");
        assert_eq!((dataset.num_samples(), dataset.range("tokens")), (10, None));
    }
    // What our own writer's tests rest on.
    assert_eq!(fs::read(format!("{fixtures}/gpt-2.bin")).unwrap(), llm_c(&narrow));
    assert_eq!(fs::read(format!("{fixtures}/llama-3.bin")).unwrap(), llm_c(&wide));
    assert_eq!(fs::read(format!("{fixtures}/nanogpt.bin")).unwrap(), bare(&narrow));
}

#[test]
fn windows_end_with_their_file() {
    let window = 8_u32;
    for (tokens, samples) in [(8, 0), (9, 1), (16, 1), (17, 2), (24, 2), (25, 3)] {
        // The neighbours hold a sample each, and none reaches into another file.
        let all_files = [counting(0, 9), counting(100, tokens), counting(200, 9)];
        let dataset = open(&files(&all_files), window).unwrap();
        assert_eq!(dataset.shard_samples(), [1, samples, 1], "{tokens} tokens");
        let expected: Vec<_> = all_files.iter().flat_map(|tokens| windows(tokens, 8)).collect();
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(all(&dataset, cache.path()).unwrap(), expected);
    }
}

#[test]
fn only_token_files_of_the_folder_itself_are_read() {
    let uri = fresh();
    for (name, first) in [("b.bin", 10), ("a.bin", 0), ("old/c.bin", 20), ("notes.txt", 30)] {
        put(&uri, name, &llm_c(&counting(first, 5)));
    }
    let cache = tempfile::tempdir().unwrap();
    let dataset = open(&uri, 4).unwrap();
    assert_eq!(all(&dataset, cache.path()).unwrap(), [[0, 1, 2, 3, 4], [10, 11, 12, 13, 14]]);
}

#[test]
fn a_large_file_is_read_from_disk_and_the_cache_serves_every_window() {
    let tokens: Vec<u32> = (0..100_000).map(|i| i * 31 % 50_021).collect();
    let folder = tempfile::tempdir().unwrap();
    let uri = folder.path().to_str().unwrap();
    put(uri, "a.bin", &llm_c(&tokens));
    let cache = tempfile::tempdir().unwrap();
    for window in [128, 1000] {
        let dataset = open(uri, window).unwrap();
        assert_eq!(all(&dataset, cache.path()).unwrap(), windows(&tokens, window as usize));
    }
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1, "the window doesn't change the files");
}

#[test]
fn what_is_no_token_file_is_told_with_file_and_place() {
    let good = llm_c(&counting(0, 50));
    let edited = |at: usize, with: i32| {
        let mut file = good.clone();
        file[at..at + 4].copy_from_slice(&with.to_le_bytes());
        file
    };
    let cut = |bytes: usize| good[..bytes].to_vec();
    for (file, part) in [
        (edited(0, 20_240_999), "at byte 0: expected the magic"),
        (edited(4, 2), "at byte 4: expected version 1 after the magic 20240520, got 2"),
        (
            edited(8, 51),
            "at byte 8: expected 1126 bytes for the 51 tokens that the header counts, got 1124: it is truncated",
        ),
        (
            edited(8, 49),
            "expected 1122 bytes for the 49 tokens that the header counts, got 1124: it is too long",
        ),
        (edited(8, -5), "at byte 8: expected the number of tokens, at least 1, got -5"),
        (edited(8, i32::MAX), "it is truncated"),
        (cut(1123), "it is truncated"),
        (cut(600), "at byte 600: expected 1024 bytes of header, got 600 bytes in all"),
        (bare(&counting(0, 50))[..99].to_vec(), "99 bytes without a header"),
        (Vec::new(), "an empty file"),
    ] {
        let uri = fresh();
        put(&uri, "a.bin", &good);
        put(&uri, "b.bin", &file);
        let error = open(&uri, 4).unwrap_err();
        assert!(matches!(error, Error::Format { .. }) && error.is_about_data(), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("/b.bin is damaged") && text.contains(part), "{text} should say {part:?}");
        // The same is told by who looks at all of it, beside what is sound.
        let found = verify(&uri, None).unwrap();
        assert!(found.problems[0].error.contains(part), "{found:?}");
        assert!(seal(&uri).is_err() && inspect(&uri).is_err());
    }
}

#[test]
fn folders_that_hold_no_samples_are_told_with_the_way_out() {
    let refused = |uri: &str, window, part: &str| {
        let error = open(uri, window).unwrap_err();
        assert!(error.to_string().contains(part), "{error} should say {part:?}");
        error
    };
    assert!(matches!(refused(&fresh(), 4, "lockstep data pack --tokens bytes"), Error::NoTokens { .. }));
    let uri = files(&[counting(0, 5), counting(0, 9)]);
    let long = refused(&uri, 9, "data.window + 1 = 10 tokens: its largest file holds 9");
    assert!(matches!(long, Error::LongWindow { needed: 10, longest: 9, .. }));
    refused(&uri, u32::MAX, "data.window + 1 = 4294967296 tokens");
    refused(&uri, 0, "data.window must be at least 1 token");
    assert_eq!(open(&uri, 8).unwrap().num_samples(), 1);

    let uri = fresh();
    put(&uri, "a.bin", &llm_c(&counting(0, 9)));
    put(&uri, "b.bin", &llm_c(&counting(70_000, 9)));
    refused(&uri, 4, "its tokens are uint32, but those of a.bin are uint16");

    let uri = fresh();
    put(&uri, "tiny_shakespeare_train.bin", &llm_c(&counting(0, 9)));
    put(&uri, "tiny_shakespeare_val.bin", &llm_c(&counting(0, 9)));
    assert!(matches!(refused(&uri, 4, "give each split a folder of its own"), Error::MixedSplits { .. }));

    let folder = tempfile::tempdir().unwrap();
    let huge = fs::File::create(folder.path().join("a.bin")).unwrap();
    huge.set_len(4 << 30).unwrap();
    let uri = folder.path().to_str().unwrap();
    assert!(matches!(refused(uri, 4, "split it into several files"), Error::HugeFile { .. }));
}

#[test]
fn each_format_is_read_as_what_it_is() {
    let mds = fresh();
    numbers(&mds, 10, small_shards());
    let error = open(&mds, 4).unwrap_err();
    assert!(matches!(error, Error::OtherFormat { .. }), "{error:?}");
    assert!(error.to_string().contains("remove data.format and data.window"), "{error}");
    let tokens = files(&[counting(0, 9)]);
    assert!(matches!(Dataset::open(&tokens, ""), Err(Error::NoDataset { .. })));
    seal(&tokens).unwrap();
    let error = Dataset::open(&tokens, "").unwrap_err();
    assert!(error.to_string().contains("set data.format to tokens, and data.window"), "{error}");
}

#[test]
fn an_index_of_tokens_is_checked() {
    type Edit = fn(&mut serde_json::Value);
    let cases: [(Edit, &str); 9] = [
        (
            |i| i["shards"][0]["samples"] = 8.into(),
            "8 tokens of uint16 are 1040 bytes with a header, but it has 1042",
        ),
        (|i| i["shards"][0]["column_names"] = json!(["text"]), "is \"tokens\", not \"text\""),
        (|i| i["shards"][0]["column_encodings"] = json!(["int16"]), "uint16 or uint32, not \"int16\""),
        (|i| i["shards"][0]["version"] = 2.into(), "tokens version 1 is expected, but it is tokens 2"),
        (|i| i["shards"][0]["format"] = "mds".into(), "mds version 2 or"),
        (|i| i["shards"][0]["raw_data"]["basename"] = "../a.bin".into(), "leaves the dataset's folder"),
        (|i| i["shards"][0]["samples"] = u64::MAX.into(), "fewer than 2^32 samples"),
        (|i| i["shards"][0]["raw_data"]["bytes"] = u64::MAX.into(), "less than 4 GiB"),
        (
            |i| {
                let mut more = i["shards"][0].clone();
                more["column_encodings"] = json!(["uint32"]);
                more["column_sizes"] = json!([4]);
                i["shards"].as_array_mut().unwrap().push(more);
            },
            "shard 1: its columns differ",
        ),
    ];
    for (edit, part) in cases {
        let uri = files(&[counting(0, 9)]);
        seal(&uri).unwrap();
        edit_index(&uri, edit);
        let error = open(&uri, 4).unwrap_err();
        assert!(matches!(error, Error::Index { .. }), "{error:?}");
        assert!(error.to_string().contains(part), "{error} should say {part:?}");
    }
    // A header that isn't the one of the index, without hashes that would see it first.
    let uri = files(&[counting(0, 600)]);
    seal(&uri).unwrap();
    edit_index(&uri, |index| index["shards"][0]["raw_data"]["hashes"] = json!({}));
    edit_file(&uri, "000.bin", |body| body[..1024].fill(7));
    let cache = tempfile::tempdir().unwrap();
    let error = all(&open(&uri, 4).unwrap(), cache.path()).unwrap_err().to_string();
    assert!(
        error.contains("llm.c's header and 600 tokens of uint16, as the index says, got no header"),
        "{error}"
    );
}

#[test]
fn a_raw_folder_is_known_by_its_listing_and_then_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    for uri in [fresh(), folder.path().to_str().unwrap().to_owned()] {
        put(&uri, "a.bin", &llm_c(&counting(0, 100)));
        put(&uri, "b.bin", &bare(&counting(500, 100)));
        let cache = tempfile::tempdir().unwrap();
        let before = open(&uri, 10).unwrap();
        assert!(!before.is_hashed() && before.digest().starts_with("listing:"));
        assert_eq!(open(&uri, 7).unwrap().identity(), before.identity(), "the window is no part of it");
        all(&before, cache.path()).unwrap();
        let learnt = before.contents();
        assert_eq!(learnt.len(), 2);

        // Replaced in place by as many other tokens: neither the index nor what is cached tells.
        put(&uri, "b.bin", &bare(&counting(501, 100)));
        let after = open(&uri, 10).unwrap();
        assert_eq!(after.identity().index, before.identity().index);
        assert_ne!(after.digest(), before.digest());
        let expected: Vec<_> =
            [counting(0, 100), counting(501, 100)].iter().flat_map(|tokens| windows(tokens, 10)).collect();
        assert_eq!(all(&after, cache.path()).unwrap(), expected);

        let resumed = open(&uri, 10).unwrap();
        resumed.expect(&learnt).unwrap();
        let options = CacheOptions { dir: cache.path().to_owned(), max_bytes: None };
        let error = resumed.check_expected(&options, Replica::new(0, 1).unwrap(), 1 << 20).unwrap_err();
        assert!(matches!(&error, Error::Replaced { file, .. } if file.ends_with("b.bin")), "{error:?}");
        assert!(matches!(all(&resumed, cache.path()), Err(Error::Replaced { .. })));

        // The old content under a new listing is the same data; more of it is another.
        put(&uri, "b.bin", &bare(&counting(500, 100)));
        let back = open(&uri, 10).unwrap();
        back.expect(&learnt).unwrap();
        all(&back, cache.path()).unwrap();
        assert_eq!(back.identity().content, before.identity().content);
        put(&uri, "c.bin", &bare(&counting(500, 100)));
        assert_ne!(open(&uri, 10).unwrap().identity().index, before.identity().index);
    }
}

#[test]
fn a_file_that_changes_after_the_listing_is_an_error() {
    let uri = files(&[counting(0, 100)]);
    let dataset = open(&uri, 10).unwrap();
    put(&uri, "000.bin", &llm_c(&counting(1, 100)));
    let cache = tempfile::tempdir().unwrap();
    let error = all(&dataset, cache.path()).unwrap_err();
    assert!(matches!(error, Error::Storage(lockstep_storage::Error::Changed { .. })), "{error:?}");
}

#[test]
fn a_raw_folder_is_inspected_verified_and_sealed() {
    let folder = tempfile::tempdir().unwrap();
    for uri in [fresh(), folder.path().to_str().unwrap().to_owned()] {
        for split in ["train", "val"] {
            put(&uri, &format!("{split}/a.bin"), &llm_c(&counting(3, 100)));
            put(&uri, &format!("{split}/b.bin"), &bare(&counting(500, 50)));
        }
        let found = inspect(&uri).unwrap();
        let train = &found.splits[0];
        assert_eq!(
            (train.split.as_str(), train.format, train.samples, train.shards),
            ("train", "tokens", 150, 2)
        );
        assert_eq!(train.columns, BTreeMap::from([("tokens".into(), "uint16".into())]));
        assert!(!train.indexed && !train.hashed && train.ranges.is_empty());
        assert_eq!((found.splits.len(), train.raw_bytes), (2, 1024 + 200 + 100));

        let read = verify(&uri, None).unwrap();
        assert!(read.problems.is_empty() && !read.is_good());
        assert_eq!((read.good_samples, read.unproven_samples), (300, 300));

        let before = Dataset::open_tokens(&uri, "train", 10).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let samples = all(&before, cache.path()).unwrap();
        let done = seal(&uri).unwrap();
        assert!(done.splits.iter().all(|split| !split.was_sealed && split.samples == 150), "{done:?}");
        let after = Dataset::open_tokens(&uri, "train", 10).unwrap();
        assert!(after.is_hashed() && after.has_index() && after.digest() == done.splits[0].digest);
        assert_eq!(after.unsealed_digest(), before.identity().index, "a run can go on");
        assert_eq!(after.identity().content, before.identity().content);
        after.expect(&before.contents()).unwrap();
        assert_eq!(after.range("tokens").map(|range| (range.min, range.max)), Some((3.0, 549.0)));
        assert_eq!(all(&after, cache.path()).unwrap(), samples);
        assert!(verify(&uri, None).unwrap().is_good());
        assert!(seal(&uri).unwrap().splits.iter().all(|split| split.was_sealed));
        let digest = |window| Dataset::open_tokens(&uri, "train", window).unwrap().digest().to_owned();
        assert_eq!(digest(10), digest(20));

        edit_file(&uri, "train/b.bin", |body| body[7] ^= 1);
        let damaged = verify(&uri, None).unwrap();
        assert_eq!((damaged.problems.len(), damaged.good_samples), (1, 250), "{damaged:?}");
        assert!(damaged.problems[0].error.contains("b.bin is damaged"), "{damaged:?}");
    }
}

#[test]
fn notes_beside_the_ranges_are_kept_when_an_index_is_sealed() {
    let uri = files(&[counting(0, 30)]);
    seal(&uri).unwrap();
    edit_index(&uri, |index| {
        index["shards"][0]["hashes"] = json!([]);
        index["shards"][0]["raw_data"]["hashes"] = json!({});
        index["lockstep"] = json!({ "source": "here", "ranges": { "tokens": { "min": 0.0, "max": 255.0 } } });
    });
    assert!(!seal(&uri).unwrap().splits[0].was_sealed);
    let sealed = open(&uri, 4).unwrap();
    assert_eq!(sealed.source(), Some("here"));
    assert_eq!(sealed.range("tokens").map(|range| range.max), Some(255.0), "the vocabulary may be larger");
}

proptest! {
    #![proptest_config(Config { cases: 40, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() })]

    #[test]
    fn over_all_ranks_and_one_epoch_every_window_comes_once(
        sizes in prop::collection::vec(1_u32..60, 1..6),
        window in 1_u32..20,
        (ranks, share) in (1_u32..4, 1_u32..4),
        (lanes, block, seed) in (1_u32..4, 2_u32..9, any::<u64>()),
    ) {
        // All tokens differ, so a window is known by its content.
        let mut first = 0;
        let all_files: Vec<Vec<u32>> = sizes.iter().map(|size| { first += size; counting(first - size, *size) }).collect();
        let mut expected: Vec<_> = all_files.iter().flat_map(|tokens| windows(tokens, window as usize)).collect();
        prop_assume!(!expected.is_empty());
        let dataset = open(&files(&all_files), window).unwrap();
        let shuffle = Some(Shuffle { lanes, block });
        let options = OrderOptions { seed, global_batch: ranks * share, shuffle, tail: Tail::Pad };
        let order = Order::new(options, &dataset.shard_samples()).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let mut seen = Vec::new();
        for rank in 0..ranks {
            let replica = Replica::new(rank, ranks).unwrap();
            let mut loader =
                Loader::train(dataset.clone(), order.clone(), replica, cached_in(cache.path())).unwrap();
            for step in 0..order.steps_per_epoch() {
                let batch = loader.batch(step).unwrap();
                let column = batch.column("tokens").unwrap();
                prop_assert!(matches!(column.values, Values::U16(_)));
                prop_assert_eq!(&column.shape, &Some(vec![window as usize + 1]));
                let there = rows(&batch).into_iter().zip(batch.mask()).filter(|(_, there)| *there);
                seen.extend(there.map(|(row, _)| row));
            }
        }
        seen.sort();
        expected.sort();
        prop_assert_eq!(seen, expected);
    }
}
