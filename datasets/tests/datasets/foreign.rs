//! Dataset folders as other tools leave them: with files that are none of ours, packed or unpacked in place, or with things
//! that are no files.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use lockstep_datasets::{Compression, Dataset, Error, WriterOptions, inspect, verify};

use crate::support::{all_numbers, fresh, numbers, small_shards, without_hashes};

/// Far below any deadline.
const AT_ONCE: Duration = Duration::from_secs(20);

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A dataset of one shard in the split `train` of a folder.
fn dataset(options: WriterOptions) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let uri = folder.path().to_str().unwrap().to_owned();
    numbers(&format!("{uri}/train"), 12, WriterOptions { shard_bytes: 1 << 20, ..options });
    (folder, uri)
}

fn read(uri: &str) -> Result<Vec<i64>, Error> {
    all_numbers(&Dataset::open(uri, "train")?, tempfile::tempdir().unwrap().path())
}

#[test]
fn files_of_others_are_passed_over() {
    for options in [small_shards(), without_hashes()] {
        let (folder, uri) = dataset(options);
        let digest = Dataset::open(&uri, "train").unwrap().digest().to_owned();
        let train = folder.path().join("train");
        for name in
            [".DS_Store", "._index.json", "._shard.00000.mds", ".nfs000001", "index.json~", ".index.json.swp"]
        {
            fs::write(train.join(name), "{").unwrap();
            fs::write(folder.path().join(name), "{").unwrap();
        }
        for name in [".Trash-1000", "train~", "lost+found"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("index.json"), "{").unwrap();
        }
        symlink("..", train.join("up")).unwrap();
        symlink("nowhere", train.join("dangling")).unwrap();
        symlink("circle", train.join("circle")).unwrap();
        assert_eq!(inspect(&uri).unwrap().splits.len(), 1);
        let found = verify(&uri, None).unwrap();
        assert!(found.problems.is_empty() && found.good_samples == 12, "{found:?}");
        assert_eq!(Dataset::open(&uri, "train").unwrap().digest(), digest);
        assert_eq!(read(&uri).unwrap(), (0..12).collect::<Vec<_>>());
    }
}

#[test]
fn a_shard_may_lie_there_unpacked() {
    for hashes in [small_shards().hashes, Vec::new()] {
        for compression in [Compression::Zstd(3), Compression::Gzip] {
            let options =
                WriterOptions { compression: Some(compression), hashes: hashes.clone(), ..small_shards() };
            let (folder, uri) = dataset(options);
            let packed = folder.path().join(format!("train/shard.00000.mds.{}", compression.extension()));
            let (raw_folder, _) = dataset(small_shards());
            let raw = raw_folder.path().join("train/shard.00000.mds");
            // The configuration in the shard differs, so the raw shard must come from the packed one.
            let unpack = match compression {
                Compression::Gzip => {
                    Command::new("gzip").arg("-d").arg("-S").arg(".gz").arg(&packed).status()
                }
                Compression::Zstd(_) => {
                    let body = zstd::decode_all(File::open(&packed).unwrap()).unwrap();
                    fs::write(packed.with_extension(""), body).unwrap();
                    fs::remove_file(&packed).unwrap();
                    Command::new("true").status()
                }
            };
            assert!(unpack.unwrap().success());
            assert_eq!(read(&uri).unwrap(), (0..12).collect::<Vec<_>>());
            assert!(verify(&uri, None).unwrap().problems.is_empty());
            // Another dataset's raw shard is none.
            fs::copy(&raw, packed.with_extension("")).unwrap();
            assert!(read(&uri).is_err());
        }
    }
}

#[test]
fn a_shard_may_lie_there_packed() {
    for options in [small_shards(), without_hashes()] {
        for end in ["zstd", "zst", "gz"] {
            let (folder, uri) = dataset(options.clone());
            let raw = folder.path().join("train/shard.00000.mds");
            let packed = folder.path().join(format!("train/shard.00000.mds.{end}"));
            if end == "gz" {
                assert!(Command::new("gzip").arg(&raw).status().unwrap().success());
            } else {
                fs::write(&packed, zstd::encode_all(File::open(&raw).unwrap(), 3).unwrap()).unwrap();
                fs::remove_file(&raw).unwrap();
            }
            assert_eq!(read(&uri).unwrap(), (0..12).collect::<Vec<_>>(), "{end}");
            assert!(verify(&uri, None).unwrap().problems.is_empty());
            // One that unfolds to more than the raw shard is not unfolded.
            let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
            fs::write(&packed, bomb).unwrap();
            let error = read(&uri).unwrap_err().to_string();
            assert!(error.contains("decompression") || error.contains("valid gz"), "{error}");
        }
    }
}

#[test]
fn what_is_no_file_is_told_at_once() {
    for name in ["index.json", "shard.00000.mds"] {
        for options in [small_shards(), without_hashes()] {
            let (folder, uri) = dataset(options);
            let path = folder.path().join("train").join(name);
            fs::remove_file(&path).unwrap();
            make_fifo(&path);
            let begin = Instant::now();
            let error = read(&uri).unwrap_err().to_string();
            assert!(
                error.contains(name) && (error.contains("a FIFO") || error.contains("does not exist")),
                "{error}"
            );
            assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
        }
    }
    // A whole device behind a link.
    let (folder, uri) = dataset(small_shards());
    fs::remove_file(folder.path().join("train/index.json")).unwrap();
    symlink("/dev/zero", folder.path().join("train/index.json")).unwrap();
    assert!(read(&uri).unwrap_err().to_string().contains("a character device"));
}

#[test]
fn a_shard_that_grew_is_not_read() {
    for options in [small_shards(), without_hashes()] {
        let (folder, uri) = dataset(options);
        let shard = folder.path().join("train/shard.00000.mds");
        // Sparse: it would take 100 GB of memory.
        File::options().write(true).open(&shard).unwrap().set_len(100 << 30).unwrap();
        let error = read(&uri).unwrap_err().to_string();
        assert!(error.contains("holds 107374182400 bytes"), "{error}");
        let index = folder.path().join("train/index.json");
        File::options().write(true).open(&index).unwrap().set_len(100 << 30).unwrap();
        assert!(read(&uri).unwrap_err().to_string().contains("more than 1 GiB"));
    }
}

#[test]
fn a_missing_shard_is_named_as_the_index_names_it() {
    let uri = fresh();
    numbers(&uri, 12, WriterOptions { compression: Some(Compression::Zstd(3)), ..small_shards() });
    let storage = lockstep_storage::open(&uri).unwrap();
    crate::support::wait(async { storage.delete("shard.00000.mds.zstd").await.unwrap() });
    let found = verify(&uri, None).unwrap();
    assert!(found.problems[0].error.contains("shard.00000.mds.zstd does not exist"), "{found:?}");
}
