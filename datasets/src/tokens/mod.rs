//! Files of nothing but tokens, as llm.c and nanoGPT write them: headers, index entries, windows, and a writer.

mod cut;
mod entry;
mod header;
mod raw;
mod writer;

pub(crate) use cut::Cut;
pub(crate) use entry::{COLUMN, FORMAT, VERSION, check_entry, layout, range};
pub use header::{TokenFile, parse_token_header};
pub(crate) use raw::{holds_files, make_index};
pub(crate) use writer::TokenWriter;
