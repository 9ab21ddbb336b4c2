use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the pictures of a dataset become the column `image` that models read: numbers of shape [channels, size, size].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// Column of the dataset that holds the pictures, as jpeg, png or pil. Default: image.
    #[serde(default = "image")]
    pub column: String,
    /// Side of the square that the model gets. Unit: pixels.
    #[schemars(range(min = 1, max = 8192), extend("x-unit" = "pixels", "examples" = [224]))]
    pub size: u32,
    /// Whether pictures keep their colours. Default: rgb.
    #[serde(default)]
    pub colours: Colours,
    /// Length of the shorter side before the middle is taken, where no crop is drawn. Unit: pixels. Default: size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8192), extend("x-unit" = "pixels"))]
    pub resize: Option<u32>,
    /// Which part of a picture is drawn in training. Default: the same as in evaluation, its middle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// Whether every other picture is mirrored in training. Default: false.
    #[serde(default)]
    pub flip: bool,
    /// Subtracted from each colour, which goes from 0 to 1. Default: [], nothing.
    #[serde(default)]
    pub mean: Vec<f64>,
    /// What each colour is divided by then. Default: [], 1.
    #[serde(default)]
    #[schemars(extend("items" = { "type": "number", "exclusiveMinimum": 0 }))]
    pub std: Vec<f64>,
    /// What happens to a picture that can't be read: the run fails, or goes on without it, and says so. Default: fail.
    #[serde(default)]
    pub bad_samples: BadSamples,
    /// Threads of each rank that read pictures; 0 shares the node's processors among its ranks. Unit: threads. Default: 0.
    #[serde(default)]
    #[schemars(range(max = 1024), extend("x-unit" = "threads"))]
    pub threads: u32,
}

/// The colours of a picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Colours {
    /// Red, green and blue: three channels.
    #[default]
    Rgb,
    /// One channel.
    Grey,
}

impl Colours {
    /// Numbers of one pixel.
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Grey => 1,
        }
    }
}

/// Which part of a picture is drawn in training; `kind` names the way.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Crop {
    /// Its middle, moved by some pixels; what lies beyond the edge is black.
    Shift {
        /// How far at most, each way. Unit: pixels. Default: 4.
        #[serde(default = "four")]
        #[schemars(range(min = 1, max = 8192), extend("x-unit" = "pixels"))]
        pixels: u32,
    },
    /// A part of some of its area, between 3:4 and 4:3, anywhere.
    Scale {
        /// The least share of the area. Default: 0.08.
        #[serde(default = "least")]
        #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0))]
        min_area: f64,
    },
}

/// What happens to a sample that can't be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum BadSamples {
    /// The run fails.
    #[default]
    Fail,
    /// It is left out.
    Skip,
}

fn image() -> String {
    "image".to_owned()
}

fn four() -> u32 {
    4
}

fn least() -> f64 {
    0.08
}
