use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Read},
    path::Path,
};

use csv::{Reader, ReaderBuilder, StringRecord};

use crate::{
    Error, Result,
    mds::{ColumnSpec, Dtype, Encoding, Notes, Range, Value, Writer},
    pack::{LabelColumn, PackOptions, PackReport, PackedSplit, input::open_input, options::Deal},
};

/// A longer row is none. Unit: bytes.
const MOST_ROW_BYTES: usize = 64 << 20;

/// Packs a CSV file of numbers: all columns but the label become one array column, the label an integer column.
///
/// The file is read twice, first to check and count it; memory holds one shard of each split.
///
/// # Errors
/// [`Error::Row`] naming line and column of what can't be packed, before anything is written; [`Error::Exists`];
/// [`Error::Empty`]; storage errors.
pub fn pack_csv(options: &PackOptions) -> Result<PackReport> {
    let table = Table::survey(options)?;
    let features = table.columns - 1;
    let shape = options.shape.clone().unwrap_or_else(|| vec![features as u32]);
    if shape.iter().map(|side| u64::from(*side)).product::<u64>() != features as u64 {
        let rule = format!("one that holds {features} values, a row's features");
        return Err(Error::option("shape", rule, format!("{shape:?}")));
    }
    let deal = Deal::new(&options.splits, table.rows)?;
    let specs = [
        (&options.feature_name, Encoding::Array { dtype: Some(options.dtype), shape: Some(shape) }),
        (&options.label_name, Encoding::Int),
    ];
    let specs = specs.map(|(name, encoding)| ColumnSpec { name: name.clone(), encoding });
    let mut writers = deal
        .names()
        .iter()
        .map(|name| Writer::create(&options.output, name, specs.to_vec(), options.writer.clone()))
        .collect::<Result<Vec<_>>>()?;
    let mut labels = vec![BTreeMap::new(); writers.len()];
    let label_first = options.label_name < options.feature_name;
    let mut row = 0;
    table.each(options, |label, features| {
        let split = deal.split_of(row);
        row += 1;
        *labels[split].entry(label).or_default() += 1;
        let (label, features) = (Value::Int(label), Value::Array(features));
        writers[split].write(&if label_first { [label, features] } else { [features, label] })
    })?;
    let notes = Notes { ranges: table.ranges.clone(), source: options.source.clone(), ..Notes::default() };
    let mut splits = Vec::new();
    for ((writer, name), labels) in writers.into_iter().zip(deal.names()).zip(labels) {
        let index = writer.finish_with(Some(notes.clone()))?;
        splits.push(PackedSplit::new(name, &index, labels));
    }
    Ok(PackReport { uri: options.output.clone(), splits, ranges: table.ranges })
}

/// What the first reading found.
struct Table {
    rows: u64,
    columns: usize,
    label: usize,
    ranges: BTreeMap<String, Range>,
}

impl Table {
    fn survey(options: &PackOptions) -> Result<Self> {
        let mut reader = open(&options.input, options.header)?;
        let bad = |line, reason: String| Error::Row { file: options.input.clone(), line, reason };
        let first = first_record(&mut reader, options)?;
        let columns = first.len();
        if columns < 2 {
            return Err(bad(
                1,
                format!("a label and at least one feature are needed: at least 2 columns, not {columns}"),
            ));
        }
        let label = match &options.label {
            LabelColumn::First => 0,
            LabelColumn::Last => columns - 1,
            LabelColumn::Index(index) if *index < columns => *index,
            LabelColumn::Index(index) => {
                return Err(bad(1, format!("there is no column {index}, only {columns}")));
            }
            LabelColumn::Name(name) if options.header => {
                let found = first.iter().position(|header| header.trim() == name);
                found.ok_or_else(|| {
                    let columns = first.iter().collect::<Vec<_>>().join(", ");
                    bad(1, format!("no column is named {name:?}; the columns are {columns}"))
                })?
            }
            LabelColumn::Name(name) => {
                return Err(bad(1, format!("the column {name:?} can't be found in a file without a header")));
            }
        };
        let mut table = Self { rows: 0, columns, label, ranges: BTreeMap::new() };
        let mut ranges = BTreeMap::new();
        let mut rows = 0;
        table.each(options, |label, features| {
            rows += 1;
            widen(&mut ranges, &options.label_name, label as f64);
            features.iter().for_each(|value| widen(&mut ranges, &options.feature_name, *value));
            Ok(())
        })?;
        if rows == 0 {
            return Err(Error::Empty { uri: options.input.display().to_string() });
        }
        (table.rows, table.ranges) = (rows, ranges);
        Ok(table)
    }

    /// Hands out label and features of each row.
    fn each(&self, options: &PackOptions, mut row: impl FnMut(i64, &[f64]) -> Result<()>) -> Result<()> {
        let mut reader = open(&options.input, options.header)?;
        let mut features = Vec::with_capacity(self.columns - 1);
        let mut record = StringRecord::new();
        while read(&mut reader, &mut record, options)? {
            let line = record.position().map_or(0, csv::Position::line);
            let bad = |reason: String| Error::Row { file: options.input.clone(), line, reason };
            if record.len() != self.columns {
                return Err(bad(format!(
                    "{} columns are expected, but there are {}",
                    self.columns,
                    record.len()
                )));
            }
            features.clear();
            let mut label = 0;
            for (column, text) in record.iter().enumerate() {
                let cell = |what: &str| bad(format!("column {}: {text:?} is not {what}", column + 1));
                if column == self.label {
                    label = text.trim().parse().map_err(|_| cell("an integer label"))?;
                } else {
                    let value: f64 = text.trim().parse().map_err(|_| cell("a number"))?;
                    if !fits(options.dtype, value) {
                        return Err(cell(options.dtype.name()));
                    }
                    features.push(value);
                }
            }
            row(label, &features)?;
        }
        Ok(())
    }
}

fn fits(dtype: Dtype, value: f64) -> bool {
    let mut out = Vec::new();
    let one = Encoding::Array { dtype: Some(dtype), shape: Some(vec![1]) };
    value.is_finite() && Value::Array(&[value]).encode(&one, &mut out).is_ok()
}

fn widen(ranges: &mut BTreeMap<String, Range>, name: &str, value: f64) {
    let one = Range { min: value, max: value };
    match ranges.get_mut(name) {
        Some(range) => *range = range.with(one),
        None => drop(ranges.insert(name.to_owned(), one)),
    }
}

type Input = Reader<Box<dyn Read>>;

fn open(path: &Path, header: bool) -> Result<Input> {
    let input = open_input(path)?;
    // Rows of another length are ours to report.
    let lines = Box::new(Lines { input, since_newline: 0 });
    Ok(ReaderBuilder::new().has_headers(header).flexible(true).from_reader(lines))
}

/// Text whose lines end: a file without line ends would be one row as large as the file.
struct Lines {
    input: Box<dyn Read>,
    since_newline: usize,
}

impl Read for Lines {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(to)?;
        self.since_newline = match to[..read].iter().rposition(|byte| *byte == b'\n') {
            Some(at) => read - at - 1,
            None => self.since_newline + read,
        };
        if self.since_newline > MOST_ROW_BYTES {
            let what = format!("a row has more than {MOST_ROW_BYTES} bytes; is this a CSV file?");
            return Err(io::Error::new(ErrorKind::InvalidData, what));
        }
        Ok(read)
    }
}

fn first_record(reader: &mut Input, options: &PackOptions) -> Result<StringRecord> {
    if options.header {
        return reader.headers().cloned().map_err(|error| broken(&error, options));
    }
    let mut record = StringRecord::new();
    if !read(reader, &mut record, options)? {
        return Err(Error::Empty { uri: options.input.display().to_string() });
    }
    Ok(record)
}

fn read(reader: &mut Input, record: &mut StringRecord, options: &PackOptions) -> Result<bool> {
    reader.read_record(record).map_err(|error| broken(&error, options))
}

fn broken(error: &csv::Error, options: &PackOptions) -> Error {
    let line = error.position().map_or(0, csv::Position::line);
    Error::Row { file: options.input.clone(), line, reason: error.to_string() }
}
