//! Numbers that may be infinite or no number at all, in records and lines for people.
//!
//! JSON has no NaN. Where a number is finite it is written as one; else as the string `NaN`, `Infinity` or `-Infinity`, so
//! that the text stays valid JSON and YAML and says what was measured. Binary formats carry the bits.

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// A number as it is written.
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            finite if finite.is_finite() || !to.is_human_readable() => to.serialize_f64(finite),
            nan if nan.is_nan() => to.serialize_str("NaN"),
            infinite if infinite > 0.0 => to.serialize_str("Infinity"),
            _ => to.serialize_str("-Infinity"),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match from.is_human_readable() {
            true => from.deserialize_any(Reader),
            false => f64::deserialize(from).map(Number),
        }
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or NaN, Infinity or -Infinity as a string")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
        Ok(Number(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
        match text {
            "NaN" => Ok(Number(f64::NAN)),
            "Infinity" => Ok(Number(f64::INFINITY)),
            "-Infinity" => Ok(Number(f64::NEG_INFINITY)),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    /// Before records had a format, what JSON has no number for was written as null.
    fn visit_unit<E: Error>(self) -> Result<Number, E> {
        Ok(Number(f64::NAN))
    }
}

/// For one number: `#[serde(with = "number")]`.
pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    Number(*value).serialize(to)
}

/// As [`serialize`].
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Number::deserialize(from).map(|number| number.0)
}

/// For a number that may be absent.
pub mod option {
    use super::*;

    /// Writes it.
    pub fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        value.map(Number).serialize(to)
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<Number>::deserialize(from)?.map(|number| number.0))
    }
}

/// For numbers by name.
pub mod map {
    use super::*;

    /// Writes them.
    pub fn serialize<S: Serializer>(values: &BTreeMap<String, f64>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(values.iter().map(|(name, value)| (name, Number(*value))))
    }

    /// Reads them.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, f64>, D::Error> {
        let read = BTreeMap::<String, Number>::deserialize(from)?;
        Ok(read.into_iter().map(|(name, number)| (name, number.0)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct All {
        #[serde(with = "super")]
        one: f64,
        #[serde(with = "super::option")]
        maybe: Option<f64>,
        #[serde(with = "super::map")]
        many: BTreeMap<String, f64>,
    }

    fn bits(all: &All) -> (u64, Option<u64>, Vec<u64>) {
        (all.one.to_bits(), all.maybe.map(f64::to_bits), all.many.values().map(|v| v.to_bits()).collect())
    }

    #[test]
    fn every_number_comes_back_from_json_and_from_binary() {
        for one in [0.5, -0.0, 3.0, f64::MAX, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for maybe in [Some(one), None] {
                let all = All { one, maybe, many: [("a".to_owned(), one)].into() };
                let json = serde_json::to_string(&all).unwrap();
                serde_json::from_str::<serde_json::Value>(&json).unwrap();
                assert_eq!(bits(&serde_json::from_str(&json).unwrap()), bits(&all), "{json}");
                let binary = postcard::to_stdvec(&all).unwrap();
                assert_eq!(bits(&postcard::from_bytes(&binary).unwrap()), bits(&all));
            }
        }
        let old: All = serde_json::from_str(r#"{"one": null, "maybe": null, "many": {"a": null}}"#).unwrap();
        assert!(old.one.is_nan() && old.maybe.is_none() && old.many["a"].is_nan());
        assert!(serde_json::from_str::<All>(r#"{"one": "nan", "maybe": null, "many": {}}"#).is_err());
    }
}
