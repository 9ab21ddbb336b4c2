//! Bytes that nobody meant: the parsers answer, and neither panic nor take memory for what is not there.
//!
//! Each target starts from the inputs in `tests/corpus` and from what MosaicML's own writer wrote, and changes them; how
//! long, and what becomes of one that breaks something, is in `lockstep-fuzzing`.

use std::{fs, path::Path, sync::Arc};

use lockstep_datasets::{
    ColumnSpec, Columns, Compression, Dataset, Encoding, Loader, LoaderOptions, Replica, WriterOptions,
    parse_sample, parse_shard, parse_token_header, verify,
};
use lockstep_fuzzing::fuzz;
use lockstep_storage::Storage;
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};
use serde_json::{Value as Json, json};

use crate::support::{cached_in, fresh, numbers, spec, wait};

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

/// The inputs of a target, sorted by name, and files of the fixtures.
fn corpus(target: &str, fixtures: &[&str]) -> Vec<Vec<u8>> {
    let tests = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("tests");
    let mut inputs = lockstep_fuzzing::corpus(tests.join("corpus").join(target));
    inputs.extend(fixtures.iter().map(|name| fs::read(tests.join("fixtures/mosaic").join(name)).unwrap()));
    inputs
}

/// Those of the corpus.
fn columns() -> Vec<ColumnSpec> {
    vec![spec("a", "ndarray"), spec("n", "int"), spec("s", "str")]
}

/// A dataset in memory whose one shard is `file`, with whatever is in `data`; the same each time.
struct Bench {
    uri: String,
    storage: Arc<dyn Storage>,
}

impl Bench {
    fn new() -> Self {
        let uri = fresh();
        Self { storage: lockstep_storage::open(&uri).unwrap(), uri }
    }

    fn put(&self, name: &str, data: &[u8]) {
        wait(self.storage.put(name, data.to_vec().into())).unwrap();
    }

    /// Everything that reads it answers; samples that are delivered are whole.
    fn use_it(&self) {
        let _ = verify(&self.uri, None);
        let opened = Dataset::open(&self.uri, "").or_else(|_| Dataset::open_tokens(&self.uri, "", 3));
        let Ok(dataset) = opened else { return };
        let _ = (dataset.identity(), dataset.range("n"), dataset.source());
        if dataset.num_samples() > 1000 {
            return;
        }
        let cache = tempfile::tempdir().unwrap();
        for columns in [Columns::All, Columns::Numbers] {
            let options = LoaderOptions { columns, ..cached_in(cache.path()) };
            let loader = Loader::eval(dataset.clone(), 1000, Replica::new(0, 1).unwrap(), options);
            if let Ok(batch) = loader.and_then(|mut loader| loader.batch(0)) {
                assert_eq!(batch.num_samples() as u64, dataset.num_samples());
                assert!(
                    batch.columns.iter().all(|column| column.flaw.is_some() || column.rows == batch.len())
                );
            }
        }
    }
}

#[test]
fn indexes() {
    let corpus = corpus("index", &["raw/index.json", "zstd/index.json", "gz/index.json"]);
    let bench = Bench::new();
    bench.put("shard.00000.mds", &fs::read(three("shard")).unwrap());
    fuzz("index", &corpus, |text| {
        bench.put("index.json", text);
        bench.use_it();
    });
}

fn three(target: &str) -> String {
    format!("{}/tests/corpus/{target}/three", std::env::var("CARGO_MANIFEST_DIR").unwrap())
}

#[test]
fn shards() {
    let corpus = corpus("shard", &["raw/shard.00000.mds", "raw/shard.00001.mds"]);
    fuzz("shard", &corpus, |data| {
        if let Err(flaw) = parse_shard(&columns(), data) {
            assert!(flaw.offset <= data.len() as u64, "{flaw:?}");
        }
    });
}

#[test]
fn samples() {
    fuzz("sample", &corpus("sample", &[]), |data| {
        let specs = columns();
        // Other columns than it was written with: the first byte says which.
        let other = data.first().map_or(0, |byte| usize::from(*byte) % ENCODINGS.len());
        let pickled = Encoding::Other { name: "pkl".into(), bytes: None };
        let pickled = ColumnSpec { name: "n".into(), encoding: pickled };
        for specs in [&specs[..], &[spec("a", ENCODINGS[other]), pickled]] {
            if let Err(flaw) = parse_sample(specs, data) {
                assert!(flaw.offset <= data.len() as u64, "{flaw:?}");
            }
        }
    });
}

/// A packed shard of which the index believes all, whatever its size is.
fn packed(target: &str, fixtures: &[&str]) {
    let index: Json =
        serde_json::from_slice(&fs::read(three("shard").replace("shard/three", "index/packed")).unwrap())
            .unwrap();
    let bench = Bench::new();
    fuzz(target, &corpus(target, fixtures), |data| {
        let mut index = index.clone();
        let shard = &mut index["shards"][0];
        shard["compression"] = target.into();
        shard["zip_data"] = json!({ "basename": "packed", "bytes": data.len() });
        bench.put("index.json", index.to_string().as_bytes());
        bench.put("packed", data);
        let _ = verify(&bench.uri, None);
    });
}

#[test]
fn zstd_frames() {
    packed("zstd", &["zstd/shard.00000.mds.zstd"]);
}

#[test]
fn gzip_members() {
    packed("gz", &["gz/shard.00000.mds.gz"]);
}

#[test]
fn token_headers() {
    let mut inputs = corpus("tokens", &[]);
    for name in ["gpt-2.bin", "llama-3.bin", "nanogpt.bin"] {
        let path = format!("{}/tests/fixtures/tokens/{name}", std::env::var("CARGO_MANIFEST_DIR").unwrap());
        inputs.push(fs::read(path).unwrap());
    }
    let bench = Bench::new();
    fuzz("tokens", &inputs, |data| {
        let head = &data[..data.len().min(1024)];
        // A size that isn't that of the data is met too: a header may promise anything.
        for bytes in [data.len() as u64, u64::from(u32::MAX), u64::MAX] {
            match parse_token_header(head, bytes) {
                Ok(file) => assert!(file.bytes() == bytes || file.begin == 0 && file.tokens == bytes / 2),
                Err(flaw) => assert!(flaw.offset <= head.len().max(8) as u64, "{flaw:?}"),
            }
        }
        bench.put("a.bin", data);
        let _ = verify(&bench.uri, None);
        let Ok(dataset) = Dataset::open_tokens(&bench.uri, "", 7) else { return };
        let cache = tempfile::tempdir().unwrap();
        let loader =
            Loader::eval(dataset.clone(), 1000, Replica::new(0, 1).unwrap(), cached_in(cache.path()));
        let batch = loader.and_then(|mut loader| loader.batch(0)).unwrap();
        assert_eq!(batch.num_samples() as u64, dataset.num_samples().min(1000));
    });
}

fn any_columns() -> impl Strategy<Value = Vec<ColumnSpec>> {
    prop::collection::vec(0..ENCODINGS.len(), 1..5).prop_map(|encodings| {
        encodings.iter().enumerate().map(|(i, n)| spec(&format!("c{i}"), ENCODINGS[*n])).collect()
    })
}

proptest! {
    #![proptest_config(Config { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() })]

    #[test]
    fn random_samples(columns in any_columns(), data in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(flaw) = parse_sample(&columns, &data) {
            prop_assert!(flaw.offset <= data.len() as u64, "{flaw:?}");
        }
    }

    #[test]
    fn random_shards(columns in any_columns(), data in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(flaw) = parse_shard(&columns, &data) {
            prop_assert!(flaw.offset <= data.len() as u64, "{flaw:?}");
        }
    }

    #[test]
    fn random_indexes(text in ".{0,200}") {
        let uri = fresh();
        wait(async { lockstep_storage::open(&uri).unwrap().put("index.json", text.into()).await.unwrap() });
        prop_assert!(Dataset::open(&uri, "").is_err());
    }

    #[test]
    fn almost_right_files(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let uri = fresh();
        let options = WriterOptions { compression: Some(Compression::Zstd(3)), ..WriterOptions::default() };
        numbers(&uri, 12, options);
        crate::support::edit_file(&uri, "shard.00000.mds.zstd", |body| {
            for (at, byte) in edits {
                let at = at.index(body.len());
                body[at] = byte;
            }
        });
        // The hashes see each change.
        let found = verify(&uri, None).unwrap();
        prop_assert!(found.is_good() == found.problems.is_empty());
    }
}
