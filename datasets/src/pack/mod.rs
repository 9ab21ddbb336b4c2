//! Packing of other formats into MDS shards.

mod csv;
mod options;

pub use csv::pack_csv;
pub use options::{LabelColumn, PackOptions, PackReport, PackedSplit, Splits};
