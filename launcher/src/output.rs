use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For people, with more columns where there are any.
    Wide,
    /// For scripts: one JSON value, with field names that stay.
    Json,
    /// The same as YAML.
    Yaml,
}

impl Format {
    /// Whether scripts are meant.
    pub fn is_data(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }
}

/// Where results go: stdout, in the format that was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Output {
    /// The format that was asked for.
    pub format: Format,
}

impl Output {
    /// Prints a result: `json` as data, or the lines that `text` makes.
    pub fn result<T: Serialize>(&self, json: &T, text: impl FnOnce() -> String) -> io::Result<()> {
        match self.format {
            Format::Text | Format::Wide => self.text(&text()),
            Format::Yaml => self.text(&serde_saphyr::to_string(json).map_err(io::Error::other)?),
            Format::Json => self.text(&serde_json::to_string_pretty(json)?),
        }
    }

    /// Prints a result that has one form only.
    pub fn text(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.trim_end_matches('\n').as_bytes())?;
        stdout.write_all(b"\n")?;
        stdout.flush()
    }
}

/// Lines in columns under a heading, without borders, for eyes and `awk` alike.
pub(crate) fn columns<R: Into<comfy_table::Row>>(
    heading: &[&str],
    rows: impl IntoIterator<Item = R>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(heading.iter().copied());
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}
