//! Units as types: each is a word in the job file (`64MiB`, `5m`, `200 steps`) and prints back as it was understood.

mod byte_size;
mod cadence;
mod cpu;
mod interval;
mod run_name;
mod span;
mod warmup;

pub use byte_size::ByteSize;
pub use cadence::Cadence;
pub use cpu::Cpu;
pub use interval::Interval;
pub use run_name::RunName;
pub use span::Span;
pub use warmup::Warmup;

/// A text that is not in the unit that its field needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
#[non_exhaustive]
pub struct UnitError {
    /// The text as it was written.
    pub text: String,
    /// What the field holds, with its article: `a duration`.
    pub expected: &'static str,
    /// What to write in its place.
    pub fix: String,
}

impl UnitError {
    fn new(text: &str, expected: &'static str, fix: impl Into<String>) -> Self {
        Self { text: text.to_owned(), expected, fix: fix.into() }
    }
}

/// Splits `200 steps` into the number's text and the unit's.
fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// Serde and JSON schema of a unit through its `FromStr` and `Display`. The schema's `format` names the unit, so that
/// the checks can find the unit's parser.
macro_rules! text_unit {
    ($unit:ident, $format:literal, $examples:expr) => {
        impl serde::Serialize for $unit {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $unit {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(|e: $crate::units::UnitError| {
                    serde::de::Error::custom(format_args!("{e}; {}", e.fix))
                })
            }
        }

        impl schemars::JsonSchema for $unit {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($unit).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "format": $format, "examples": $examples })
            }
        }
    };
}
use text_unit;
