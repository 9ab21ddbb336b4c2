//! Packing of other formats into MDS shards, and of text into token files.

mod csv;
mod input;
mod options;
mod text;
mod utf8;

pub use csv::pack_csv;
pub use options::{LabelColumn, PackOptions, PackReport, PackedSplit, Splits};
pub use text::{PackTextOptions, Tokenizer, pack_text};
