use std::fmt::Display;

use half::f16;

use crate::mds::{Dtype, Encoding};

/// A value to write. Numbers are checked against the column's encoding and never rounded silently to another integer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// For integer columns, `str_int` and floats.
    Int(i64),
    /// For float columns and `str_float`.
    Float(f64),
    /// For `str`, `json` and `str_decimal`.
    Text(&'a str),
    /// For `bytes` and images.
    Bytes(&'a [u8]),
    /// For arrays with a fixed type and shape; row-major.
    Array(&'a [f64]),
}

impl Value<'_> {
    /// Appends the value as the encoding stores it, or says why it can't be.
    pub(crate) fn encode(self, encoding: &Encoding, out: &mut Vec<u8>) -> Result<(), String> {
        match (encoding, self) {
            (Encoding::Int, Self::Int(value)) => out.extend(value.to_le_bytes()),
            (Encoding::Scalar(dtype), Self::Int(value)) => put_int(*dtype, value, out)?,
            (Encoding::Scalar(dtype), Self::Float(value)) => put_float(*dtype, value, out)?,
            (Encoding::StrInt, Self::Int(value)) => out.extend(value.to_string().into_bytes()),
            (Encoding::StrFloat, Self::Float(value)) => out.extend(format!("{value:?}").into_bytes()),
            (Encoding::Str | Encoding::Json | Encoding::StrDecimal, Self::Text(text)) => {
                out.extend(text.as_bytes())
            }
            (Encoding::Bytes | Encoding::Image(_), Self::Bytes(bytes)) => out.extend(bytes),
            (Encoding::Array { dtype: Some(dtype), shape: Some(shape) }, Self::Array(values)) => {
                let expected: u64 = shape.iter().map(|side| u64::from(*side)).product();
                if values.len() as u64 != expected {
                    return Err(format!("{} values do not fill the shape {shape:?}", values.len()));
                }
                for value in values {
                    put_float(*dtype, *value, out)?;
                }
            }
            (encoding, value) => return Err(format!("{value:?} is not a value of {encoding}")),
        }
        Ok(())
    }
}

fn put_int(dtype: Dtype, value: i64, out: &mut Vec<u8>) -> Result<(), String> {
    fn cast<T: TryFrom<i64>>(value: i64, dtype: Dtype) -> Result<T, String> {
        T::try_from(value).map_err(|_| misfit(value, dtype))
    }
    match dtype {
        Dtype::U8 => out.extend(cast::<u8>(value, dtype)?.to_le_bytes()),
        Dtype::I8 => out.extend(cast::<i8>(value, dtype)?.to_le_bytes()),
        Dtype::U16 => out.extend(cast::<u16>(value, dtype)?.to_le_bytes()),
        Dtype::I16 => out.extend(cast::<i16>(value, dtype)?.to_le_bytes()),
        Dtype::U32 => out.extend(cast::<u32>(value, dtype)?.to_le_bytes()),
        Dtype::I32 => out.extend(cast::<i32>(value, dtype)?.to_le_bytes()),
        Dtype::U64 => out.extend(cast::<u64>(value, dtype)?.to_le_bytes()),
        Dtype::I64 => out.extend(value.to_le_bytes()),
        Dtype::F16 | Dtype::F32 | Dtype::F64 => put_float(dtype, value as f64, out)?,
    }
    Ok(())
}

fn put_float(dtype: Dtype, value: f64, out: &mut Vec<u8>) -> Result<(), String> {
    match dtype {
        Dtype::F16 => out.extend(f16::from_f64(value).to_le_bytes()),
        Dtype::F32 => out.extend((value as f32).to_le_bytes()),
        Dtype::F64 => out.extend(value.to_le_bytes()),
        // Beyond 2^53 a float no longer tells integers apart.
        _ if value.fract() != 0.0 || value.abs() > 9_007_199_254_740_992.0 => {
            return Err(misfit(value, dtype));
        }
        _ => put_int(dtype, value as i64, out)?,
    }
    Ok(())
}

fn misfit(value: impl Display, dtype: Dtype) -> String {
    format!("{value} does not fit {}", dtype.name())
}
