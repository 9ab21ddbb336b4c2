//! Text to token files.

use std::{fs, io::Write, path::PathBuf};

use flate2::{Compression as Level, write::GzEncoder};
use lockstep_datasets::{
    Compression, Dataset, Error, HashAlgorithm, PackTextOptions, WriterOptions, inspect, pack_text, verify,
};

use crate::{
    support::{fresh, wait},
    tokens::llm_c,
};

struct Text {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn text(content: &[u8]) -> Text {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input.txt");
    fs::write(&path, content).unwrap();
    Text { _folder: folder, path }
}

fn read(uri: &str, path: &str) -> Vec<u8> {
    let storage = lockstep_storage::open(uri).unwrap();
    wait(async { storage.get(path).await.unwrap() }).to_vec()
}

/// The text of a split, out of all its files.
fn back(uri: &str, split: &str) -> String {
    let files = inspect(uri).unwrap().splits.iter().find(|found| found.split == split).unwrap().shards;
    let bytes = (0..files).flat_map(|file| {
        let body = read(uri, &format!("{split}/tokens.{file:05}.bin"))[1024..].to_vec();
        body.chunks(2)
            .map(|token| u8::try_from(u16::from_le_bytes([token[0], token[1]])).unwrap())
            .collect::<Vec<_>>()
    });
    String::from_utf8(bytes.collect()).unwrap()
}

fn shares(shares: &[(&str, f64)]) -> Vec<(String, f64)> {
    shares.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect()
}

#[test]
fn text_becomes_files_that_llm_c_reads() {
    let (input, output) = (text(b"hello, world\n"), fresh());
    let source = Some("somebody".to_owned());
    let report =
        pack_text(&PackTextOptions { source, ..PackTextOptions::new(&input.path, &output) }).unwrap();
    let tokens: Vec<u32> = b"hello, world\n".iter().map(|byte| u32::from(*byte)).collect();
    assert_eq!(read(&output, "train/tokens.00000.bin"), llm_c(&tokens));
    let split = &report.splits[0];
    assert_eq!(
        (split.name.as_str(), split.samples, split.shards, split.stored_bytes),
        ("train", 13, 1, 1024 + 26)
    );
    let dataset = Dataset::open_tokens(&output, "train", 4).unwrap();
    assert!(dataset.is_hashed() && dataset.digest() == split.digest);
    assert_eq!(dataset.range("tokens").map(|range| (range.min, range.max)), Some((0.0, 255.0)));
    assert_eq!((dataset.source(), dataset.tokenizer()), (Some("somebody"), Some("bytes")));
    assert!(verify(&output, None).unwrap().is_good());
}

#[test]
fn splits_follow_one_another_and_files_are_bounded() {
    let content: String = (0..3000).map(|i| format!("{i} \u{20ac}\n")).collect();
    for zipped in [false, true] {
        let (input, output) = (text(content.as_bytes()), fresh());
        if zipped {
            let mut zip = GzEncoder::new(fs::File::create(&input.path).unwrap(), Level::default());
            zip.write_all(content.as_bytes()).unwrap();
            zip.finish().unwrap();
        }
        let writer = WriterOptions {
            shard_bytes: 1024 + 4000,
            hashes: vec![HashAlgorithm::Xxh64, HashAlgorithm::Sha256],
            ..WriterOptions::default()
        };
        let shares = shares(&[("train", 0.8), ("val", 0.1), ("test", 0.1)]);
        let report =
            pack_text(&PackTextOptions { shares, writer, ..PackTextOptions::new(&input.path, &output) })
                .unwrap();
        let [train, val, test] = ["train", "val", "test"].map(|split| back(&output, split));
        assert_eq!([train.as_str(), &val, &test].concat(), content);
        // Cut at a character near the place, not through one.
        assert!(train.len().abs_diff(content.len() * 8 / 10) < 4, "{}", train.len());
        assert!(val.len().abs_diff(test.len()) < 8);
        assert_eq!(report.splits[0].shards, train.len().div_ceil(2000));
        for file in 0..report.splits[0].shards {
            assert!(read(&output, &format!("train/tokens.{file:05}.bin")).len() <= 1024 + 4000);
        }
        let found = inspect(&output).unwrap();
        assert_eq!(found.splits[0].hashes, ["sha256", "xxh64"]);
        assert_eq!(found.splits[0].tokenizer.as_deref(), Some("bytes"));
        assert!(verify(&output, None).unwrap().is_good());
        let error = pack_text(&PackTextOptions::new(&input.path, &output)).unwrap_err();
        assert!(matches!(error, Error::Exists { .. }), "{error:?}");
    }
}

#[test]
fn what_cannot_be_packed_leaves_nothing() {
    type Edit = fn(&mut PackTextOptions);
    let none: Edit = |_| {};
    let cases: [(&[u8], Edit, &str); 7] = [
        (b"", none, "holds no samples"),
        (b"a\nb\xff", none, "input.txt:2: byte 3 of the text is not UTF-8"),
        (b"a\n\xe2\x82", none, "input.txt:2: byte 2 of the text is not UTF-8"),
        (
            b"hello",
            |o| o.shares = shares(&[("train", 0.9), ("test", 0.1)]),
            "at least 4 bytes of the text's 5",
        ),
        (b"hello", |o| o.shares = shares(&[("train", 0.9)]), "positive and add up to 1"),
        (b"hello", |o| o.shares = shares(&[("a", 0.5), ("a", 0.5)]), "split names"),
        (b"hello", |o| o.writer.compression = Some(Compression::Gzip), "compression must be none"),
    ];
    for (content, edit, part) in cases {
        let (input, output) = (text(content), fresh());
        let mut options = PackTextOptions::new(&input.path, &output);
        edit(&mut options);
        let error = pack_text(&options).unwrap_err();
        assert!(error.to_string().contains(part), "{error} should say {part:?}");
        let storage = lockstep_storage::open(&output).unwrap();
        assert!(wait(async { storage.list("").await.unwrap() }).is_empty(), "{part}");
    }
    let error = pack_text(&PackTextOptions::new("/nowhere/input.txt", fresh())).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("/nowhere/input.txt"), "{error}");
}

#[test]
fn what_a_packer_left_halfway_is_no_dataset() {
    let (input, output) = (text(b"hello, world\n"), fresh());
    pack_text(&PackTextOptions::new(&input.path, &output)).unwrap();
    let storage = lockstep_storage::open(&output).unwrap();
    wait(async { storage.delete("train/index.json").await.unwrap() });
    let error = Dataset::open_tokens(&output, "train", 4).unwrap_err();
    assert!(matches!(error, Error::Unfinished { .. }), "{error:?}");
    assert!(error.to_string().contains("/train/index.json is not there: packing or copying"), "{error}");
    assert!(!verify(&output, None).unwrap().problems.is_empty());
    pack_text(&PackTextOptions::new(&input.path, &output)).unwrap();
    assert!(verify(&output, None).unwrap().is_good());
}
