use super::chance::Chance;
use super::decode::Picture;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

/// The part of a picture that is taken where nothing is left to chance: its middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The shorter side becomes so long before the middle is taken; at least the size of the result. Unit: pixels.
    pub resize: u32,
}

/// What chance does in training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RandomCut {
    /// A square out of the middle, moved by so many pixels at most; what lies beyond its edge is black.
    Shift {
        /// Unit: pixels.
        pixels: u32,
    },
    /// A part of some of the area, between 3:4 and 4:3, anywhere.
    ///
    /// Source: Szegedy and others, Going Deeper with Convolutions; as torchvision's `RandomResizedCrop`.
    Scale {
        /// The least share of the picture's area.
        min_area: f64,
    },
}

/// Where the result comes from: a rectangle of the picture, which becomes a square of the result's size, moved after that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Part {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    shift: [i64; 2],
}

/// The longest and the narrowest part, as `RandomResizedCrop` has them.
const RATIO: f64 = 4.0 / 3.0;

/// How often a part is drawn before the middle is taken.
const TRIES: u32 = 10;

impl Cut {
    pub(super) fn of(&self, picture: &Picture, size: u32) -> Part {
        let (width, height) = (f64::from(picture.width), f64::from(picture.height));
        // In pixels of the picture.
        let side = width.min(height) * f64::from(size) / f64::from(self.resize.max(size));
        let shift = [0, 0];
        Part { left: (width - side) / 2.0, top: (height - side) / 2.0, width: side, height: side, shift }
    }
}

impl RandomCut {
    pub(super) fn draw(&self, picture: &Picture, size: u32, chance: &mut Chance) -> Part {
        let middle = Cut { resize: size }.of(picture, size);
        match *self {
            Self::Shift { pixels } => {
                let mut shift = || i64::from(chance.up_to(2 * pixels)) - i64::from(pixels);
                Part { shift: [shift(), shift()], ..middle }
            }
            Self::Scale { min_area } => {
                let (width, height) = (f64::from(picture.width), f64::from(picture.height));
                for _ in 0..TRIES {
                    let area = width * height * chance.between(min_area, 1.0);
                    let ratio = chance.between(-RATIO.ln(), RATIO.ln()).exp();
                    let (w, h) = ((area * ratio).sqrt().round(), (area / ratio).sqrt().round());
                    if w >= 1.0 && h >= 1.0 && w <= width && h <= height {
                        let left = f64::from(chance.up_to((width - w) as u32));
                        let top = f64::from(chance.up_to((height - h) as u32));
                        return Part { left, top, width: w, height: h, shift: [0, 0] };
                    }
                }
                let (w, h) = (width.min(height * RATIO), height.min(width * RATIO));
                Part { left: (width - w) / 2.0, top: (height - h) / 2.0, width: w, height: h, shift: [0, 0] }
            }
        }
    }
}

impl Part {
    /// The square as rows of pixels, `size` by `size`.
    pub(super) fn pixels(&self, picture: &Picture, size: u32) -> Result<Vec<u8>, String> {
        let channels = picture.colours.channels();
        let is_whole = picture.width == size && picture.height == size && self.width == f64::from(size);
        let square = match is_whole {
            true => picture.pixels.clone(),
            false => self.resized(picture, size)?,
        };
        let ([right, down], side) = (self.shift, i64::from(size));
        if self.shift == [0, 0] {
            return Ok(square);
        }
        let mut moved = vec![0; square.len()];
        for y in 0.max(-down)..side.min(side - down) {
            let (from, to) = (0.max(-right), side.min(side - right));
            if from >= to {
                break;
            }
            let place = |x: i64, y: i64| (y * side + x) as usize * channels;
            let source = &square[place(from + right, y + down)..place(to + right, y + down)];
            moved[place(from, y)..place(to, y)].copy_from_slice(source);
        }
        Ok(moved)
    }

    fn resized(&self, picture: &Picture, size: u32) -> Result<Vec<u8>, String> {
        let kind = match picture.colours.channels() {
            3 => PixelType::U8x3,
            _ => PixelType::U8,
        };
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let source =
            ImageRef::new(picture.width, picture.height, &picture.pixels, kind).map_err(|e| text(&e))?;
        let mut result = Image::new(size, size, kind);
        // Each pixel of the result is a mean over all of the picture's that it covers.
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(
            self.left,
            self.top,
            self.width,
            self.height,
        );
        Resizer::new().resize(&source, &mut result, &options).map_err(|e| text(&e))?;
        Ok(result.into_vec())
    }
}

#[cfg(test)]
pub(super) fn shifted(part: Part, shift: [i64; 2]) -> Part {
    Part { shift, ..part }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::Colours;

    #[test]
    fn parts_have_areas_and_ratios_of_the_whole_range_and_lie_anywhere() {
        let picture = Picture { width: 100, height: 100, pixels: Vec::new(), colours: Colours::Grey };
        let random = RandomCut::Scale { min_area: 0.25 };
        let parts: Vec<_> =
            (0..2000).map(|sample| random.draw(&picture, 8, &mut Chance::of(1, 0, sample))).collect();
        let spread = |of: &dyn Fn(&Part) -> f64| {
            let values: Vec<f64> = parts.iter().map(of).collect();
            let least = values.iter().copied().fold(f64::MAX, f64::min);
            (least, values.iter().sum::<f64>() / 2000.0, values.iter().copied().fold(f64::MIN, f64::max))
        };
        // Sides are whole pixels; what doesn't fit is drawn again, so large areas are rarer.
        let (least, mean, most) = spread(&|part| part.width * part.height / 10_000.0);
        assert!(
            (0.23..0.28).contains(&least) && (0.5..0.65).contains(&mean) && most > 0.9,
            "{least} {mean} {most}"
        );
        let (least, mean, most) = spread(&|part| (part.width / part.height).ln());
        let most_ratio = RATIO.ln() + 0.03;
        assert!(least > -most_ratio && most < most_ratio && mean.abs() < 0.02, "{least} {mean} {most}");
        assert!(least < -0.25 && most > 0.25, "{least} {most}");
        let (least, mean, most) = spread(&|part| part.left / (100.0 - part.width).max(1.0));
        assert!(least == 0.0 && (0.4..0.6).contains(&mean) && most == 1.0, "{least} {mean} {most}");
        assert!(parts.iter().all(|part| part.left + part.width <= 100.0 && part.top + part.height <= 100.0));
    }
}
