//! The same index is not the same data: what a dataset without hashes is known by, before and after it was read.

use std::{
    fs::{self, File, FileTimes},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use lockstep_datasets::{
    CacheOptions, Contents, Dataset, Error, Loader, LoaderOptions, Recorded, Replica, Value, Writer,
    WriterOptions, verify,
};

use lockstep_storage_testing::{Call, Fault, S3Server};

use crate::support::{
    Counting, all_numbers, cached_in, check_numbers, edit_file, fresh, numbers, order, relabel, small_shards,
    spec, train, wait, without_hashes,
};

const FIRST: &str = "shard.00000.mds";

fn open(uri: &str) -> Dataset {
    Dataset::open(uri, "").unwrap()
}

fn in_order(samples: i64) -> Vec<i64> {
    (0..samples).collect()
}

fn copy(from: &str, to: &str) {
    let (from, to) = (lockstep_storage::open(from).unwrap(), lockstep_storage::open(to).unwrap());
    wait(async {
        for meta in from.list("").await.unwrap() {
            to.put(&meta.path, from.get(&meta.path).await.unwrap()).await.unwrap();
        }
    });
}

/// The one folder that a dataset got in a cache.
fn folder_in(cache: &Path) -> PathBuf {
    let folders: Vec<_> = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders[0].clone()
}

#[test]
fn a_dataset_that_was_replaced_in_place_is_another_and_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    for uri in [fresh(), folder.path().to_str().unwrap().to_owned()] {
        numbers(&uri, 40, without_hashes());
        let cache = tempfile::tempdir().unwrap();
        let before = open(&uri);
        assert_eq!(all_numbers(&before, cache.path()).unwrap(), in_order(40));
        let shards = before.shard_samples();
        for shard in 0..shards.len() {
            relabel(&uri, &format!("shard.{shard:05}.mds"));
        }
        let after = open(&uri);
        assert_ne!(after.digest(), before.digest());
        assert_eq!(after.identity().index, before.identity().index, "the index tells nothing");
        assert_eq!(all_numbers(&after, cache.path()).unwrap(), (1..41).collect::<Vec<_>>());
        assert_ne!(after.identity().content, before.identity().content);
    }
}

#[test]
fn two_datasets_with_the_same_index_do_not_share_a_cache() {
    let (one, other) = (fresh(), fresh());
    numbers(&one, 40, without_hashes());
    copy(&one, &other);
    relabel(&other, FIRST);
    let cache = tempfile::tempdir().unwrap();
    assert_eq!(all_numbers(&open(&one), cache.path()).unwrap(), in_order(40));
    let found = all_numbers(&open(&other), cache.path()).unwrap();
    assert_eq!((found[0], found[39]), (1, 39));
}

#[test]
fn a_file_that_was_replaced_with_its_old_size_and_time_is_not_taken_from_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let uri = folder.path().to_str().unwrap();
    numbers(uri, 40, without_hashes());
    let cache = tempfile::tempdir().unwrap();
    all_numbers(&open(uri), cache.path()).unwrap();
    let file = folder.path().join(FIRST);
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    relabel(uri, FIRST);
    File::options().write(true).open(&file).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    assert_eq!(all_numbers(&open(uri), cache.path()).unwrap()[0], 1);
}

#[test]
fn a_shard_that_changes_after_the_listing_is_an_error() {
    let uri = fresh();
    numbers(&uri, 40, without_hashes());
    let dataset = open(&uri);
    relabel(&uri, FIRST);
    let cache = tempfile::tempdir().unwrap();
    let error = all_numbers(&dataset, cache.path()).unwrap_err();
    assert!(matches!(&error, Error::Storage(lockstep_storage::Error::Changed { .. })), "{error:?}");
    assert!(error.to_string().contains(FIRST) && error.is_about_data(), "{error}");
}

#[test]
fn a_file_that_only_got_another_mode_is_still_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let uri = folder.path().to_str().unwrap();
    numbers(uri, 40, without_hashes());
    let dataset = open(uri);
    fs::set_permissions(folder.path().join(FIRST), PermissionsExt::from_mode(0o600)).unwrap();
    let cache = tempfile::tempdir().unwrap();
    assert_eq!(all_numbers(&dataset, cache.path()).unwrap(), in_order(40));
}

#[test]
fn a_shard_that_was_not_listed_is_not_read_later() {
    let uri = fresh();
    numbers(&uri, 40, without_hashes());
    let storage = lockstep_storage::open(&uri).unwrap();
    let body = wait(async { storage.get(FIRST).await.unwrap() });
    wait(async { storage.delete(FIRST).await.unwrap() });
    let dataset = open(&uri);
    wait(async { storage.put(FIRST, body).await.unwrap() });
    let cache = tempfile::tempdir().unwrap();
    let error = all_numbers(&dataset, cache.path()).unwrap_err();
    assert!(error.to_string().contains("shard.00000.mds does not exist"), "{error}");
}

#[test]
fn a_copy_has_the_same_content_under_another_listing() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, other] = folders.each_ref().map(|folder| folder.path().to_str().unwrap());
    numbers(one, 40, without_hashes());
    copy(one, other);
    let old = FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    File::options().write(true).open(folders[1].path().join(FIRST)).unwrap().set_times(old).unwrap();
    let [one, other] = [one, other].map(open);
    assert_ne!(one.digest(), other.digest());
    assert_eq!(one.identity().content, None, "nothing was read yet");
    let cache = tempfile::tempdir().unwrap();
    let [contents, same] = [&one, &other].map(|dataset| {
        all_numbers(dataset, cache.path()).unwrap();
        dataset.contents()
    });
    assert!(contents == same && contents.len() == one.shard_samples().len(), "{contents:?}");
    assert!(one.identity().content.is_some());
    assert_eq!(one.identity().content, other.identity().content);
}

#[test]
fn what_was_read_before_is_all_that_is_accepted() {
    let uri = fresh();
    numbers(&uri, 40, without_hashes());
    let cache = tempfile::tempdir().unwrap();
    let before = open(&uri);
    all_numbers(&before, cache.path()).unwrap();
    let contents = before.contents();

    let again = open(&uri);
    again.expect(&contents).unwrap();
    assert_eq!(all_numbers(&again, cache.path()).unwrap(), in_order(40));

    relabel(&uri, "shard.00001.mds");
    for look in [false, true] {
        let after = open(&uri);
        after.expect(&contents).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let options = CacheOptions { dir: cache.path().to_owned(), max_bytes: None };
        let error = match look {
            true => after.check_expected(&options, Replica::new(0, 1).unwrap(), 1 << 20).unwrap_err(),
            false => all_numbers(&after, cache.path()).unwrap_err(),
        };
        let Error::Replaced { file, expected, got, .. } = &error else { panic!("{error:?}") };
        assert!(file.ends_with("shard.00001.mds") && *expected == contents[&1] && got != expected, "{error}");
    }
    // The other half of two ranks, and what is beyond the bound, is left to its use.
    let after = open(&uri);
    after.expect(&contents).unwrap();
    let options = CacheOptions { dir: cache.path().to_owned(), max_bytes: None };
    after.check_expected(&options, Replica::new(0, 2).unwrap(), 1 << 20).unwrap();
    after.check_expected(&options, Replica::new(0, 1).unwrap(), 0).unwrap();
    // What is read already, and shards that there aren't.
    let wrong = Contents::from([(0, "0".repeat(32))]);
    assert!(matches!(before.expect(&wrong), Err(Error::Replaced { .. })));
    let missing = Contents::from([(1000, "0".repeat(32))]);
    assert!(matches!(before.expect(&missing), Err(Error::BadOption { .. })));
}

#[test]
fn an_index_with_hashes_is_not_listed_and_keeps_its_digest() {
    let uri = fresh();
    numbers(&uri, 40, small_shards());
    let dataset = open(&uri);
    assert!(dataset.is_hashed() && dataset.digest() == dataset.identity().index);
    assert_eq!(dataset.identity().listing, None);
    let cache = tempfile::tempdir().unwrap();
    all_numbers(&dataset, cache.path()).unwrap();
    assert_eq!(dataset.contents(), Contents::new(), "there is nothing to learn");
    // The listing doesn't matter: the same bytes are the same data.
    edit_file(&uri, FIRST, |_| ());
    assert_eq!(open(&uri).digest(), dataset.digest());
    relabel(&uri, FIRST);
    assert!(matches!(
        all_numbers(&open(&uri), tempfile::tempdir().unwrap().path()),
        Err(Error::Damaged { .. })
    ));
}

#[test]
fn a_bucket_that_may_not_be_listed_is_told_with_the_way_out() {
    let server = S3Server::start().unwrap();
    let uri = fresh();
    numbers(&uri, 10, without_hashes());
    let (from, to) = (lockstep_storage::open(&uri).unwrap(), server.storage("data", Duration::from_secs(30)));
    wait(async {
        for meta in from.list("").await.unwrap() {
            to.put(&meta.path, from.get(&meta.path).await.unwrap()).await.unwrap();
        }
    });
    assert!(!Dataset::open_in(to.clone(), "").unwrap().is_hashed());
    server.faults().add(Call::List, "", Fault::Denied, 10);
    let error = Dataset::open_in(to, "").unwrap_err();
    assert!(matches!(error, Error::Unlisted { .. }), "{error:?}");
    assert!(error.to_string().contains("lockstep data seal"), "{error}");
}

#[test]
fn verify_does_not_call_good_what_nothing_vouches_for() {
    let uri = fresh();
    numbers(&uri, 40, without_hashes());
    let found = verify(&uri, None).unwrap();
    assert!(!found.is_good() && found.problems.is_empty(), "{found:?}");
    assert_eq!((found.good_samples, found.unproven_samples), (40, 40));

    let dataset = open(&uri);
    all_numbers(&dataset, tempfile::tempdir().unwrap().path()).unwrap();
    let recorded =
        Recorded { uri: uri.clone(), index: dataset.identity().index, contents: dataset.contents() };
    let found = verify(&uri, Some(&recorded)).unwrap();
    assert!(found.is_good(), "{found:?}");
    let half = Recorded { contents: [(0, recorded.contents[&0].clone())].into(), ..recorded.clone() };
    let found = verify(&uri, Some(&half)).unwrap();
    assert!(found.problems.is_empty() && (1..40).contains(&found.unproven_samples), "{found:?}");

    // A copy is found by its index.
    let elsewhere = fresh();
    copy(&uri, &elsewhere);
    relabel(&elsewhere, FIRST);
    let found = verify(&elsewhere, Some(&recorded)).unwrap();
    assert_eq!(found.problems.len(), 1, "{found:?}");
    assert!(found.problems[0].error.contains("is not what it was"), "{found:?}");
    let stranger = Recorded { index: "sha256:0".into(), uri: "elsewhere".into(), ..recorded };
    let found = verify(&uri, Some(&stranger)).unwrap();
    assert!(found.problems[0].error.contains("no split has the digest sha256:0"), "{found:?}");
}

#[test]
fn a_cached_copy_is_used_only_with_its_record_and_if_it_fits() {
    let uri = fresh();
    numbers(&uri, 40, without_hashes());
    let cache = tempfile::tempdir().unwrap();
    all_numbers(&open(&uri), cache.path()).unwrap();
    let folder = folder_in(cache.path());
    let storage = Counting::new(&uri);
    let fetched = || {
        let dataset = Dataset::open_in(storage.clone(), "").unwrap();
        storage.take();
        assert_eq!(all_numbers(&dataset, cache.path()).unwrap(), in_order(40));
        storage.take()
    };
    assert_eq!(fetched(), [""; 0]);
    // A power cut leaves zeros, a bad disk another bit, somebody a file without its record or with none that can be read.
    let path = |name: &str| folder.join(name);
    let zeros = vec![0; fs::metadata(path(FIRST)).unwrap().len() as usize];
    fs::write(path(FIRST), zeros).unwrap();
    assert_eq!(fetched(), [FIRST]);
    let mut flipped = fs::read(path(FIRST)).unwrap();
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(path(FIRST), flipped).unwrap();
    assert_eq!(fetched(), [FIRST]);
    fs::remove_file(path("shard.00000.json")).unwrap();
    assert_eq!(fetched(), [FIRST]);
    fs::write(path("shard.00000.json"), "{").unwrap();
    assert_eq!(fetched(), [FIRST]);
    File::options().write(true).open(path(FIRST)).unwrap().set_len(100 << 30).unwrap();
    assert_eq!(fetched(), [FIRST]);
    fs::remove_file(path(FIRST)).unwrap();
    assert!(Command::new("mkfifo").arg(path(FIRST)).status().unwrap().success());
    assert_eq!(fetched(), [FIRST]);
    assert_eq!(fetched(), [""; 0]);
}

/// Larger shards than are kept in memory, so that they are read from their files all the time.
fn large_shards(uri: &str, samples: i64) {
    let columns = vec![spec("n", "int"), spec("s", "bytes")];
    let options = WriterOptions { shard_bytes: 100_000, ..WriterOptions::default() };
    let mut writer = Writer::create(uri, "", columns, options).unwrap();
    for number in 0..samples {
        writer.write(&[Value::Int(number), Value::Bytes(&[number as u8; 9_000])]).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn ranks_that_drop_each_others_shards_do_no_harm() {
    let uri = fresh();
    large_shards(&uri, 200);
    let dataset = open(&uri);
    let cache = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for rank in 0..4 {
            let (dataset, cache) = (dataset.clone(), cache.path());
            scope.spawn(move || {
                let options = CacheOptions { dir: cache.to_owned(), max_bytes: Some(1) };
                let options = LoaderOptions { ahead_steps: 4, ..LoaderOptions::new(options) };
                let order = order(&dataset, 20);
                let mut loader =
                    Loader::train(dataset, order, Replica::new(rank, 4).unwrap(), options).unwrap();
                (0..60).for_each(|step| check_numbers(&loader.batch(step).unwrap()));
            });
        }
    });
}

#[test]
fn a_cache_that_is_gone_or_full_does_not_stop_training() {
    let uri = fresh();
    large_shards(&uri, 60);
    let dataset = open(&uri);
    let cache = tempfile::tempdir().unwrap();
    let mut loader = train(&dataset, 10, cached_in(cache.path()));
    fs::remove_dir_all(folder_in(cache.path())).unwrap();
    (0..12).for_each(|step| check_numbers(&loader.batch(step).unwrap()));
}

#[test]
fn what_was_cached_of_a_replaced_dataset_goes_when_nobody_uses_it() {
    let (uri, other) = (fresh(), fresh());
    numbers(&uri, 40, without_hashes());
    numbers(&other, 40, without_hashes());
    let cache = tempfile::tempdir().unwrap();
    let count = || fs::read_dir(cache.path()).unwrap().count();
    all_numbers(&open(&other), cache.path()).unwrap();
    let mut user = train(&open(&uri), 10, cached_in(cache.path()));
    check_numbers(&user.batch(0).unwrap());
    relabel(&uri, FIRST);
    all_numbers(&open(&uri), cache.path()).unwrap();
    assert_eq!(count(), 3, "one is in use, one is of another dataset");
    drop(user);
    // What the loader had under way may end a moment later, and a child that another test starts holds every lock until it
    // runs its own program; whoever opens the dataset next takes the folder away.
    let begin = Instant::now();
    while count() != 2 {
        assert!(begin.elapsed() < Duration::from_secs(20), "{} folders are left", count());
        all_numbers(&open(&uri), cache.path()).unwrap();
    }
}

#[test]
fn a_cache_folder_that_somebody_else_made_is_refused() {
    let uri = fresh();
    numbers(&uri, 10, small_shards());
    let dataset = open(&uri);
    let cache = tempfile::tempdir().unwrap();
    let open = || Loader::eval(dataset.clone(), 10, Replica::new(0, 1).unwrap(), cached_in(cache.path()));
    drop(open().unwrap());
    let folder = folder_in(cache.path());
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let refused = |why: &str| {
        let error = open().unwrap_err();
        assert!(matches!(error, Error::CacheFolder { .. }), "{error:?}");
        assert!(error.to_string().contains(why) && error.to_string().contains("data.cache.dir"), "{error}");
    };
    fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
    refused("others may write to it");
    fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
    fs::rename(&folder, cache.path().join("elsewhere")).unwrap();
    symlink("elsewhere", &folder).unwrap();
    refused("it is a link");
    fs::remove_file(&folder).unwrap();
    fs::rename(cache.path().join("elsewhere"), &folder).unwrap();
    // Only root can play somebody else.
    if chown(&folder, Some(12345), None).is_ok() {
        refused("it belongs to user 12345");
    }
}
