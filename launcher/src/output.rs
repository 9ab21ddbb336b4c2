use std::fmt;
use std::io::{self, Write};

use crate::signals::Signals;

use clap::ValueEnum;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;
use tokio::sync::oneshot;

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For people, with additional columns where there are any.
    Wide,
    /// For scripts: one JSON value with stable field names.
    Json,
    /// The same, as YAML.
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
    /// A result as it is printed: `json` as data, or the lines that `text` makes.
    ///
    /// # Errors
    /// Where it can't be written as data.
    pub fn form<T: Serialize>(&self, json: &T, text: impl FnOnce() -> String) -> anyhow::Result<String> {
        Ok(match self.format {
            Format::Text | Format::Wide => text(),
            Format::Yaml => serde_saphyr::to_string(json)?,
            Format::Json => serde_json::to_string_pretty(json)?,
        })
    }

    /// Prints a result: `json` as data, or the lines that `text` makes.
    ///
    /// # Errors
    /// As [`form`](Self::form) and [`text`](Self::text).
    pub fn result<T: Serialize>(&self, json: &T, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        Ok(self.text(&self.form(json, text)?)?)
    }

    /// Prints a part of a result, as it comes.
    ///
    /// # Errors
    /// Where stdout takes it no more.
    pub fn part(&self, text: &str) -> Result<(), Unprinted> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Unprinted)
    }

    /// Prints a result that has one form only.
    ///
    /// # Errors
    /// Where stdout takes it no more.
    pub fn text(&self, text: &str) -> Result<(), Unprinted> {
        let mut stdout = io::stdout().lock();
        let line = format!("{}\n", text.trim_end_matches('\n'));
        stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).map_err(Unprinted)
    }
}

/// A result that stdout didn't take.
#[derive(Debug)]
pub struct Unprinted(io::Error);

impl Unprinted {
    /// Whether the reader went away: who closes the pipe, like `head`, has seen enough.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

impl fmt::Display for Unprinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't print the result: {}", self.0)
    }
}

impl std::error::Error for Unprinted {}

/// Says something beside the result, on stderr. Nobody may be there to read it, which is no error.
pub(crate) fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// [`tell`] with a format.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::output::tell(&format!($($text)*))
    };
}
pub(crate) use say;

/// Does what waits for whoever reads, such as a pager or a terminal that was stopped, until a signal says that nobody wants
/// to read it.
pub(crate) async fn patiently(work: impl FnOnce() + Send + 'static) {
    let Ok(mut signals) = Signals::listen() else { return work() };
    let (done, finished) = oneshot::channel();
    // A thread that the end of the process doesn't wait for.
    std::thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    tokio::select! {
        _ = finished => {}
        _ = signals.next() => {}
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
