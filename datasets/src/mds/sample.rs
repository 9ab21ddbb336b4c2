use std::ops::Range;

use bytes::Bytes;
use half::f16;

use crate::{
    batch::{Column, Values},
    mds::{
        ColumnSpec, Dtype, Encoding, Flaw,
        flaw::{take, take_u32},
    },
};

/// Cuts a sample into its columns: the sizes of those without a fixed one come first, then all values.
pub(crate) fn split(columns: &[ColumnSpec], data: &[u8]) -> Result<Vec<Range<usize>>, Flaw> {
    let mut at = 0;
    let mut sizes = Vec::with_capacity(columns.len());
    for column in columns {
        sizes.push(match column.encoding.fixed_bytes() {
            Some(bytes) => bytes as usize,
            None => take_u32(data, &mut at, "a column's size")? as usize,
        });
    }
    let mut ranges = Vec::with_capacity(columns.len());
    for (column, size) in columns.iter().zip(sizes) {
        let begin = at;
        take(data, &mut at, size, &format!("column {:?}", column.name))?;
        ranges.push(begin..at);
    }
    if at != data.len() {
        return Err(Flaw::new(at, "the end of the sample", format_args!("{} more bytes", data.len() - at)));
    }
    Ok(ranges)
}

/// Decodes one sample into new columns, as a batch of one row; those of an encoding that is never decoded are left out.
///
/// # Errors
/// The [`Flaw`], by its offset in `data`.
pub fn parse_sample(specs: &[ColumnSpec], data: &[u8]) -> Result<Vec<Column>, Flaw> {
    let wanted = decodable(specs);
    let mut columns: Vec<Column> = wanted.iter().map(|number| Column::empty(&specs[*number])).collect();
    append(specs, data, &wanted, &mut columns, &mut |_, flaw| Err(flaw))?;
    Ok(columns)
}

/// The numbers of the columns whose values can be decoded.
pub(crate) fn decodable(specs: &[ColumnSpec]) -> Vec<usize> {
    let decoded = |spec: &ColumnSpec| !matches!(spec.encoding, Encoding::Other { .. });
    specs.iter().enumerate().filter(|(_, spec)| decoded(spec)).map(|(number, _)| number).collect()
}

/// Decodes the wanted columns of one sample and appends them. `on_flaw` says what becomes of a value that can't be read, or
/// doesn't fit to those before; columns that have a flaw already are passed over, as those are that nobody wants.
pub(crate) fn append(
    specs: &[ColumnSpec],
    data: &[u8],
    wanted: &[usize],
    columns: &mut [Column],
    on_flaw: &mut dyn FnMut(&mut Column, Flaw) -> Result<(), Flaw>,
) -> Result<(), Flaw> {
    let ranges = split(specs, data)?;
    for (number, column) in wanted.iter().zip(columns) {
        if column.flaw.is_some() {
            continue;
        }
        let (range, spec) = (ranges[*number].clone(), &specs[*number]);
        if let Err(flaw) = decode(&spec.encoding, &data[range.clone()], column) {
            on_flaw(column, flaw.moved(range.start).in_column(&spec.name))?;
        }
    }
    Ok(())
}

fn decode(encoding: &Encoding, data: &[u8], column: &mut Column) -> Result<(), Flaw> {
    let text = || {
        std::str::from_utf8(data)
            .map_err(|error| Flaw::new(error.valid_up_to(), "UTF-8", "bytes that are not"))
    };
    match encoding {
        Encoding::Bytes | Encoding::Image(_) => {
            column.push(&[], Values::Bytes(vec![Bytes::copy_from_slice(data)]))
        }
        Encoding::Str | Encoding::Json | Encoding::StrDecimal => {
            column.push(&[], Values::Text(vec![text()?.to_owned()]))
        }
        Encoding::Int => column.push(&[], numbers(Dtype::I64, data, 0)?),
        Encoding::Scalar(dtype) => column.push(&[], numbers(*dtype, data, 0)?),
        Encoding::StrInt => {
            let number = text()?.parse().map_err(|_| Flaw::new(0, "an integer's digits", shorten(data)))?;
            column.push(&[], Values::I64(vec![number]))
        }
        Encoding::StrFloat => {
            let number = text()?.parse().map_err(|_| Flaw::new(0, "a number", shorten(data)))?;
            column.push(&[], Values::F64(vec![number]))
        }
        Encoding::Array { dtype, shape } => {
            let mut at = 0;
            let dtype = match dtype {
                Some(dtype) => *dtype,
                None => {
                    let tag = take(data, &mut at, 1, "the number type")?[0];
                    Dtype::from_tag(tag).ok_or_else(|| Flaw::new(0, "a number type", tag))?
                }
            };
            let shape = match shape {
                Some(shape) => shape.iter().map(|side| *side as usize).collect(),
                None => sides(data, &mut at)?,
            };
            let expected = shape.iter().try_fold(dtype.bytes(), |bytes, side| bytes.checked_mul(*side));
            if expected != Some(data.len() - at) {
                let what = format!("{} of shape {shape:?}", dtype.name());
                return Err(Flaw::new(at, what, format_args!("{} bytes", data.len() - at)));
            }
            column.push(&shape, numbers(dtype, data, at)?)
        }
        // Nobody gets a column of it to ask for.
        Encoding::Other { name, .. } => Err(Flaw::new(0, "an encoding that is decoded", name)),
    }
}

/// `(ndim << 2) | k`, then the sides as unsigned numbers of 2^k bytes.
fn sides(data: &[u8], at: &mut usize) -> Result<Vec<usize>, Flaw> {
    let head = take(data, at, 1, "the number of dimensions")?[0];
    let bytes = 1 << (head & 3);
    let begin = *at;
    let sides = take(data, at, usize::from(head >> 2) * bytes, "the shape")?;
    sides
        .chunks_exact(bytes)
        .map(|side| {
            let side = side.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
            usize::try_from(side).map_err(|_| Flaw::new(begin, "a side that fits memory", side))
        })
        .collect()
}

/// All numbers from `begin` on.
fn numbers(dtype: Dtype, data: &[u8], begin: usize) -> Result<Values, Flaw> {
    let data = &data[begin..];
    if !data.len().is_multiple_of(dtype.bytes()) || data.is_empty() {
        return Err(Flaw::new(begin, format_args!("whole numbers of {}", dtype.name()), data.len()));
    }
    macro_rules! read {
        ($values:ident, $number:ty) => {{
            let (numbers, _) = data.as_chunks();
            Values::$values(numbers.iter().map(|bytes| <$number>::from_le_bytes(*bytes)).collect())
        }};
    }
    Ok(match dtype {
        Dtype::U8 => Values::U8(data.to_vec()),
        Dtype::I8 => read!(I8, i8),
        Dtype::U16 => read!(U16, u16),
        Dtype::I16 => read!(I16, i16),
        Dtype::U32 => read!(U32, u32),
        Dtype::I32 => read!(I32, i32),
        Dtype::U64 => read!(U64, u64),
        Dtype::I64 => read!(I64, i64),
        Dtype::F32 => read!(F32, f32),
        Dtype::F64 => read!(F64, f64),
        Dtype::F16 => {
            let (numbers, _) = data.as_chunks();
            Values::F32(numbers.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect())
        }
    })
}

fn shorten(data: &[u8]) -> String {
    String::from_utf8_lossy(&data[..data.len().min(40)]).into_owned()
}
