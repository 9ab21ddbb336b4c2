//! Every kind of bad input is a typed error that names the file and the place.

use lockstep_datasets::{Compression, Dataset, Error, WriterOptions, parse_shard, verify};
use serde_json::{Value as Json, json};

use crate::support::{cached_in, edit_file, edit_index, fresh, numbers, small_shards, spec, train, wait};

/// The error of opening a dataset with an edited index.
fn index_error(edit: impl FnOnce(&mut Json)) -> Error {
    let uri = fresh();
    numbers(&uri, 40, small_shards());
    edit_index(&uri, edit);
    let error = Dataset::open(&uri, "").unwrap_err();
    assert!(error.to_string().contains(&uri), "{error} should name {uri}");
    error
}

/// What `verify` says about a dataset without hashes one of whose files was edited: the parsers are on their own.
fn shard_problem(compression: Option<Compression>, edit: impl FnOnce(&mut Vec<u8>)) -> String {
    let uri = fresh();
    numbers(&uri, 40, WriterOptions { compression, hashes: Vec::new(), ..small_shards() });
    let end = compression.map(|compression| format!(".{}", compression.extension())).unwrap_or_default();
    let file = format!("shard.00001.mds{end}");
    let mut bytes = 0;
    edit_file(&uri, &file, |body| {
        edit(body);
        bytes = body.len();
    });
    let part = if compression.is_some() { "zip_data" } else { "raw_data" };
    edit_index(&uri, |index| index["shards"][1][part]["bytes"] = bytes.into());
    let found = verify(&uri, None).unwrap();
    assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
    assert_eq!(found.problems[0].shard, Some(1));
    assert!(found.problems[0].error.contains("shard.00001.mds"), "{}", found.problems[0].error);
    found.problems[0].error.clone()
}

fn put_u32(body: &mut [u8], at: usize, value: u32) {
    body[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn a_missing_dataset_says_what_to_do() {
    let uri = fresh();
    let error = Dataset::open(&uri, "train").unwrap_err();
    assert!(matches!(error, Error::NoDataset { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("{uri}/train/index.json")), "{error}");
    assert!(matches!(verify(&uri, None), Err(Error::NoDataset { .. })));
}

#[test]
fn a_broken_index_is_located() {
    let uri = fresh();
    numbers(&uri, 4, small_shards());
    edit_file(&uri, "index.json", |text| text.truncate(text.len() / 2));
    let error = Dataset::open(&uri, "").unwrap_err();
    assert!(matches!(error, Error::Index { .. }) && error.to_string().contains("line 1"), "{error}");
}

#[test]
fn an_index_that_lies_is_refused() {
    type Edit = fn(&mut Json);
    let cases: [(&str, Edit); 15] = [
        ("version 2", |index| index["version"] = 3.into()),
        ("missing field `samples`", |index| {
            drop(index["shards"][0].as_object_mut().unwrap().remove("samples"))
        }),
        ("integer `-1`", |index| index["shards"][0]["samples"] = (-1).into()),
        ("at least", |index| index["shards"][0]["samples"] = 1_000_000.into()),
        ("less than 4 GiB", |index| index["shards"][0]["samples"] = json!(u64::MAX)),
        ("less than 4 GiB", |index| index["shards"][0]["raw_data"]["bytes"] = json!(u64::MAX)),
        ("leaves the dataset's folder", |index| index["shards"][0]["raw_data"]["basename"] = "../x".into()),
        ("leaves the dataset's folder", |index| {
            index["shards"][0]["raw_data"]["basename"] = "/etc/passwd".into()
        }),
        ("listed twice", |index| index["shards"][1]["raw_data"] = index["shards"][0]["raw_data"].clone()),
        ("differ", |index| index["shards"][1]["column_names"] = json!(["n", "t"])),
        ("equally long", |index| index["shards"][0]["column_names"] = json!(["n"])),
        ("sorted", |index| index["shards"][0]["column_names"] = json!(["s", "n"])),
        ("has size", |index| index["shards"][0]["column_sizes"] = json!([4, null])),
        ("both compression and zip_data", |index| index["shards"][0]["compression"] = "zstd".into()),
        ("mds version 2", |index| index["shards"][0]["format"] = "json".into()),
    ];
    for (part, edit) in cases {
        let error = index_error(edit);
        assert!(error.to_string().contains(part), "{error} should say {part:?}");
        assert!(matches!(error, Error::Index { .. }), "{error:?}");
    }
}

#[test]
fn what_is_not_supported_is_named() {
    type Edit = fn(&mut Json);
    let cases: [(&str, Edit); 2] = [
        ("snappy", |index| index["shards"][0]["compression"] = "snappy".into()),
        ("crc", |index| index["shards"][0]["raw_data"]["hashes"] = json!({"crc": "1"})),
    ];
    for (part, edit) in cases {
        let error = index_error(edit);
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn empty_datasets_are_refused() {
    assert!(matches!(index_error(|index| index["shards"] = json!([])), Error::Empty { .. }));
    let none = |index: &mut Json| {
        index["shards"].as_array_mut().unwrap().iter_mut().for_each(|shard| shard["samples"] = 0.into());
    };
    assert!(matches!(index_error(none), Error::Empty { .. }));
}

#[test]
fn a_damaged_shard_is_located() {
    type Edit = fn(&mut Vec<u8>);
    let cases: [(&str, Edit); 6] = [
        ("at byte 0: expected 4294967295 samples' offsets", |body| put_u32(body, 0, u32::MAX)),
        ("the end of the file", |body| put_u32(body, 0, 1)),
        ("at byte 8: expected an offset from", |body| put_u32(body, 8, 1)),
        ("at byte 8: expected an offset from", |body| put_u32(body, 8, u32::MAX)),
        ("the end of the file", |body| body.push(0)),
        ("expected an offset from", |body| body.truncate(body.len() - 1)),
    ];
    for (part, edit) in cases {
        let problem = shard_problem(None, edit);
        assert!(problem.contains(part), "{problem} should say {part:?}");
    }
    // The last sample's text ends the file.
    let problem = shard_problem(None, |body| *body.last_mut().unwrap() = 0xff);
    assert!(problem.contains("UTF-8"), "{problem}");
    let flaw = parse_shard(&[spec("n", "int")], &[1, 0]).unwrap_err();
    assert_eq!((flaw.offset, flaw.expected.as_str()), (0, "4 bytes of the number of samples"));
}

#[test]
fn a_shard_with_another_number_of_samples_is_not_the_one_that_was_meant() {
    let uri = fresh();
    numbers(&uri, 40, small_shards());
    edit_index(&uri, |index| {
        let samples = index["shards"][1]["samples"].as_u64().unwrap();
        index["shards"][1]["samples"] = (samples - 1).into();
    });
    let problems = verify(&uri, None).unwrap().problems;
    assert!(problems.len() == 1 && problems[0].error.contains("as the index says"), "{problems:?}");
}

#[test]
fn a_damaged_frame_is_told() {
    for compression in [Compression::Zstd(3), Compression::Gzip] {
        for edit in [(|body| body.truncate(20)) as fn(&mut Vec<u8>), |body| body[0] ^= 1, |body| body.clear()]
        {
            let problem = shard_problem(Some(compression), edit);
            assert!(problem.contains("damaged at byte"), "{problem}");
        }
    }
}

#[test]
fn a_frame_that_unfolds_to_more_than_it_says_is_not_unfolded() {
    let bomb = zstd::bulk::compress(&vec![0; 256 << 20], 1).unwrap();
    let problem = shard_problem(Some(Compression::Zstd(1)), move |body| *body = bomb.clone());
    assert!(problem.contains("after decompression, got more"), "{problem}");
}

#[test]
fn missing_and_resized_shards_are_named() {
    let uri = fresh();
    numbers(&uri, 40, small_shards());
    wait(async { lockstep_storage::open(&uri).unwrap().delete("shard.00000.mds").await.unwrap() });
    edit_file(&uri, "shard.00001.mds", |body| body.truncate(body.len() - 1));
    edit_file(&uri, "shard.00002.mds", |body| body[300] ^= 1);
    let problems: Vec<_> =
        verify(&uri, None).unwrap().problems.into_iter().map(|problem| problem.error).collect();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].contains("shard.00000.mds does not exist"), "{problems:?}");
    assert!(problems[1].contains("shard.00001.mds holds"), "{problems:?}");
    assert!(problems[2].contains("its xxh64 is"), "{problems:?}");

    let cache = tempfile::tempdir().unwrap();
    let mut loader = train(&Dataset::open(&uri, "").unwrap(), 40, cached_in(cache.path()));
    assert!(loader.batch(0).is_err());
}
