use std::ops::Range;

use bytes::Bytes;

use crate::{
    Error, Result,
    mds::{ColumnSpec, Dtype, Encoding, Flaw},
};

/// The samples of one step for one rank.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The step that it is for.
    pub step: u64,
    /// Number of each row's sample in the dataset; `None` is an empty row of a padded tail, all zeros.
    pub samples: Vec<Option<u64>>,
    /// The columns asked for, in that order.
    pub columns: Vec<Column>,
    /// Samples that could not be read and were left out, each with the reason; their rows are empty.
    pub skipped: Vec<String>,
}

/// One column of a batch: the values of all rows one after another.
///
/// Shapes: with R rows, `values` holds R * product(shape) numbers; a scalar's shape is empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name in the dataset.
    pub name: String,
    /// Shape of one row; `None` while there is no row.
    pub shape: Option<Vec<usize>>,
    /// Number of rows.
    pub rows: usize,
    /// All rows' values.
    pub values: Values,
    /// Why the column is left out of this batch, with the sample; it has no values then. See
    /// [`Columns::Numbers`](crate::Columns::Numbers).
    pub flaw: Option<String>,
}

/// Flat values. Half floats are widened to [`Values::F32`], which holds each of them.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Values {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bytes(Vec<Bytes>),
    Text(Vec<String>),
}

/// The same expression for the vector inside, whatever its type.
macro_rules! each {
    ($values:expr, $vec:ident => $body:expr) => {
        match $values {
            Values::U8($vec) => $body,
            Values::I8($vec) => $body,
            Values::U16($vec) => $body,
            Values::I16($vec) => $body,
            Values::U32($vec) => $body,
            Values::I32($vec) => $body,
            Values::U64($vec) => $body,
            Values::I64($vec) => $body,
            Values::F32($vec) => $body,
            Values::F64($vec) => $body,
            Values::Bytes($vec) => $body,
            Values::Text($vec) => $body,
        }
    };
}

/// The same constructor around the transformed vector.
macro_rules! map_each {
    ($values:expr, $vec:ident => $body:expr) => {
        match $values {
            Values::U8($vec) => Values::U8($body),
            Values::I8($vec) => Values::I8($body),
            Values::U16($vec) => Values::U16($body),
            Values::I16($vec) => Values::I16($body),
            Values::U32($vec) => Values::U32($body),
            Values::I32($vec) => Values::I32($body),
            Values::U64($vec) => Values::U64($body),
            Values::I64($vec) => Values::I64($body),
            Values::F32($vec) => Values::F32($body),
            Values::F64($vec) => Values::F64($body),
            Values::Bytes($vec) => Values::Bytes($body),
            Values::Text($vec) => Values::Text($body),
        }
    };
}

/// Numbers as another type; `None` for what are not numbers.
macro_rules! numbers_as {
    ($values:expr, $number:ty, $cast:expr) => {
        match $values {
            Values::U8(v) => v.iter().map(|x| $cast(*x as $number)).collect(),
            Values::I8(v) => v.iter().map(|x| $cast(*x as $number)).collect(),
            Values::U16(v) => v.iter().map(|x| $cast(*x as $number)).collect(),
            Values::I16(v) => v.iter().map(|x| $cast(*x as $number)).collect(),
            Values::U32(v) => v.iter().map(|x| $cast(*x as $number)).collect(),
            Values::I32(v) => v.iter().map(|x| $cast(*x as $number)).collect(),
            Values::U64(v) => v.iter().map(|x| $cast(*x as $number)).collect(),
            Values::I64(v) => v.iter().map(|x| $cast(*x as $number)).collect(),
            Values::F32(v) => v.iter().map(|x| $cast(*x as $number)).collect(),
            Values::F64(v) => v.iter().map(|x| $cast(*x as $number)).collect(),
            Values::Bytes(_) | Values::Text(_) => None,
        }
    };
}

impl Values {
    /// Number of values, over all rows.
    pub fn len(&self) -> usize {
        each!(self, vec => vec.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn empty(encoding: &Encoding) -> Self {
        match encoding {
            Encoding::Bytes | Encoding::Image(_) => Self::Bytes(Vec::new()),
            Encoding::Str | Encoding::Json | Encoding::StrDecimal => Self::Text(Vec::new()),
            Encoding::Int | Encoding::StrInt => Self::I64(Vec::new()),
            Encoding::StrFloat => Self::F64(Vec::new()),
            Encoding::Scalar(dtype) | Encoding::Array { dtype: Some(dtype), .. } => Self::of(*dtype),
            // The first row tells.
            Encoding::Array { dtype: None, .. } => Self::U8(Vec::new()),
            Encoding::Other { .. } => Self::Bytes(Vec::new()),
        }
    }

    fn of(dtype: Dtype) -> Self {
        match dtype {
            Dtype::U8 => Self::U8(Vec::new()),
            Dtype::I8 => Self::I8(Vec::new()),
            Dtype::U16 => Self::U16(Vec::new()),
            Dtype::I16 => Self::I16(Vec::new()),
            Dtype::U32 => Self::U32(Vec::new()),
            Dtype::I32 => Self::I32(Vec::new()),
            Dtype::U64 => Self::U64(Vec::new()),
            Dtype::I64 => Self::I64(Vec::new()),
            Dtype::F16 | Dtype::F32 => Self::F32(Vec::new()),
            Dtype::F64 => Self::F64(Vec::new()),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::U8(_) => "uint8",
            Self::I8(_) => "int8",
            Self::U16(_) => "uint16",
            Self::I16(_) => "int16",
            Self::U32(_) => "uint32",
            Self::I32(_) => "int32",
            Self::U64(_) => "uint64",
            Self::I64(_) => "int64",
            Self::F32(_) => "float32",
            Self::F64(_) => "float64",
            Self::Bytes(_) => "bytes",
            Self::Text(_) => "text",
        }
    }

    /// Whether both are of one kind; only then is `other` appended.
    fn append(&mut self, other: Self) -> bool {
        macro_rules! same {
            ($($kind:ident)*) => {
                match (self, other) {
                    $((Self::$kind(all), Self::$kind(more)) => all.extend(more),)*
                    _ => return false,
                }
            };
        }
        same!(U8 I8 U16 I16 U32 I32 U64 I64 F32 F64 Bytes Text);
        true
    }
}

impl Column {
    pub(crate) fn empty(spec: &ColumnSpec) -> Self {
        let shape = match &spec.encoding {
            Encoding::Array { shape: Some(shape), .. } => {
                Some(shape.iter().map(|side| *side as usize).collect())
            }
            Encoding::Array { .. } => None,
            _ => Some(Vec::new()),
        };
        Self { name: spec.name.clone(), shape, rows: 0, values: Values::empty(&spec.encoding), flaw: None }
    }

    /// Appends a row; all rows of a batch must have the first one's type and shape.
    pub(crate) fn push(&mut self, shape: &[usize], values: Values) -> Result<(), Flaw> {
        if self.rows == 0 {
            self.values = values;
            self.shape = Some(shape.to_vec());
        } else {
            if self.shape.as_deref() != Some(shape) {
                let expected =
                    format!("shape {:?} as in the row before", self.shape.as_deref().unwrap_or_default());
                return Err(Flaw::new(0, expected, format_args!("{shape:?}")));
            }
            let (kind, other) = (self.values.kind(), values.kind());
            if !self.values.append(values) {
                return Err(Flaw::new(0, format_args!("{kind} as in the row before"), other));
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Whether only a row can tell its shape, and there was none.
    pub(crate) fn is_unknown(&self) -> bool {
        self.rows == 0 && self.shape.is_none() && self.flaw.is_none()
    }

    /// From here on the column has no values in this batch.
    pub(crate) fn leave_out(&mut self, flaw: String) {
        self.clear();
        self.flaw = Some(flaw);
    }

    /// Appends a row of zeros (or empty values) of the known shape.
    pub(crate) fn push_empty(&mut self) {
        if self.flaw.is_some() {
            return;
        }
        let count = self.shape.as_ref().map_or(1, |shape| shape.iter().product());
        each!(&mut self.values, vec => vec.resize_with(vec.len() + count, Default::default));
        self.rows += 1;
    }

    pub(crate) fn clear(&mut self) {
        each!(&mut self.values, vec => vec.clear());
        self.rows = 0;
    }

    /// Values of a row.
    pub fn row_len(&self) -> usize {
        self.values.len().checked_div(self.rows).unwrap_or(0)
    }

    /// All values as `f32`, rounded where they must be.
    ///
    /// # Errors
    /// [`Error::Column`] when they are not numbers.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        if let (Values::F32(values), None) = (&self.values, &self.flaw) {
            return Ok(values.clone());
        }
        let cast: Option<Vec<f32>> = numbers_as!(&self.values, f32, Some);
        cast.filter(|_| self.flaw.is_none()).ok_or_else(|| self.not("numbers"))
    }

    /// All values as `i64`.
    ///
    /// # Errors
    /// [`Error::Column`] when they are not integers, or one does not fit.
    pub fn to_i64(&self) -> Result<Vec<i64>> {
        let whole = |value: i128| i64::try_from(value).ok();
        let cast: Option<Vec<i64>> = match &self.values {
            Values::F32(_) | Values::F64(_) => None,
            values => numbers_as!(values, i128, whole),
        };
        cast.filter(|_| self.flaw.is_none()).ok_or_else(|| self.not("integers that fit 64 bits"))
    }

    fn not(&self, wanted: &str) -> Error {
        let reason = match &self.flaw {
            Some(flaw) => flaw.clone(),
            None => format!("{wanted} are needed, but it holds {}", self.values.kind()),
        };
        Error::Column { name: self.name.clone(), reason }
    }

    fn rows(&self, range: &Range<usize>) -> Self {
        let count = self.row_len();
        let (begin, end) = (range.start * count, range.end * count);
        Self {
            name: self.name.clone(),
            shape: self.shape.clone(),
            rows: range.len(),
            values: map_each!(&self.values, vec => vec[begin..end].to_vec()),
            flaw: self.flaw.clone(),
        }
    }
}

impl Batch {
    /// Number of rows, empty ones included.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Number of rows that hold a sample.
    pub fn num_samples(&self) -> usize {
        self.samples.iter().flatten().count()
    }

    /// For each row whether it holds a sample.
    pub fn mask(&self) -> Vec<bool> {
        self.samples.iter().map(Option::is_some).collect()
    }

    /// A column by its name.
    ///
    /// # Errors
    /// [`Error::Column`] naming those that there are.
    pub fn column(&self, name: &str) -> Result<&Column> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
            Error::Column { name: name.to_owned(), reason: format!("not in the batch, which has {names:?}") }
        })
    }

    /// Cuts the batch into micro batches of `rows` rows each, the last one possibly shorter.
    pub fn micro_batches(&self, rows: usize) -> impl Iterator<Item = Self> + '_ {
        let rows = rows.max(1);
        (0..self.len()).step_by(rows).map(move |begin| {
            let range = begin..self.len().min(begin + rows);
            Self {
                step: self.step,
                samples: self.samples[range.clone()].to_vec(),
                columns: self.columns.iter().map(|column| column.rows(&range)).collect(),
                skipped: Vec::new(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let column = |name: &str, shape: &[usize], values| Column {
            name: name.into(),
            shape: Some(shape.to_vec()),
            rows: 3,
            values,
            flaw: None,
        };
        Batch {
            step: 7,
            samples: vec![Some(4), Some(9), None],
            columns: vec![
                column("x", &[2], Values::U8(vec![1, 2, 3, 4, 0, 0])),
                column("label", &[], Values::I64(vec![5, 6, 0])),
                column("name", &[], Values::Text(vec!["a".into(), "b".into(), String::new()])),
            ],
            skipped: Vec::new(),
        }
    }

    #[test]
    fn columns_are_cast() {
        let batch = batch();
        assert_eq!(batch.column("x").unwrap().to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0, 0.0, 0.0]);
        assert_eq!(batch.column("x").unwrap().to_i64().unwrap(), [1, 2, 3, 4, 0, 0]);
        assert_eq!(batch.column("label").unwrap().to_i64().unwrap(), [5, 6, 0]);
        assert!(batch.column("name").unwrap().to_f32().is_err());
        assert!(batch.column("y").unwrap_err().to_string().contains("label"));
        let huge = Column {
            name: "u".into(),
            shape: None,
            rows: 1,
            values: Values::U64(vec![u64::MAX]),
            flaw: None,
        };
        assert!(huge.to_i64().is_err());
    }

    #[test]
    fn micro_batches_keep_rows_together() {
        let cut: Vec<_> = batch().micro_batches(2).collect();
        assert_eq!(cut.len(), 2);
        assert_eq!(cut[0].samples, [Some(4), Some(9)]);
        assert_eq!(cut[0].mask(), [true, true]);
        assert_eq!(cut[0].column("x").unwrap().values, Values::U8(vec![1, 2, 3, 4]));
        assert_eq!(cut[1].mask(), [false]);
        assert_eq!(cut[1].column("x").unwrap().values, Values::U8(vec![0, 0]));
        assert_eq!((cut[0].num_samples(), cut[1].num_samples()), (2, 0));
    }
}
