//! Pictures of a dataset as the column `image`: what the job says of them, for whom reads them, and the last step to numbers.

use crate::Result;
use lockstep_datasets::{BadSamples, Colours, Cut, ImageOptions, RandomCut};
use lockstep_job as job;
use std::num::NonZero;
use std::thread::available_parallelism;
use tch::{Kind, TchError, Tensor};

/// What models call the column of pictures.
pub(super) const IMAGE: &str = "image";

/// What comes after reading.
#[derive(Debug)]
pub(super) struct Pictures {
    /// The dataset's column.
    pub(super) column: String,
    /// Threads that read.
    pub(super) threads: usize,
    /// A byte times this and plus that is what the model gets. Shape: `[channels, 1, 1]`.
    scale: Tensor,
    shift: Tensor,
}

impl Clone for Pictures {
    fn clone(&self) -> Self {
        let (scale, shift) = (self.scale.shallow_clone(), self.shift.shallow_clone());
        Self { column: self.column.clone(), threads: self.threads, scale, shift }
    }
}

impl Pictures {
    pub(super) fn new(image: &job::Image, ranks_on_node: u32) -> Result<Self> {
        let channels = image.colours.channels();
        let each = |numbers: &[f64], default: f64| {
            (0..channels).map(move |i| *numbers.get(i).unwrap_or(&default)).collect::<Vec<_>>()
        };
        let (mean, std) = (each(&image.mean, 0.0), each(&image.std, 1.0));
        let column =
            |values: Vec<f64>| Tensor::f_from_slice(&values)?.f_to_kind(Kind::Float)?.f_view([-1, 1, 1]);
        let processors = available_parallelism().map_or(1, NonZero::get);
        let share = (processors / (ranks_on_node as usize).max(1)).max(1);
        Ok(Self {
            column: image.column.clone(),
            threads: if image.threads == 0 { share } else { image.threads as usize },
            scale: column(std.iter().map(|std| 1.0 / (255.0 * std)).collect())?,
            shift: column(mean.iter().zip(&std).map(|(mean, std)| -mean / std).collect())?,
        })
    }

    /// Shape: `[len, channels, size, size]`; bytes before, `f32` after.
    pub(super) fn normalised(&self, pictures: &Tensor) -> Result<Tensor, TchError> {
        pictures.f_to_kind(Kind::Float)?.f_mul_(&self.scale)?.f_add_(&self.shift)
    }
}

/// How they are read.
pub(super) fn options(image: &job::Image, seed: u64) -> ImageOptions {
    ImageOptions {
        column: image.column.clone(),
        size: image.size,
        colours: match image.colours {
            job::Colours::Rgb => Colours::Rgb,
            job::Colours::Grey => Colours::Grey,
        },
        cut: Cut { resize: image.resize.unwrap_or(image.size) },
        chance: image.crop.map(|crop| match crop {
            job::Crop::Shift { pixels } => RandomCut::Shift { pixels },
            job::Crop::Scale { min_area } => RandomCut::Scale { min_area },
        }),
        flip: image.flip,
        seed,
        bad: match image.bad_samples {
            job::BadSamples::Fail => BadSamples::Fail,
            job::BadSamples::Skip => BadSamples::Skip,
        },
    }
}
