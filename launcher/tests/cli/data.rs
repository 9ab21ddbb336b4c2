//! `lockstep data`: pack, inspect, verify, seal.

use crate::common::run;
use serde_json::Value;

#[test]
fn what_is_packed_is_inspected_and_verified() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (csv, set) = (at("tiny.csv"), at("tiny"));
    let rows: String = (0..20).map(|i| format!("{i},{},{}\n", i * 2, i % 3)).collect();
    std::fs::write(&csv, rows).unwrap();

    let (code, stdout, stderr) = run(&["data", "pack", &csv, &set, "--split", "train=0.8,test=0.2"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("train") && stdout.contains("16") && stdout.contains("test"), "{stdout}");

    let (code, stdout, _) = run(&["data", "inspect", &set, "--output", "json"]);
    let found: Value = serde_json::from_str(&stdout).unwrap();
    let samples: u64 =
        found["splits"].as_array().into_iter().flatten().filter_map(|s| s["samples"].as_u64()).sum();
    assert_eq!((code, samples), (0, 20));

    let (code, stdout, _) = run(&["data", "verify", &set]);
    assert!(code == 0 && stdout.contains("is good: 20 good samples"), "{stdout}");

    let (code, _, stderr) = run(&["data", "pack", &csv, &set]);
    assert!(code == 1 && stderr.contains("exists already"), "{stderr}");

    let shard = std::fs::read_dir(dir.path().join("tiny/train"))
        .unwrap()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "mds"))
        .unwrap();
    let mut bytes = std::fs::read(&shard).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    let (code, stdout, stderr) = run(&["data", "verify", &set]);
    assert!(code == 1 && stdout.contains("is damaged: 4 good samples"), "{stdout}");
    assert!(stderr.contains("has 1 problem") && stderr.contains("shard.00000.mds"), "{stderr}");
}

#[test]
fn a_dataset_without_hashes_is_not_called_good_until_it_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (csv, set) = (at("tiny.csv"), at("tiny"));
    std::fs::write(&csv, "1,0\n2,1\n3,0\n").unwrap();
    assert_eq!(run(&["data", "pack", &csv, &set]).0, 0);
    let index = dir.path().join("tiny/train/index.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    let shard = &mut json["shards"][0];
    shard["hashes"] = Value::Array(Vec::new());
    shard["raw_data"]["hashes"] = Value::Object(serde_json::Map::new());
    std::fs::write(&index, json.to_string()).unwrap();

    let (code, stdout, _) = run(&["data", "inspect", &set]);
    assert!(code == 0 && stdout.contains("listing:"), "{stdout}");
    let (code, stdout, _) = run(&["data", "verify", &set]);
    assert!(code == 0 && !stdout.contains("good"), "{stdout}");
    assert!(
        stdout.contains("3 of 3 samples can't be checked") && stdout.contains("lockstep data seal"),
        "{stdout}"
    );
    let (code, stdout, stderr) = run(&["data", "seal", &set]);
    assert!(code == 0 && stdout.contains("sealed") && stdout.contains("sha256:"), "{stdout}{stderr}");
    let (code, stdout, _) = run(&["data", "verify", &set]);
    assert!(code == 0 && stdout.contains("is good: 3 good samples"), "{stdout}");
    let (code, stdout, _) = run(&["data", "seal", &set, "--output", "json"]);
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &found["splits"][0]["was_sealed"]), (0, &Value::Bool(true)), "{stdout}");
}

#[test]
fn a_text_is_packed_and_used_like_any_dataset() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (input, set) = (at("book.txt"), at("book"));
    std::fs::write(&input, "to be or not to be\n".repeat(100)).unwrap();

    let pack = ["data", "pack", &input, &set, "--tokens", "bytes", "--split", "train=0.9,test=0.1"];
    let (code, stdout, stderr) = run(&pack);
    assert!(code == 0 && stdout.contains("TOKENS") && stdout.contains("1710"), "{stdout}{stderr}");
    let (code, stdout, _) = run(&["data", "inspect", &set]);
    assert!(code == 0 && stdout.contains("1710 tokens"), "{stdout}");
    assert!(stdout.contains("tokens:uint16") && stdout.contains("train: tokens by bytes"), "{stdout}");
    let (code, stdout, _) = run(&["data", "verify", &set]);
    assert!(code == 0 && stdout.contains("is good: 1900 good tokens"), "{stdout}");
    let (code, stdout, stderr) = run(&["data", "copy", &set, &at("copy")]);
    assert!(code == 0 && stdout.contains("copied 4 files"), "{stdout}{stderr}");
    let (code, _, stderr) = run(&pack);
    assert!(code == 1 && stderr.contains("exists already"), "{stderr}");

    let (code, _, stderr) = run(&["data", "pack", &input, &at("x"), "--tokens", "bytes", "--label", "first"]);
    assert!(code == 2 && stderr.contains("cannot be used with"), "{stderr}");
    let (code, _, stderr) = run(&["data", "pack", &input, &at("x"), "--tokens", "words"]);
    assert!(code == 2 && stderr.contains("write bytes"), "{stderr}");
}

#[test]
fn token_files_without_an_index_are_described_checked_and_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("tokens").to_string_lossy().into_owned();
    for split in ["train", "val"] {
        std::fs::create_dir_all(dir.path().join("tokens").join(split)).unwrap();
        // As nanoGPT writes them.
        let tokens: Vec<u8> = (0..300_u16).flat_map(u16::to_le_bytes).collect();
        std::fs::write(dir.path().join("tokens").join(split).join("a.bin"), tokens).unwrap();
    }
    let (code, stdout, _) = run(&["data", "inspect", &set]);
    assert!(code == 0 && stdout.contains("300 tokens") && stdout.contains("listing:"), "{stdout}");
    let (code, stdout, _) = run(&["data", "verify", &set]);
    assert!(code == 0 && stdout.contains("600 of 600 tokens can't be checked"), "{stdout}");
    let copy = dir.path().join("copy").to_string_lossy().into_owned();
    let (code, _, stderr) = run(&["data", "copy", &set, &copy]);
    assert!(code == 2 && stderr.contains("lockstep data seal"), "{stderr}");
    let (code, stdout, stderr) = run(&["data", "seal", &set]);
    assert!(code == 0 && stdout.contains("sealed") && stdout.contains("sha256:"), "{stdout}{stderr}");
    let (code, stdout, _) = run(&["data", "verify", &set]);
    assert!(code == 0 && stdout.contains("is good: 600 good tokens"), "{stdout}");
    let (code, stdout, stderr) = run(&["data", "copy", &set, &copy]);
    assert!(code == 0 && stdout.contains("copied 4 files"), "{stdout}{stderr}");
}

#[test]
fn splits_need_shares() {
    let (code, _, stderr) = run(&["data", "pack", "in.csv", "out", "--split", "train,test"]);
    assert!(code == 2 && stderr.contains("--split train=0.8,test=0.2"), "{stderr}");
}

#[test]
fn a_dataset_that_is_not_there_is_named() {
    let (code, _, stderr) = run(&["data", "inspect", "nowhere/at/all"]);
    assert!(code == 1 && stderr.contains("nowhere/at/all"), "{stderr}");
}
