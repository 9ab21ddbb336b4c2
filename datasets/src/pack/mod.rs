//! Packing of other formats into MDS shards, and of text into token files.

mod csv;
mod entries;
mod input;
mod options;
mod pictures;
mod pieces;
mod records;
mod text;
mod utf8;

pub use csv::pack_csv;
pub use options::{LabelColumn, PackOptions, PackReport, PackedSplit, Splits};
pub use pictures::{PictureOptions, holds_pictures, pack_pictures};
pub use text::{PackTextOptions, pack_text};
