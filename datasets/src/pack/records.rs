use super::entries::Entries;
use crate::Result;
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use std::collections::BTreeMap;

/// Binary files of whole sets of small pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Records {
    /// Records of a label and 32 x 32 pixels, plane by plane; those of 100 classes have a coarse label before the fine one.
    ///
    /// Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images.
    Cifar { labels: usize },
    /// Pictures and labels in files of their own, each with its dimensions before it.
    ///
    /// Source: LeCun and others, The MNIST database of handwritten digits.
    Idx,
}

/// A picture of such a file.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) split: &'static str,
    pub(super) label: u8,
    width: u32,
    height: u32,
    channels: usize,
    /// Plane by plane.
    planes: &'a [u8],
}

const CIFAR_SIDE: usize = 32;
const TRAIN: &str = "train";
const TEST: &str = "test";

impl Records {
    /// Which kind the files are, if they are any.
    pub(super) fn of(paths: &[String]) -> Option<Self> {
        let names = || paths.iter().map(|path| name(path));
        if names().any(|name| cifar_split(name).is_some()) {
            let is_fine = names().any(|name| name == "train.bin");
            return Some(Self::Cifar { labels: if is_fine { 2 } else { 1 } });
        }
        names().any(|name| idx_split(name).is_some()).then_some(Self::Idx)
    }

    /// Hands out every picture. What is wrong with a file is told by `bad`, from its path.
    pub(super) fn each(
        self,
        entries: &Entries,
        bad: &impl Fn(&str, String) -> crate::Error,
        take: &mut dyn FnMut(Record<'_>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Cifar { labels } => {
                let len = labels + 3 * CIFAR_SIDE * CIFAR_SIDE;
                for (place, path) in entries.paths().iter().enumerate() {
                    let Some(split) = cifar_split(name(path)) else { continue };
                    let content = entries.read(place)?;
                    if content.is_empty() || !content.len().is_multiple_of(len) {
                        let size = content.len();
                        return Err(bad(path, format!("{size} bytes are not whole records of {len} bytes")));
                    }
                    content.chunks_exact(len).try_for_each(|record| {
                        let (label, planes) = (record[labels - 1], &record[labels..]);
                        let side = CIFAR_SIDE as u32;
                        take(Record { split, label, width: side, height: side, channels: 3, planes })
                    })?;
                }
            }
            Self::Idx => {
                let mut labels = BTreeMap::new();
                for (place, path) in entries.paths().iter().enumerate().filter(|(_, path)| is_labels(path)) {
                    let Some(split) = idx_split(name(path)) else { continue };
                    let content = entries.read(place)?;
                    let (sides, at) = idx_header(&content, 1).map_err(|reason| bad(path, reason))?;
                    let rest = content.len() - at;
                    if rest != sides[0] as usize {
                        return Err(bad(path, format!("{} labels are told, {rest} follow", sides[0])));
                    }
                    labels.insert(split, content[at..].to_vec());
                }
                for (place, path) in entries.paths().iter().enumerate().filter(|(_, path)| !is_labels(path)) {
                    let Some(split) = idx_split(name(path)) else { continue };
                    let missing = "the file with its labels is missing, such as train-labels-idx1-ubyte";
                    let labels = labels.get(split).ok_or_else(|| bad(path, missing.to_owned()))?;
                    let content = entries.read(place)?;
                    let (sides, at) = idx_header(&content, 3).map_err(|reason| bad(path, reason))?;
                    let (count, height, width) = (sides[0] as usize, sides[1], sides[2]);
                    let (len, rest) = (height as usize * width as usize, content.len() - at);
                    if len == 0 || count.checked_mul(len) != Some(rest) || labels.len() != count {
                        let reason = format!(
                            "{count} pictures of {width} x {height} are told, {rest} bytes and {} labels are there",
                            labels.len()
                        );
                        return Err(bad(path, reason));
                    }
                    content[at..].chunks_exact(len).zip(labels).try_for_each(|(planes, label)| {
                        take(Record { split, label: *label, width, height, channels: 1, planes })
                    })?;
                }
            }
        }
        Ok(())
    }
}

impl Record<'_> {
    /// As a PNG, which loses nothing.
    pub(super) fn png(&self) -> Result<Vec<u8>, String> {
        let plane = self.planes.len() / self.channels;
        let mut pixels = Vec::with_capacity(self.planes.len());
        for place in 0..plane {
            pixels.extend((0..self.channels).map(|channel| self.planes[channel * plane + place]));
        }
        let colour = if self.channels == 3 { ExtendedColorType::Rgb8 } else { ExtendedColorType::L8 };
        let mut png = Vec::new();
        let written = PngEncoder::new(&mut png).write_image(&pixels, self.width, self.height, colour);
        written.map(|()| png).map_err(|error| error.to_string())
    }
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn cifar_split(name: &str) -> Option<&'static str> {
    match name {
        "test_batch.bin" | "test.bin" => Some(TEST),
        "train.bin" => Some(TRAIN),
        name => (name.starts_with("data_batch_") && name.ends_with(".bin")).then_some(TRAIN),
    }
}

fn idx_split(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let is_idx = name.ends_with("-ubyte") && name.contains("idx");
    match is_idx {
        true if name.starts_with("train") => Some(TRAIN),
        true if name.starts_with("t10k") || name.starts_with("test") => Some(TEST),
        _ => None,
    }
}

fn is_labels(path: &str) -> bool {
    name(path).contains("labels")
}

/// Two zeros, 8 for bytes, the number of dimensions, and each of them as a big-endian `u32`; where the values begin.
fn idx_header(content: &[u8], dimensions: u8) -> Result<(Vec<u32>, usize), String> {
    let expected = [0, 0, 8, dimensions];
    if !content.starts_with(&expected) {
        let got = content.get(..4).unwrap_or(content);
        return Err(format!(
            "it begins with {got:?}, but an idx file of {dimensions} dimensions with {expected:?}"
        ));
    }
    let end = 4 + 4 * usize::from(dimensions);
    let sides = content.get(4..end).ok_or_else(|| format!("it ends within its header of {end} bytes"))?;
    let number = |side: &[u8]| side.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
    Ok((sides.chunks_exact(4).map(number).collect(), end))
}
