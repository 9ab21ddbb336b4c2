use crate::mds::{Flaw, ImageKind};
use image::{ColorType, DynamicImage, ImageFormat, ImageReader, Limits};
use std::io::Cursor;

/// A side beyond this is no photograph, and its pixels would fill the memory.
const MAX_SIDE: u32 = 32_768;

/// What one picture may take while it is decoded.
const MAX_BYTES: u64 = 1 << 30;

/// How many numbers a pixel has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Colours {
    /// Red, green and blue; grey pictures become such, and what is transparent loses that.
    #[default]
    Rgb,
    /// One; coloured pictures become grey.
    Grey,
}

impl Colours {
    pub(crate) fn channels(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Grey => 1,
        }
    }

    fn of(self, image: DynamicImage) -> Picture {
        let (width, height) = (image.width(), image.height());
        let pixels = match self {
            Self::Rgb => image.into_rgb8().into_raw(),
            Self::Grey => image.into_luma8().into_raw(),
        };
        Picture { width, height, pixels, colours: self }
    }
}

/// A decoded picture: rows of pixels, each with its colours beside one another.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) pixels: Vec<u8>,
    pub(super) colours: Colours,
}

pub(super) fn decode(kind: ImageKind, bytes: &[u8], colours: Colours) -> Result<Picture, Flaw> {
    let (name, format) = match kind {
        ImageKind::Jpeg => ("a JPEG", ImageFormat::Jpeg),
        ImageKind::Png => ("a PNG", ImageFormat::Png),
        ImageKind::Pil => return pil(bytes).map(|image| colours.of(image)),
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // A folder may hold both, and streaming's own reader takes what it finds, too.
    if let Ok(other) = image::guess_format(bytes) {
        reader.set_format(other);
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let flaw = |error: image::ImageError| Flaw::new(0, format_args!("{name} that can be decoded"), error);
    let image = reader.decode().map_err(flaw)?;
    if image.width() == 0 || image.height() == 0 {
        return Err(Flaw::new(0, "a picture with pixels", "none"));
    }
    Ok(colours.of(image))
}

/// As streaming writes it: `u32` width, height and length of the mode, the mode's name, then the pixels.
fn pil(bytes: &[u8]) -> Result<DynamicImage, Flaw> {
    let mut at = 0;
    let mut number = |what| crate::mds::take_u32(bytes, &mut at, what);
    let (width, height, len) = (number("the width")?, number("the height")?, number("the mode's length")?);
    let mode = crate::mds::take(bytes, &mut at, (len as usize).min(16), "the mode")?;
    let mode = String::from_utf8_lossy(mode).into_owned();
    let colour = match mode.as_str() {
        "RGB" => ColorType::Rgb8,
        "RGBA" => ColorType::Rgba8,
        "L" => ColorType::L8,
        "LA" => ColorType::La8,
        other => {
            return Err(Flaw::new(12, "a picture in the mode RGB, RGBA, L or LA", format_args!("{other:?}")));
        }
    };
    if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
        return Err(Flaw::new(
            0,
            format_args!("sides from 1 to {MAX_SIDE}"),
            format_args!("{width} x {height}"),
        ));
    }
    let expected = width as usize * height as usize * usize::from(colour.bytes_per_pixel());
    let pixels = &bytes[at..];
    let wrong = || Flaw::new(at, format_args!("{expected} bytes of pixels"), pixels.len());
    if pixels.len() != expected {
        return Err(wrong());
    }
    let pixels = pixels.to_vec();
    let image = match colour {
        ColorType::Rgb8 => image::RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
        ColorType::Rgba8 => image::RgbaImage::from_raw(width, height, pixels).map(DynamicImage::from),
        ColorType::L8 => image::GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        _ => image::GrayAlphaImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    image.ok_or_else(wrong)
}
