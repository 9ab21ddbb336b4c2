//! Published weights: which files a URI names, and that no others are taken for them.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_run::{Error, WeightsFrom};
use std::path::Path;

const MODEL: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

async fn find(path: &Path) -> Result<WeightsFrom, String> {
    WeightsFrom::find(path.to_str().unwrap()).await.unwrap()
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).unwrap());
    folder
}

#[tokio::test]
async fn a_file_a_folder_and_an_index_are_found_and_read() {
    let index = r#"{"metadata": {"total_size": 4}, "weight_map": {"a": "2.safetensors", "b": "1.safetensors", "c": "2.safetensors"}}"#;
    let all = folder(&[("1.safetensors", "one"), ("2.safetensors", "two"), (INDEX, index)]);
    let names = |from: &WeightsFrom| from.files.keys().cloned().collect::<Vec<_>>();
    let sharded = find(all.path()).await.unwrap();
    assert_eq!(names(&sharded), ["1.safetensors", "2.safetensors"]);
    assert_eq!(sharded.files["1.safetensors"].blake3, blake3::hash(b"one").to_hex().to_string());
    assert_eq!(sharded.read().await.unwrap(), ["one", "two"]);
    let one = find(&all.path().join("2.safetensors")).await.unwrap();
    assert_eq!((names(&one), one.read().await.unwrap()), (vec!["2.safetensors".into()], vec!["two".into()]));
    // Where both are, the one file is what transformers reads.
    std::fs::write(all.path().join(MODEL), "whole").unwrap();
    assert_eq!(find(all.path()).await.unwrap().read().await.unwrap(), ["whole"]);
}

#[tokio::test]
async fn a_file_of_several_parts_has_the_digest_of_the_whole() {
    let content = "0123456789abcdef".repeat((17 << 20) / 16);
    let all = folder(&[(MODEL, &content)]);
    let found = find(all.path()).await.unwrap();
    assert_eq!(found.files[MODEL].bytes, 17 << 20);
    assert_eq!(found.files[MODEL].blake3, blake3::hash(content.as_bytes()).to_hex().to_string());
    assert_eq!(found.read().await.unwrap(), [content]);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let refused = async |files: &[(&str, &str)], name: &str, words: &str| {
        let all = folder(files);
        let error = find(&all.path().join(name)).await.unwrap_err();
        assert!(error.starts_with("warmStart.uri: ") && error.contains(words), "{error}");
    };
    refused(&[], "", "holds neither model.safetensors nor model.safetensors.index.json; name a folder").await;
    refused(&[], "x.safetensors", "x.safetensors does not exist").await;
    refused(&[(INDEX, r#"{"weight_map": {"a": "1.safetensors"}}"#)], "", "1.safetensors does not exist")
        .await;
    refused(&[(INDEX, "{}")], "", "missing field `weight_map`").await;
    refused(&[(INDEX, r#"{"weight_map": {}}"#)], "", "it names no file").await;
    refused(&[(INDEX, r#"{"weight_map": {"a": "1.bin"}}"#)], "", r#"it names "1.bin", which is no"#).await;
    refused(&[(INDEX, r#"{"weight_map": {"a": "../1.safetensors"}}"#)], "", "is not a valid path").await;
    let error = WeightsFrom::find("s4://b/w").await.unwrap().unwrap_err();
    assert!(error.contains("cannot use \"s4://b/w\""), "{error}");
}

#[tokio::test]
async fn another_file_in_its_place_is_refused() {
    let all = folder(&[(MODEL, "first")]);
    let found = find(all.path()).await.unwrap();
    let path = all.path().join(MODEL);
    let refused = async |words: &str| {
        let error = found.read().await.unwrap_err();
        assert!(matches!(error, Error::Weights { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains("--fresh"), "{error}");
        assert!(error.contains(words), "{error}");
    };
    std::fs::write(&path, "other").unwrap();
    refused(&format!("its BLAKE3 is {}, and was {}", blake3::hash(b"other"), blake3::hash(b"first"))).await;
    std::fs::write(&path, "longer").unwrap();
    refused("it has 6 bytes, and had 5").await;
    std::fs::remove_file(&path).unwrap();
    refused("it is gone").await;
}
