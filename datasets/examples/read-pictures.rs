//! Reads pictures as a training run does, and does nothing with them: decoded, a part of each cut out at random and resized, half
//! of them mirrored. `make bench` measures it beside torchvision.
//!
//! usage: read-pictures DATASET SPLIT EPOCHS CACHE

use lockstep_datasets::{
    BadSamples, CacheOptions, Colours, Columns, Cut, Dataset, ImageOptions, Loader, LoaderOptions, Order,
    OrderOptions, RandomCut, Replica, Shuffle, Tail,
};
use std::error::Error;

const BATCH: u32 = 20;
const SIZE: u32 = 224;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [uri, split, epochs, cache] = args.as_slice() else {
        return Err("usage: read-pictures DATASET SPLIT EPOCHS CACHE".into());
    };
    let dataset = Dataset::open(uri, split)?;
    let steps = epochs.parse::<u64>()? * dataset.num_samples() / u64::from(BATCH);
    let shuffle = Some(Shuffle { lanes: 1, block: 1024 });
    let order = OrderOptions { seed: 0, global_batch: BATCH, shuffle, tail: Tail::Drop };
    let order = Order::new(order, &dataset.shard_samples())?;
    let images = ImageOptions {
        column: "image".into(),
        size: SIZE,
        colours: Colours::Rgb,
        cut: Cut { resize: SIZE },
        chance: Some(RandomCut::Scale { min_area: 0.08 }),
        flip: true,
        seed: 0,
        bad: BadSamples::Fail,
    };
    let options = LoaderOptions {
        images: Some(images),
        columns: Columns::Named(vec!["image".into(), "label".into()]),
        ..LoaderOptions::new(CacheOptions { dir: cache.into(), max_bytes: None })
    };
    let mut loader = Loader::train(dataset, order, Replica::new(0, 1)?, options)?;
    let mut numbers = 0;
    for step in 1..=steps {
        numbers += loader.batch(step)?.column("image")?.values.len();
    }
    println!("{{\"samples\": {}, \"numbers\": {numbers}}}", steps * u64::from(BATCH));
    Ok(())
}
