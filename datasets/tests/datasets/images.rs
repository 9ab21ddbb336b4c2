//! Columns of pictures, through a loader.

use crate::support::fresh;
use lockstep_datasets::{
    BadSamples, CacheOptions, Colours, ColumnSpec, Columns, Cut, Dataset, ImageOptions, Loader,
    LoaderOptions, Order, OrderOptions, RandomCut, Replica, Tail, Value, Values, Writer, WriterOptions,
};
use std::collections::BTreeMap;
use std::io::Cursor;

const SAMPLES: u64 = 24;

/// Pictures whose pixels tell the sample; `bad` is none.
fn written(bad: Option<u64>) -> String {
    let uri = fresh();
    let spec = |name: &str, text: &str| ColumnSpec { name: name.into(), encoding: text.parse().unwrap() };
    let columns = vec![spec("label", "int"), spec("picture", "png")];
    let mut writer = Writer::create(&uri, "", columns, WriterOptions::default()).unwrap();
    for sample in 0..SAMPLES {
        let pixels = image::RgbImage::from_fn(6, 6, |x, y| image::Rgb([sample as u8, x as u8, y as u8]));
        let mut bytes = Vec::new();
        pixels.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
        if bad == Some(sample) {
            bytes.truncate(40);
        }
        writer.write(&[Value::Int(sample as i64), Value::Bytes(&bytes)]).unwrap();
    }
    writer.finish().unwrap();
    uri
}

fn options(cache: &std::path::Path, bad: BadSamples, threads: usize) -> LoaderOptions {
    let images = ImageOptions {
        column: "picture".into(),
        size: 6,
        colours: Colours::Rgb,
        cut: Cut { resize: 6 },
        chance: Some(RandomCut::Shift { pixels: 1 }),
        flip: true,
        seed: 3,
        bad,
    };
    LoaderOptions {
        images: Some(images),
        columns: Columns::Named(vec!["picture".into(), "label".into()]),
        threads,
        ..LoaderOptions::new(CacheOptions { dir: cache.into(), max_bytes: None })
    }
}

fn order(dataset: &Dataset) -> Order {
    let options = OrderOptions { seed: 5, global_batch: 8, shuffle: None, tail: Tail::Pad };
    Order::new(options, &dataset.shard_samples()).unwrap()
}

/// What each sample looked like, over two epochs and all ranks.
fn seen(uri: &str, world_size: u32, threads: usize) -> BTreeMap<(u64, u64), Vec<u8>> {
    let cache = tempfile::tempdir().unwrap();
    let mut all = BTreeMap::new();
    for rank in 0..world_size {
        let dataset = Dataset::open(uri, "").unwrap();
        let (order, replica) = (order(&dataset), Replica::new(rank, world_size).unwrap());
        let options = options(cache.path(), BadSamples::Fail, threads);
        let mut loader = Loader::train(dataset, order.clone(), replica, options).unwrap();
        for step in 0..6 {
            let batch = loader.batch(step).unwrap();
            let column = batch.column("picture").unwrap();
            assert_eq!(column.shape.as_deref(), Some([3, 6, 6].as_slice()));
            let Values::U8(values) = &column.values else { panic!("{:?}", column.values) };
            for (sample, picture) in batch.samples.iter().zip(values.chunks(108)) {
                all.insert((order.epoch_of(step).0, sample.unwrap()), picture.to_vec());
            }
        }
    }
    all
}

#[test]
fn a_sample_looks_the_same_on_whichever_rank_and_thread_and_another_way_in_the_next_epoch() {
    let uri = written(None);
    let one = seen(&uri, 1, 1);
    assert_eq!(one.len(), 2 * SAMPLES as usize);
    assert_eq!(one, seen(&uri, 4, 3));
    let differ = (0..SAMPLES).filter(|sample| one[&(0, *sample)] != one[&(1, *sample)]).count();
    assert!(differ > 12, "{differ}");
    for ((_, sample), picture) in &one {
        assert_eq!(
            u64::from(*picture[..36].iter().max().unwrap()),
            *sample,
            "the red plane tells the sample"
        );
    }
}

#[test]
fn evaluation_sees_pictures_as_they_are() {
    let (uri, cache) = (written(None), tempfile::tempdir().unwrap());
    let options = options(cache.path(), BadSamples::Fail, 2);
    let dataset = Dataset::open(&uri, "").unwrap();
    let mut loader = Loader::eval(dataset, 5, Replica::new(0, 1).unwrap(), options).unwrap();
    let batch = loader.batch(1).unwrap();
    let Values::U8(values) = &batch.column("picture").unwrap().values else { panic!() };
    let plane = |value: fn(usize) -> u8| (0..36).map(value).collect::<Vec<_>>();
    assert_eq!(values[..36], [5; 36]);
    assert_eq!(values[36..72], plane(|i| (i % 6) as u8));
    assert_eq!(values[72..108], plane(|i| (i / 6) as u8));
}

#[test]
fn a_picture_that_can_not_be_read_is_named_or_left_out() {
    let (uri, cache) = (written(Some(9)), tempfile::tempdir().unwrap());
    let loader = |bad| {
        let (dataset, options) = (Dataset::open(&uri, "").unwrap(), options(cache.path(), bad, 2));
        Loader::eval(dataset, 8, Replica::new(0, 1).unwrap(), options).unwrap()
    };
    let mut strict = loader(BadSamples::Fail);
    strict.batch(0).unwrap();
    let error = strict.batch(1).unwrap_err().to_string();
    assert!(
        error.contains("sample 9 of ") && error.contains("shard.00000.mds, column \"picture\""),
        "{error}"
    );
    assert!(error.contains("expected a PNG that can be decoded"), "{error}");
    let batch = loader(BadSamples::Skip).batch(1).unwrap();
    let samples: Vec<_> = batch.samples.iter().map(|sample| sample.unwrap_or(0)).collect();
    assert_eq!(samples, [8, 0, 10, 11, 12, 13, 14, 15]);
    assert_eq!((batch.skipped.len(), batch.num_samples()), (1, 7));
    assert!(batch.skipped[0].contains("sample 9 of "), "{:?}", batch.skipped);
}

#[test]
fn a_column_that_holds_no_pictures_is_refused() {
    let (uri, cache) = (written(None), tempfile::tempdir().unwrap());
    for (column, told) in [("label", "it is int"), ("photo", "the dataset has label, picture")] {
        let mut options = options(cache.path(), BadSamples::Fail, 1);
        options.columns = Columns::All;
        options.images.as_mut().unwrap().column = column.into();
        let dataset = Dataset::open(&uri, "").unwrap();
        let error = Loader::eval(dataset, 8, Replica::new(0, 1).unwrap(), options).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}
