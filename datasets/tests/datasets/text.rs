//! Text to token files.

use std::{fs, io::Write, path::PathBuf};

use flate2::{Compression as Level, write::GzEncoder};
use lockstep_datasets::{
    Compression, Dataset, Error, HashAlgorithm, PackTextOptions, Tokenizer, WriterOptions, inspect,
    pack_text, verify,
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

/// Tokens of a split, out of all its files.
fn tokens_of(uri: &str, split: &str) -> Vec<u16> {
    let files = inspect(uri).unwrap().splits.iter().find(|found| found.split == split).unwrap().shards;
    let file = |file| read(uri, &format!("{split}/tokens.{file:05}.bin"))[1024..].to_vec();
    let bytes: Vec<u8> = (0..files).flat_map(file).collect();
    bytes.chunks(2).map(|token| u16::from_le_bytes([token[0], token[1]])).collect()
}

// Cargo starts a test in its package. `bpe.json` was trained on the committed plays with 512 tokens.
const BPE: &str = "tests/fixtures/bpe.json";

#[test]
fn a_tokenizer_of_a_file_gives_the_tokens_that_its_own_library_gives() {
    let expected: serde_json::Value =
        serde_json::from_slice(&fs::read("tests/fixtures/bpe.ids.json").unwrap()).unwrap();
    let expected: Vec<u16> = serde_json::from_value(expected["ids"].clone()).unwrap();
    let tokenizer = Tokenizer::open(BPE).unwrap();
    let output = fresh();
    let options = PackTextOptions {
        tokenizer: tokenizer.clone(),
        ..PackTextOptions::new("tests/fixtures/bpe.txt", &output)
    };
    pack_text(&options).unwrap();
    assert_eq!(tokens_of(&output, "train"), expected);

    let dataset = Dataset::open_tokens(&output, "train", 16).unwrap();
    assert_eq!(dataset.range("tokens").map(|range| range.max), Some(511.0));
    let recorded = dataset.tokenizer().unwrap();
    assert!(recorded.starts_with("bpe.json sha256:") && tokenizer.made(recorded), "{recorded}");
    assert!(!Tokenizer::Bytes.made(recorded) && !tokenizer.made("bytes"));
    assert!(!tokenizer.made("bpe.json sha256:00"), "another file of that name");
    assert!(tokenizer.made(&recorded.replace("bpe.json", "renamed.json")));

    let mut decoder = tokenizer.decoder();
    let text: String = expected.iter().map(|token| decoder.push(i64::from(*token)).unwrap()).collect();
    assert_eq!(text + &decoder.end(), fs::read_to_string("tests/fixtures/bpe.txt").unwrap());
}

/// A text of many pieces, on several cores; and of two splits, whose tokens make up the whole text again.
#[test]
fn pieces_have_the_tokens_of_the_whole() {
    let plays = back("shakespeare", "train");
    let input = text(plays.as_bytes());
    let tokenizer = Tokenizer::open(BPE).unwrap();
    let pack = |of: &[(&str, f64)]| {
        let (output, tokenizer) = (fresh(), tokenizer.clone());
        let options =
            PackTextOptions { tokenizer, shares: shares(of), ..PackTextOptions::new(&input.path, &output) };
        pack_text(&options).unwrap();
        output
    };
    let whole = tokens_of(&pack(&[("train", 1.0)]), "train");
    assert!(whole == tokenizer.encode(&plays).unwrap(), "{} tokens differ", whole.len());
    let output = pack(&[("train", 0.9), ("test", 0.1)]);
    let mut decoder = tokenizer.decoder();
    let both = [tokens_of(&output, "train"), tokens_of(&output, "test")].concat();
    let text: String = both.iter().map(|token| decoder.push(i64::from(*token)).unwrap()).collect();
    assert!(text + &decoder.end() == plays, "{} tokens are another text", both.len());
}

#[test]
fn what_is_no_tokenizer_is_named() {
    let none = text(b"{}");
    let large: String = (0..65_537).map(|i| format!("\"t{i}\":{i},")).collect();
    let large = format!(
        r#"{{"version":"1.0","added_tokens":[],"model":{{"type":"WordLevel","vocab":{{{}}},"unk_token":"t0"}}}}"#,
        large.trim_end_matches(',')
    );
    let large = text(large.as_bytes());
    for (name, words) in [
        ("nowhere.json", "write bytes, or name a tokenizer.json"),
        (none.path.to_str().unwrap(), "no tokenizer.json of Hugging Face's"),
        (large.path.to_str().unwrap(), "it has 65537 tokens, and a file of tokens can tell 65536 apart"),
    ] {
        let error = Tokenizer::open(name).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(name), "{error}");
    }
}
