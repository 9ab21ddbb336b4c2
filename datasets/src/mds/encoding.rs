use std::{fmt, str::FromStr};

/// Number type of a scalar or an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Dtype {
    U8,
    I8,
    U16,
    I16,
    F16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
}

impl Dtype {
    const ALL: [(Self, &'static str, u8); 11] = [
        (Self::U8, "uint8", 8),
        (Self::I8, "int8", 9),
        (Self::U16, "uint16", 16),
        (Self::I16, "int16", 17),
        (Self::F16, "float16", 18),
        (Self::U32, "uint32", 32),
        (Self::I32, "int32", 33),
        (Self::F32, "float32", 34),
        (Self::U64, "uint64", 64),
        (Self::I64, "int64", 65),
        (Self::F64, "float64", 66),
    ];

    fn entry(self) -> (&'static str, u8) {
        // Every variant is listed; the first one stands in to keep this free of panics.
        Self::ALL
            .iter()
            .find(|(dtype, ..)| *dtype == self)
            .map_or(("uint8", 8), |(_, name, tag)| (name, *tag))
    }

    /// As NumPy calls it.
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// The byte that stands for it in a `ndarray` without a fixed type.
    pub(crate) fn tag(self) -> u8 {
        self.entry().1
    }

    pub(crate) fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.iter().find(|entry| entry.2 == tag).map(|entry| entry.0)
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }

    /// Size of one number.
    pub fn bytes(self) -> usize {
        usize::from(self.tag() & !7) / 8
    }
}

/// How a column's values are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// `bytes`.
    Bytes,
    /// `str`, UTF-8.
    Str,
    /// `json`, kept as text.
    Json,
    /// `jpeg`, `png` or `pil`, kept as bytes.
    Image(ImageKind),
    /// `int`: as [`Dtype::I64`], by MDS's older name.
    Int,
    /// `uint8` ... `float64`.
    Scalar(Dtype),
    /// `str_int`: digits.
    StrInt,
    /// `str_float`.
    StrFloat,
    /// `str_decimal`, kept as text.
    StrDecimal,
    /// `ndarray[:dtype[:shape]]`; what is not fixed here is stored with each value.
    Array {
        /// Number type, if it is fixed.
        dtype: Option<Dtype>,
        /// Dimensions, if they are fixed.
        shape: Option<Vec<u32>>,
    },
    /// One that is never decoded, such as `pkl`; its values are passed over by their sizes.
    Other {
        /// Its name.
        name: String,
        /// Bytes of every value, if they are always the same.
        bytes: Option<u32>,
    },
}

/// File formats of an image column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ImageKind {
    Jpeg,
    Png,
    Pil,
}

impl Encoding {
    /// Bytes of every value, if they are always the same.
    pub fn fixed_bytes(&self) -> Option<u32> {
        match self {
            Self::Int => Some(8),
            Self::Scalar(dtype) => Some(dtype.bytes() as u32),
            Self::Array { dtype: Some(dtype), shape: Some(shape) } => {
                shape.iter().try_fold(dtype.bytes() as u32, |bytes, side| bytes.checked_mul(*side))
            }
            Self::Other { bytes, .. } => *bytes,
            _ => None,
        }
    }

    /// Whether values are numbers, or arrays of numbers.
    pub fn is_numeric(&self) -> bool {
        match self {
            Self::Int | Self::Scalar(_) | Self::StrInt | Self::StrFloat | Self::Array { .. } => true,
            Self::Bytes | Self::Str | Self::Json | Self::Image(_) | Self::StrDecimal | Self::Other { .. } => {
                false
            }
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Bytes => "bytes",
            Self::Str => "str",
            Self::Json => "json",
            Self::Image(ImageKind::Jpeg) => "jpeg",
            Self::Image(ImageKind::Png) => "png",
            Self::Image(ImageKind::Pil) => "pil",
            Self::Int => "int",
            Self::Scalar(dtype) => dtype.name(),
            Self::StrInt => "str_int",
            Self::StrFloat => "str_float",
            Self::StrDecimal => "str_decimal",
            Self::Array { .. } => "ndarray",
            Self::Other { name, .. } => name,
        };
        f.write_str(name)?;
        let Self::Array { dtype, shape } = self else { return Ok(()) };
        if let Some(dtype) = dtype {
            write!(f, ":{}", dtype.name())?;
        }
        if let Some(shape) = shape {
            let sides: Vec<String> = shape.iter().map(u32::to_string).collect();
            write!(f, ":{}", sides.join(","))?;
        }
        Ok(())
    }
}

/// The text is not an encoding whose values are decoded here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownEncoding;

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    fn from_str(text: &str) -> Result<Self, UnknownEncoding> {
        let (name, arguments) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        if name == "ndarray" {
            return array(arguments);
        }
        if arguments.is_some() {
            return Err(UnknownEncoding);
        }
        Ok(match name {
            "bytes" => Self::Bytes,
            "str" => Self::Str,
            "json" => Self::Json,
            "jpeg" => Self::Image(ImageKind::Jpeg),
            "png" => Self::Image(ImageKind::Png),
            "pil" => Self::Image(ImageKind::Pil),
            "int" => Self::Int,
            "str_int" => Self::StrInt,
            "str_float" => Self::StrFloat,
            "str_decimal" => Self::StrDecimal,
            _ => Self::Scalar(Dtype::from_name(name).ok_or(UnknownEncoding)?),
        })
    }
}

fn array(arguments: Option<&str>) -> Result<Encoding, UnknownEncoding> {
    let Some(arguments) = arguments else { return Ok(Encoding::Array { dtype: None, shape: None }) };
    let (dtype, shape) =
        arguments.split_once(':').map_or((arguments, None), |(dtype, shape)| (dtype, Some(shape)));
    let dtype = Some(Dtype::from_name(dtype).ok_or(UnknownEncoding)?);
    let side = |side: &str| side.trim().parse().ok().filter(|side| *side > 0).ok_or(UnknownEncoding);
    let shape = shape.map(|shape| shape.split(',').map(side).collect()).transpose()?;
    let encoding = Encoding::Array { dtype, shape };
    // A fixed shape whose size overflows can't be a column.
    if matches!(&encoding, Encoding::Array { shape: Some(_), .. }) && encoding.fixed_bytes().is_none() {
        return Err(UnknownEncoding);
    }
    Ok(encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (text, bytes) in [
            ("bytes", None),
            ("str", None),
            ("json", None),
            ("jpeg", None),
            ("png", None),
            ("pil", None),
            ("int", Some(8)),
            ("str_int", None),
            ("str_float", None),
            ("str_decimal", None),
            ("uint8", Some(1)),
            ("int8", Some(1)),
            ("uint16", Some(2)),
            ("int16", Some(2)),
            ("float16", Some(2)),
            ("uint32", Some(4)),
            ("int32", Some(4)),
            ("float32", Some(4)),
            ("uint64", Some(8)),
            ("int64", Some(8)),
            ("float64", Some(8)),
            ("ndarray", None),
            ("ndarray:int16", None),
            ("ndarray:float32:3,224,224", Some(602_112)),
        ] {
            let encoding: Encoding = text.parse().unwrap();
            assert_eq!(encoding.to_string(), text);
            assert_eq!(encoding.fixed_bytes(), bytes, "{text}");
        }
    }

    #[test]
    fn whatever_else_is_refused() {
        for text in [
            "pkl",
            "list[int]",
            "",
            "Int",
            "int:8",
            "ndarray:",
            "ndarray:foo",
            "ndarray:uint8:",
            "ndarray:uint8:0",
            "ndarray:uint8:-1",
            "ndarray:uint8:4294967295,4294967295",
            "ndarray:uint8:1:2",
        ] {
            assert_eq!(text.parse::<Encoding>(), Err(UnknownEncoding), "{text}");
        }
    }
}
