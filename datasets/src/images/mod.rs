//! Pictures as a model takes them: decoded, cut to one size, and in training changed at random.
//!
//! What chance does to a picture follows from the seed, the epoch and the sample, so it is the same on whichever rank and
//! after whatever loss.

mod chance;
mod cut;
mod decode;
mod pool;

pub use cut::{Cut, RandomCut};
pub use decode::Colours;
pub(crate) use pool::Pictures;

use crate::batch::{Column, Values};
use crate::mds::{Encoding, Flaw, ImageKind};
use bytes::Bytes;
use chance::Chance;

/// How the pictures of a column become numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageOptions {
    /// The column that holds them.
    pub column: String,
    /// Sides of the result. Unit: pixels.
    pub size: u32,
    /// Their colours.
    pub colours: Colours,
    /// The part that is taken where nothing is left to chance.
    pub cut: Cut,
    /// What is left to chance in training; nothing in evaluation.
    pub chance: Option<RandomCut>,
    /// Whether every other picture is mirrored in training.
    pub flip: bool,
    /// Seed of all chance.
    pub seed: u64,
    /// What happens to a picture that can't be read.
    pub bad: BadSamples,
}

/// What happens to a sample that can't be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BadSamples {
    /// It is an error.
    #[default]
    Fail,
    /// It is left out of its batch, which says so.
    Skip,
}

impl ImageOptions {
    /// Numbers of one picture: `[channels, size, size]`.
    fn shape(&self) -> [usize; 3] {
        [self.colours.channels(), self.size as usize, self.size as usize]
    }

    /// Reads a picture.
    ///
    /// Shape: bytes `[channels, size, size]`, in that order.
    ///
    /// # Errors
    /// The [`Flaw`] of one that can't be read.
    pub fn read(
        &self,
        kind: ImageKind,
        picture: &[u8],
        epoch: Option<u64>,
        sample: u64,
    ) -> Result<Vec<u8>, Flaw> {
        let decoded = decode::decode(kind, picture, self.colours)?;
        let mut chance = epoch.map(|epoch| Chance::of(self.seed, epoch, sample));
        let cut = match (&self.chance, &mut chance) {
            (Some(random), Some(chance)) => random.draw(&decoded, self.size, chance),
            _ => self.cut.of(&decoded, self.size),
        };
        let is_flipped = self.flip && chance.is_some_and(|mut chance| chance.coin());
        let pixels = cut.pixels(&decoded, self.size).map_err(|error| Flaw::new(0, "a picture", error))?;
        Ok(planes(&pixels, self.shape(), is_flipped))
    }
}

/// Which encoding a column of pictures must have.
fn kind_of(encoding: &Encoding) -> Option<ImageKind> {
    match encoding {
        Encoding::Image(kind) => Some(*kind),
        _ => None,
    }
}

/// From colours beside one another to one plane for each, mirrored or not.
fn planes(pixels: &[u8], [channels, height, width]: [usize; 3], is_flipped: bool) -> Vec<u8> {
    let mut planes = vec![0; pixels.len()];
    for (y, row) in pixels.chunks_exact(width * channels).enumerate() {
        for (x, pixel) in row.chunks_exact(channels).enumerate() {
            let x = if is_flipped { width - 1 - x } else { x };
            for (channel, value) in pixel.iter().enumerate() {
                planes[(channel * height + y) * width + x] = *value;
            }
        }
    }
    planes
}

/// Replaces a column of pictures by one of their numbers.
fn replace(column: &mut Column, shape: [usize; 3], pictures: Vec<Option<Vec<u8>>>) {
    let numbers: usize = shape.iter().product();
    let mut values = Vec::with_capacity(numbers * pictures.len());
    for picture in &pictures {
        match picture {
            Some(picture) => values.extend_from_slice(picture),
            None => values.resize(values.len() + numbers, 0),
        }
    }
    column.shape = Some(shape.to_vec());
    column.rows = pictures.len();
    column.values = Values::U8(values);
}

/// The pictures of a column, one for each row.
fn taken(column: &mut Column) -> Vec<Bytes> {
    match std::mem::replace(&mut column.values, Values::U8(Vec::new())) {
        Values::Bytes(pictures) => pictures,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
