use super::decode::Picture;
use super::*;
use std::io::Cursor;

fn options(size: u32) -> ImageOptions {
    ImageOptions {
        column: "image".into(),
        size,
        colours: Colours::Rgb,
        cut: Cut { resize: size },
        chance: None,
        flip: false,
        seed: 0,
        bad: BadSamples::Fail,
    }
}

/// Red tells the column, green the row.
fn gradient(width: u32, height: u32) -> image::RgbImage {
    image::RgbImage::from_fn(width, height, |x, y| image::Rgb([(10 * x) as u8, (10 * y) as u8, 200]))
}

fn encoded(image: &image::RgbImage, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

fn png(width: u32, height: u32) -> Vec<u8> {
    encoded(&gradient(width, height), image::ImageFormat::Png)
}

fn read(options: &ImageOptions, picture: &[u8], epoch: Option<u64>, sample: u64) -> Vec<u8> {
    options.read(ImageKind::Png, picture, epoch, sample).unwrap()
}

#[test]
fn a_picture_of_the_right_size_is_taken_as_it_is_plane_by_plane() {
    let planes = read(&options(4), &png(4, 4), None, 0);
    let row = |value: fn(u8) -> u8| (0..4).map(value).collect::<Vec<_>>();
    assert_eq!(planes[..4], row(|x| 10 * x));
    assert_eq!(planes[16..32], [[0; 4], [10; 4], [20; 4], [30; 4]].concat());
    assert_eq!(planes[32..], [200; 16]);
}

#[test]
fn the_middle_is_taken_of_a_longer_one_and_resized() {
    // Of 8 x 4 the columns 2 to 5.
    let planes = read(&options(4), &png(8, 4), None, 0);
    assert_eq!(planes[..4], [20, 30, 40, 50]);
    // Half the size: means of pairs.
    let planes = read(&options(2), &png(4, 4), None, 0);
    assert_eq!(planes[..2], [7, 23], "as Pillow does it");
    // Resized to 8, of which the middle 4: half of the picture's pixels on each side are left out.
    let cut = Cut { resize: 8 };
    let planes = read(&ImageOptions { cut, ..options(4) }, &png(8, 8), None, 0);
    assert_eq!(planes[..4], [20, 30, 40, 50]);
}

#[test]
fn chance_follows_from_seed_epoch_and_sample_and_leaves_evaluation_alone() {
    let chance = Some(RandomCut::Shift { pixels: 2 });
    let random = ImageOptions { chance, flip: true, ..options(8) };
    let picture = png(8, 8);
    let plain = read(&options(8), &picture, None, 0);
    assert_eq!(read(&random, &picture, None, 0), plain);
    let seen: Vec<_> = (0..64).map(|sample| read(&random, &picture, Some(0), sample)).collect();
    assert_eq!(seen, (0..64).map(|sample| read(&random, &picture, Some(0), sample)).collect::<Vec<_>>());
    assert_ne!(seen, (0..64).map(|sample| read(&random, &picture, Some(1), sample)).collect::<Vec<_>>());
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    assert!(distinct.len() > 30, "of 5 x 5 shifts, mirrored or not, {} were seen", distinct.len());
    assert!(distinct.len() <= 50);
}

#[test]
fn what_is_shifted_beyond_the_edge_is_black() {
    let square = Picture { width: 3, height: 3, pixels: (1..=9).collect(), colours: Colours::Grey };
    let middle = Cut { resize: 3 }.of(&square, 3);
    let shifted = |shift| cut::shifted(middle, shift).pixels(&square, 3).unwrap();
    assert_eq!(shifted([1, 0]), [2, 3, 0, 5, 6, 0, 8, 9, 0]);
    assert_eq!(shifted([0, -1]), [0, 0, 0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(shifted([-2, 2]), [0, 0, 7, 0, 0, 0, 0, 0, 0]);
    assert_eq!(shifted([3, 3]), [0; 9]);
}

#[test]
fn a_mirrored_picture_is_one() {
    let planes = planes(&[1, 2, 3, 4, 5, 6], [1, 2, 3], true);
    assert_eq!(planes, [3, 2, 1, 6, 5, 4]);
}

#[test]
fn parts_of_some_area_stay_within_the_picture() {
    let random = ImageOptions { chance: Some(RandomCut::Scale { min_area: 0.08 }), ..options(8) };
    for (width, height) in [(24, 24), (3, 90), (90, 3), (1, 1), (8, 8)] {
        let picture = png(width, height);
        for sample in 0..50 {
            assert_eq!(read(&random, &picture, Some(0), sample).len(), 3 * 64);
        }
    }
}

#[test]
fn every_kind_is_read_in_either_colours() {
    let image = gradient(6, 6);
    let mut pil: Vec<u8> = [6_u32, 6, 3].iter().flat_map(|n| n.to_le_bytes()).collect();
    pil.extend(b"RGB");
    pil.extend(image.as_raw());
    let exact = read(&options(6), &png(6, 6), None, 0);
    assert_eq!(options(6).read(ImageKind::Pil, &pil, None, 0).unwrap(), exact);
    let lossy = encoded(&image, image::ImageFormat::Jpeg);
    let lossy = options(6).read(ImageKind::Jpeg, &lossy, None, 0).unwrap();
    let worst = lossy.iter().zip(&exact).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(worst > 0 && worst < 40, "{worst}");
    let grey = ImageOptions { colours: Colours::Grey, ..options(6) };
    assert_eq!(read(&grey, &png(6, 6), None, 0).len(), 36);
}

#[test]
fn what_is_no_picture_is_told() {
    let read = |kind, bytes: &[u8]| options(4).read(kind, bytes, None, 0).unwrap_err();
    let whole = encoded(&gradient(40, 40), image::ImageFormat::Jpeg);
    assert!(read(ImageKind::Jpeg, &whole[..20]).expected.contains("a JPEG"));
    assert!(read(ImageKind::Png, b"nothing").expected.contains("a PNG"));
    assert!(read(ImageKind::Png, &png(8, 8)[..60]).expected.contains("a PNG"));
    let pil = |width: u32, height: u32, mode: &str, pixels: usize| {
        let mut bytes: Vec<u8> =
            [width, height, mode.len() as u32].iter().flat_map(|n| n.to_le_bytes()).collect();
        bytes.extend(mode.bytes());
        bytes.resize(bytes.len() + pixels, 1);
        read(ImageKind::Pil, &bytes)
    };
    assert!(pil(2, 2, "P", 4).got.contains("\"P\""));
    assert!(pil(2, 2, "RGB", 11).expected.contains("12 bytes"));
    assert!(pil(0, 2, "RGB", 0).got.contains("0 x 2"));
    assert!(pil(u32::MAX, u32::MAX, "RGB", 12).expected.contains("sides"));
    assert!(read(ImageKind::Pil, &[1, 0]).expected.contains("the width"));
}
