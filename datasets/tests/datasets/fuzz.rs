//! Arbitrary and almost-right bytes: the parsers answer, and neither panic nor take memory for what is not there.

use lockstep_datasets::{ColumnSpec, Compression, Dataset, WriterOptions, parse_sample, parse_shard, verify};
use proptest::prelude::*;

use crate::support::{edit_file, fresh, numbers, small_shards, spec, wait};

const ENCODINGS: [&str; 12] = [
    "bytes",
    "str",
    "json",
    "int",
    "uint8",
    "float16",
    "str_int",
    "str_float",
    "str_decimal",
    "ndarray",
    "ndarray:uint16",
    "ndarray:float32:2,2",
];

fn columns() -> impl Strategy<Value = Vec<ColumnSpec>> {
    prop::collection::vec(0..ENCODINGS.len(), 1..5).prop_map(|encodings| {
        encodings.iter().enumerate().map(|(i, n)| spec(&format!("c{i}"), ENCODINGS[*n])).collect()
    })
}

/// A dataset with one shard, its file and its index.
fn valid(compression: Option<Compression>) -> (String, &'static str) {
    let uri = fresh();
    numbers(&uri, 12, WriterOptions { compression, hashes: Vec::new(), ..small_shards() });
    (uri, if compression.is_some() { "shard.00000.mds.zstd" } else { "shard.00000.mds" })
}

fn shard_bytes() -> Vec<u8> {
    let (uri, file) = valid(None);
    wait(async { lockstep_storage::open(&uri).unwrap().get(file).await.unwrap().to_vec() })
}

proptest! {
    #[test]
    fn random_samples(columns in columns(), data in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(flaw) = parse_sample(&columns, &data) {
            prop_assert!(flaw.offset <= data.len() as u64, "{flaw:?}");
        }
    }

    #[test]
    fn random_shards(columns in columns(), data in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(flaw) = parse_shard(&columns, &data) {
            prop_assert!(flaw.offset <= data.len() as u64, "{flaw:?}");
        }
    }

    #[test]
    fn almost_right_shards(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>(), whole: bool) {
        let mut data = shard_bytes();
        for (at, byte) in edits {
            let at = at.index(data.len());
            data[at] = byte;
        }
        if !whole {
            data.truncate(cut.index(data.len()));
        }
        if let Err(flaw) = parse_shard(&[spec("n", "int"), spec("s", "str")], &data) {
            prop_assert!(flaw.offset <= data.len() as u64, "{flaw:?}");
        }
    }

    #[test]
    fn almost_right_files(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), of_index: bool) {
        let (uri, file) = valid(Some(Compression::Zstd(3)));
        edit_file(&uri, if of_index { "index.json" } else { file }, |body| {
            for (at, byte) in edits {
                let at = at.index(body.len());
                body[at] = byte;
            }
        });
        // Either still good, or told; never a panic.
        let _ = Dataset::open(&uri, "");
        let _ = verify(&uri);
    }

    #[test]
    fn random_indexes(text in ".{0,200}") {
        let uri = fresh();
        wait(async { lockstep_storage::open(&uri).unwrap().put("index.json", text.into()).await.unwrap() });
        prop_assert!(Dataset::open(&uri, "").is_err());
    }
}
