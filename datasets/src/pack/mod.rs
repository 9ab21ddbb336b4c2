//! Packing of other formats into MDS shards.

mod csv;
mod entries;
mod options;
mod pictures;
mod records;

pub use csv::pack_csv;
pub use options::{LabelColumn, PackOptions, PackReport, PackedSplit, Splits};
pub use pictures::{PictureOptions, holds_pictures, pack_pictures};
