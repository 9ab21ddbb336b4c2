//! The node cache: fetched once, verified always, bounded, shared by the ranks of a node; faults of the origin.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use lockstep_datasets::{
    CacheOptions, Columns, Compression, Dataset, Error, Loader, LoaderOptions, Order, OrderOptions, Replica,
    Shuffle, Tail, WriterOptions,
};
use lockstep_storage::{Limits, Options, Storage, open_with};
use lockstep_storage_testing::{Call, Fault, S3Server};

use crate::support::{Counting, cached_in, check_numbers, fresh, numbers, order, small_shards, train};

fn shards_in(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .flat_map(|dataset| fs::read_dir(dataset.unwrap().path()).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "mds"))
        .collect();
    files.sort();
    files
}

fn epoch(loader: &mut Loader, steps: u64) {
    for step in 0..steps {
        check_numbers(&loader.batch(step).unwrap());
    }
}

/// Writes numbers to memory and copies them to S3.
fn on_s3(
    server: &S3Server,
    samples: i64,
    options: WriterOptions,
    call: Duration,
) -> (Arc<dyn Storage>, Dataset) {
    let uri = fresh();
    numbers(&uri, samples, options);
    let (from, to) = (lockstep_storage::open(&uri).unwrap(), server.storage("data", call));
    crate::support::wait(async {
        for meta in from.list("").await.unwrap() {
            to.put(&meta.path, from.get(&meta.path).await.unwrap()).await.unwrap();
        }
    });
    let dataset = Dataset::open_in(to.clone(), "").unwrap();
    (to, dataset)
}

#[test]
fn each_shard_is_fetched_once_and_then_read_from_the_cache() {
    let uri = fresh();
    numbers(&uri, 90, small_shards());
    let storage = Counting::new(&uri);
    let dataset = Dataset::open_in(storage.clone(), "").unwrap();
    let cache = tempfile::tempdir().unwrap();
    storage.take();
    epoch(&mut train(&dataset, 10, cached_in(cache.path())), 9);
    let fetched = storage.take();
    assert_eq!(fetched.iter().collect::<BTreeSet<_>>().len(), fetched.len(), "{fetched:?}");
    assert_eq!(fetched.len(), dataset.shard_samples().len());
    epoch(&mut train(&dataset, 10, cached_in(cache.path())), 9);
    assert_eq!(storage.take(), [""; 0]);
}

#[test]
fn ranks_of_a_node_fetch_each_shard_once_together() {
    let uri = fresh();
    numbers(&uri, 240, small_shards());
    let storage = Counting::new(&uri);
    let dataset = Dataset::open_in(storage.clone(), "").unwrap();
    let cache = tempfile::tempdir().unwrap();
    storage.take();
    // A loader that is dropped gives up what it is fetching, and another rank begins anew: all are kept to the end.
    let loaders = thread::scope(|scope| {
        let ranks: Vec<_> = (0..4)
            .map(|rank| {
                let (dataset, cache) = (dataset.clone(), cache.path());
                scope.spawn(move || {
                    let order = order(&dataset, 24);
                    let replica = Replica::new(rank, 4).unwrap();
                    let mut loader = Loader::train(dataset, order, replica, cached_in(cache)).unwrap();
                    epoch(&mut loader, 10);
                    loader
                })
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect::<Vec<_>>()
    });
    let fetched = storage.take();
    assert_eq!(fetched.iter().collect::<BTreeSet<_>>().len(), fetched.len(), "{fetched:?}");
    drop(loaders);
}

#[test]
fn a_damaged_copy_is_fetched_again() {
    let uri = fresh();
    numbers(&uri, 60, small_shards());
    let dataset = Dataset::open(&uri, "").unwrap();
    let cache = tempfile::tempdir().unwrap();
    epoch(&mut train(&dataset, 10, cached_in(cache.path())), 6);
    let files = shards_in(cache.path());
    let whole: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    // One bit, a cut, nothing left.
    let mut flipped = whole[0].clone();
    flipped[200] ^= 1;
    fs::write(&files[0], flipped).unwrap();
    fs::write(&files[1], &whole[1][..100]).unwrap();
    fs::write(&files[2], "").unwrap();
    epoch(&mut train(&dataset, 10, cached_in(cache.path())), 6);
    let again: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(again == whole);
}

#[test]
fn a_bounded_cache_stays_in_its_bounds_and_goes_on() {
    let uri = fresh();
    numbers(&uri, 300, small_shards());
    let dataset = Dataset::open(&uri, "").unwrap();
    for max_bytes in [0, 700, 2500] {
        let cache = tempfile::tempdir().unwrap();
        let options = CacheOptions { dir: cache.path().to_owned(), max_bytes: Some(max_bytes) };
        let mut loader = train(&dataset, 10, LoaderOptions { ahead_steps: 2, ..LoaderOptions::new(options) });
        for step in 0..60 {
            check_numbers(&loader.batch(step).unwrap());
            let held: u64 = shards_in(cache.path())
                .iter()
                .filter_map(|file| fs::metadata(file).ok())
                .map(|f| f.len())
                .sum();
            // Fetches that run side by side may each be one shard over.
            assert!(held <= max_bytes + 4 * 600, "{held} bytes held of {max_bytes}");
        }
    }
}

#[test]
fn a_cache_that_holds_the_working_set_fetches_each_shard_once_per_epoch() {
    let uri = fresh();
    numbers(&uri, 600, small_shards());
    let storage = Counting::new(&uri);
    let dataset = Dataset::open_in(storage.clone(), "").unwrap();
    storage.take();
    let cache = tempfile::tempdir().unwrap();
    let shards = dataset.shard_samples().len();
    let options = CacheOptions { dir: cache.path().to_owned(), max_bytes: Some(600 * shards as u64 / 2) };
    let order = OrderOptions {
        seed: 1,
        global_batch: 10,
        shuffle: Some(Shuffle { lanes: 2, block: 16 }),
        tail: Tail::Drop,
    };
    let order = Order::new(order, &dataset.shard_samples()).unwrap();
    let options = LoaderOptions { ahead_steps: 2, ..LoaderOptions::new(options) };
    let mut loader = Loader::train(dataset, order, Replica::new(0, 1).unwrap(), options).unwrap();
    epoch(&mut loader, 60);
    let fetched = storage.take().len();
    // A few steps of the second epoch are made ahead.
    assert!((shards..shards + shards / 3).contains(&fetched), "{fetched} fetches of {shards} shards");
}

#[test]
fn damage_on_the_way_is_fetched_again_up_to_three_times() {
    let server = S3Server::start().unwrap();
    let (_, dataset) = on_s3(&server, 30, small_shards(), Duration::from_secs(30));
    for fault in [Fault::BitFlip(300), Fault::Truncated(100)] {
        let cache = tempfile::tempdir().unwrap();
        server.faults().add(Call::Get, "shard.00000", fault, 2);
        epoch(&mut train(&dataset, 10, cached_in(cache.path())), 3);
        assert_eq!(server.faults().left(), 0, "{fault:?}");
    }

    let cache = tempfile::tempdir().unwrap();
    server.faults().add(Call::Get, "shard.00000", Fault::BitFlip(300), 100);
    let mut loader = train(&dataset, 30, cached_in(cache.path()));
    let error = loader.batch(0).unwrap_err();
    let Error::Damaged { shard: 0, uri, attempts: 3, source } = &error else { panic!("{error:?}") };
    assert_eq!(uri, "s3://lockstep/data/shard.00000.mds");
    let Error::Hash { expected, got, .. } = source.as_ref() else { panic!("{source:?}") };
    for part in [uri, expected, got] {
        assert!(error.to_string().contains(part), "{error} should say {part}");
    }
    // The origin heals; the same step is made then.
    server.faults().clear();
    check_numbers(&loader.batch(0).unwrap());
}

#[test]
fn compressed_shards_stream_from_s3() {
    let server = S3Server::start().unwrap();
    let options = WriterOptions { compression: Some(Compression::Zstd(3)), ..small_shards() };
    let (_, dataset) = on_s3(&server, 60, options, Duration::from_secs(30));
    let cache = tempfile::tempdir().unwrap();
    server.faults().add(Call::Get, "shard.00001", Fault::Unavailable, 2);
    epoch(&mut train(&dataset, 10, cached_in(cache.path())), 6);
    assert_eq!(server.faults().left(), 0);
}

#[test]
fn a_silent_origin_is_an_error_in_bounded_time_and_a_dropped_loader_ends_at_once() {
    let server = S3Server::start().unwrap();
    let (_, dataset) = on_s3(&server, 30, small_shards(), Duration::from_secs(2));
    let cache = tempfile::tempdir().unwrap();
    server.faults().add(Call::Get, "shard", Fault::Silent, 1000);
    let begin = Instant::now();
    let error = train(&dataset, 10, cached_in(cache.path())).batch(0).unwrap_err();
    assert!(matches!(error, Error::Storage(_)), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());

    let limits = Limits { call: Duration::from_secs(600), ..Limits::default() };
    let storage = open_with(&server.uri("data"), &Options { limits, ..server.options() }).unwrap();
    let patient = Dataset::open_in(storage, "").unwrap();
    let options = LoaderOptions { deadline: Duration::from_millis(200), ..cached_in(cache.path()) };
    let mut loader = train(&patient, 10, options);
    let begin = Instant::now();
    assert!(matches!(loader.batch(0), Err(Error::NoBatch { step: 0, .. })));
    drop(loader);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[test]
fn leftovers_of_killed_processes_do_no_harm() {
    let uri = fresh();
    numbers(&uri, 30, small_shards());
    let dataset = Dataset::open(&uri, "").unwrap();
    let cache = tempfile::tempdir().unwrap();
    epoch(&mut train(&dataset, 10, cached_in(cache.path())), 3);
    for file in shards_in(cache.path()) {
        fs::remove_file(&file).unwrap();
        fs::write(file.with_file_name(".tmp-killed"), "half").unwrap();
        fs::write(file.with_file_name("locks").join("00000"), "1 other-boot\n").unwrap();
    }
    epoch(&mut train(&dataset, 10, cached_in(cache.path())), 3);
}

#[test]
fn a_padded_tail_is_masked_and_zero() {
    let uri = fresh();
    numbers(&uri, 25, small_shards());
    let dataset = Dataset::open(&uri, "").unwrap();
    let options =
        OrderOptions { seed: 1, global_batch: 16, shuffle: Some(Shuffle::default()), tail: Tail::Pad };
    let order = Order::new(options, &dataset.shard_samples()).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let mut real = 0;
    for rank in 0..8 {
        let replica = Replica::new(rank, 8).unwrap();
        let mut loader =
            Loader::train(dataset.clone(), order.clone(), replica, cached_in(cache.path())).unwrap();
        let batch = loader.batch(1).unwrap();
        let numbers = batch.column("n").unwrap().to_i64().unwrap();
        assert_eq!((batch.len(), numbers.len()), (2, 2));
        for (sample, number) in batch.samples.iter().zip(numbers) {
            assert_eq!(sample.map_or(0, |sample| sample as i64), number);
        }
        real += batch.num_samples();
    }
    assert_eq!(real, 9);
}

#[test]
fn wrong_uses_are_refused() {
    let uri = fresh();
    numbers(&uri, 30, small_shards());
    let dataset = Dataset::open(&uri, "").unwrap();
    let cache = tempfile::tempdir().unwrap();
    let options = || cached_in(cache.path());
    let replica = |rank, world_size| Replica::new(rank, world_size).unwrap();
    let uneven = Loader::train(dataset.clone(), order(&dataset, 10), replica(0, 3), options());
    assert!(matches!(uneven, Err(Error::BadOption { .. })));
    let foreign = Order::new(*order(&dataset, 10).options(), &[31]).unwrap();
    assert!(matches!(
        Loader::train(dataset.clone(), foreign, replica(0, 1), options()),
        Err(Error::BadOption { .. })
    ));
    let named = |name: &str| Columns::Named(vec![name.into()]);
    let column = LoaderOptions { columns: named("x"), ..options() };
    let error = Loader::eval(dataset.clone(), 10, replica(0, 1), column).unwrap_err();
    assert!(error.to_string().contains("it has n, s"), "{error}");
    let mut eval =
        Loader::eval(dataset, 10, replica(0, 1), LoaderOptions { columns: named("n"), ..options() }).unwrap();
    assert_eq!(eval.batch(2).unwrap().columns.len(), 1);
    assert!(matches!(eval.batch(3), Err(Error::NoBatch { step: 3, .. })));
}

#[tokio::test]
async fn everything_may_be_called_inside_a_runtime() {
    let uri = fresh();
    numbers(&uri, 30, small_shards());
    let cache = tempfile::tempdir().unwrap();
    let mut loader = train(&Dataset::open(&uri, "").unwrap(), 10, cached_in(cache.path()));
    check_numbers(&loader.batch(2).unwrap());
    assert!(lockstep_datasets::verify(&uri, None).unwrap().is_good());
}
