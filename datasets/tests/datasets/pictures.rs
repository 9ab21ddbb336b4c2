//! Packing pictures: folders, archives, and the binary files of known sets.

use crate::support::fresh;
use lockstep_datasets::{
    CacheOptions, Columns, Dataset, Loader, LoaderOptions, PackReport, PictureOptions, Replica, Splits,
    Values, WriterOptions, holds_pictures, pack_pictures,
};
use std::cell::Cell;
use std::io::Cursor;
use std::path::Path;

fn options(input: &Path) -> PictureOptions {
    PictureOptions {
        input: input.to_owned(),
        output: fresh(),
        splits: Splits::One("train".into()),
        seed: 0,
        writer: WriterOptions::default(),
        source: None,
    }
}

fn picture(value: u8, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels = image::RgbImage::from_pixel(4, 4, image::Rgb([value; 3]));
    pixels.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

fn write(folder: &Path, path: &str, content: &[u8]) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Label and stored bytes of every sample of a split.
fn samples(report: &PackReport, split: &str) -> Vec<(i64, Vec<u8>)> {
    let cache = tempfile::tempdir().unwrap();
    let dataset = Dataset::open(&report.uri, split).unwrap();
    let (count, replica) = (dataset.num_samples() as u32, Replica::new(0, 1).unwrap());
    let columns = Columns::Named(vec!["label".into(), "image".into()]);
    let cache = CacheOptions { dir: cache.path().into(), max_bytes: None };
    let options = LoaderOptions { columns, ..LoaderOptions::new(cache) };
    let batch = Loader::eval(dataset, count, replica, options).unwrap().batch(0).unwrap();
    let labels = batch.column("label").unwrap().to_i64().unwrap();
    let Values::Bytes(images) = &batch.column("image").unwrap().values else { panic!() };
    labels.into_iter().zip(images.iter().map(|image| image.to_vec())).collect()
}

fn pack(options: &PictureOptions) -> Result<PackReport, String> {
    pack_pictures(options, |_, _| ()).map_err(|error| error.to_string())
}

#[test]
fn a_folder_for_each_class_becomes_labels_in_the_order_of_the_alphabet() {
    let folder = tempfile::tempdir().unwrap();
    for (class, value) in [("dog", 1), ("cat", 2), ("ant", 3)] {
        write(folder.path(), &format!("{class}/a.png"), &picture(value, image::ImageFormat::Png));
        write(folder.path(), &format!("{class}/b.JPG"), &picture(value, image::ImageFormat::Jpeg));
    }
    write(folder.path(), ".DS_Store", b"x");
    write(folder.path(), "cat/._a.png", b"x");
    write(folder.path(), "README.txt", b"x");
    assert!(holds_pictures(folder.path()).unwrap());
    let heard = Cell::new((0, 0));
    let report = pack_pictures(&options(folder.path()), |done, total| heard.set((done, total))).unwrap();
    assert_eq!(heard.get(), (6, 6));
    assert_eq!(report.ranges["label"].max, 2.0);
    let mut found = samples(&report, "train");
    found.sort();
    assert_eq!(found.iter().map(|(label, _)| *label).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2]);
    let stored = |label: i64, value, format| found.contains(&(label, picture(value, format)));
    assert!(stored(0, 3, image::ImageFormat::Png) && stored(2, 1, image::ImageFormat::Jpeg), "as they were");

    // The same as an archive, gzipped and in another order.
    let archive = folder.path().join("all.tar.gz");
    let zipped =
        flate2::write::GzEncoder::new(std::fs::File::create(&archive).unwrap(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(zipped);
    for class in ["dog", "ant"] {
        tar.append_path_with_name(folder.path().join(class).join("a.png"), format!("./set/{class}/a.png"))
            .unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
    let mut found = samples(&pack(&options(&archive)).unwrap(), "train");
    found.sort();
    assert_eq!(found, [(0, picture(3, image::ImageFormat::Png)), (1, picture(1, image::ImageFormat::Png))]);
}

/// Folders are in the order of their classes; what is packed of them is not, or batches would be.
#[test]
fn pictures_of_a_class_do_not_lie_together() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..160 {
        write(folder.path(), &format!("c{}/{i}.png", i / 40), &picture(i, image::ImageFormat::Png));
    }
    let labels = |seed| {
        let report = pack(&PictureOptions { seed, ..options(folder.path()) }).unwrap();
        samples(&report, "train").into_iter().map(|(label, _)| label).collect::<Vec<_>>()
    };
    let first = labels(0);
    for part in first.chunks(40) {
        let counts = [0, 1, 2, 3].map(|class| part.iter().filter(|label| **label == class).count());
        assert!(counts.iter().all(|count| (4..18).contains(count)), "{counts:?}");
    }
    assert_eq!(first, labels(0));
    assert_ne!(first, labels(1));
}

#[test]
fn folders_that_are_called_as_splits_are_become_those_and_else_shares_are_dealt() {
    let folder = tempfile::tempdir().unwrap();
    for (split, count) in [("train", 6), ("val", 2)] {
        for i in 0..count {
            write(
                folder.path(),
                &format!("{split}/c{}/{i}.png", i % 2),
                &picture(i, image::ImageFormat::Png),
            );
        }
    }
    let shares = vec![("a".to_owned(), 0.5), ("b".to_owned(), 0.5)];
    let dealt = Splits::Fractions { seed: 1, shares };
    let report = pack(&PictureOptions { splits: dealt.clone(), ..options(folder.path()) }).unwrap();
    let counts = |report: &PackReport| {
        report.splits.iter().map(|split| (split.name.clone(), split.samples)).collect::<Vec<_>>()
    };
    assert_eq!(counts(&report), [("train".to_owned(), 6), ("val".to_owned(), 2)]);
    let report = pack(&PictureOptions { splits: dealt, ..options(&folder.path().join("train")) }).unwrap();
    assert_eq!(counts(&report), [("a".to_owned(), 3), ("b".to_owned(), 3)]);
}

/// Records as the set's own page describes them.
#[test]
fn cifars_binary_files_become_pictures_without_a_loss() {
    let folder = tempfile::tempdir().unwrap();
    let record = |label: u8| {
        let pixels = (0..3072).map(move |i| (i / 1024 * 50 + i % 7) as u8 + label);
        std::iter::once(label).chain(pixels).collect::<Vec<u8>>()
    };
    write(folder.path(), "cifar-10-batches-bin/data_batch_2.bin", &[record(3), record(9)].concat());
    write(folder.path(), "cifar-10-batches-bin/data_batch_1.bin", &record(1));
    write(folder.path(), "cifar-10-batches-bin/test_batch.bin", &record(7));
    write(folder.path(), "cifar-10-batches-bin/batches.meta.txt", b"airplane");
    let report = pack(&options(folder.path())).unwrap();
    let found = samples(&report, "train");
    assert_eq!(found.iter().map(|(label, _)| *label).collect::<Vec<_>>(), [1, 3, 9]);
    assert_eq!(samples(&report, "test")[0].0, 7);
    let image = image::load_from_memory(&found[1].1).unwrap().into_rgb8();
    for (at, pixel) in image.pixels().enumerate() {
        let expected = std::array::from_fn(|channel| record(3)[1 + channel * 1024 + at]);
        assert_eq!(pixel.0, expected, "pixel {at}");
    }
    write(folder.path(), "cifar-10-batches-bin/data_batch_3.bin", &record(3)[1..]);
    let error = pack(&options(folder.path())).unwrap_err();
    assert!(error.contains("data_batch_3.bin: 3072 bytes are not whole records of 3073 bytes"), "{error}");
}

#[test]
fn mnists_files_come_in_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let numbers = |head: [u8; 4], sides: &[u32], rest: &[u8]| {
        let mut file = head.to_vec();
        file.extend(sides.iter().flat_map(|side| side.to_be_bytes()));
        file.extend(rest);
        file
    };
    let pixels: Vec<u8> = (0..12).collect();
    write(folder.path(), "t10k-images-idx3-ubyte", &numbers([0, 0, 8, 3], &[2, 2, 3], &pixels));
    let error = pack(&options(folder.path())).unwrap_err();
    assert!(error.contains("labels is missing"), "{error}");
    write(folder.path(), "t10k-labels-idx1-ubyte", &numbers([0, 0, 8, 1], &[2], &[4, 0]));
    let found = samples(&pack(&options(folder.path())).unwrap(), "test");
    assert_eq!(found.iter().map(|(label, _)| *label).collect::<Vec<_>>(), [4, 0]);
    let image = image::load_from_memory(&found[1].1).unwrap().into_luma8();
    assert_eq!((image.width(), image.height(), image.as_raw().as_slice()), (3, 2, &pixels[6..]));
    for (file, told) in [
        (numbers([0, 0, 8, 3], &[2, 2, 3], &pixels[1..]), "2 pictures of 3 x 2 are told, 11 bytes"),
        (numbers([0, 0, 9, 3], &[2, 2, 3], &pixels), "begins with [0, 0, 9, 3]"),
        (numbers([0, 0, 8, 3], &[u32::MAX, u32::MAX, u32::MAX], &pixels), "are told"),
        (vec![0, 0, 8, 3, 1], "ends within its header"),
    ] {
        write(folder.path(), "t10k-images-idx3-ubyte", &file);
        let error = pack(&options(folder.path())).unwrap_err();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn what_holds_no_pictures_says_what_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a/b.txt", b"x");
    let error = pack(&options(folder.path())).unwrap_err();
    assert!(error.contains("it holds no pictures") && error.contains("a folder for each class"), "{error}");
    write(folder.path(), "loose.png", b"x");
    let error = pack(&options(folder.path())).unwrap_err();
    assert!(error.contains("loose.png: it lies in no folder that names its class"), "{error}");
    let error = pack(&options(&folder.path().join("none"))).unwrap_err();
    assert!(error.contains("No such file"), "{error}");
}
