//! Which formats of records this version reads, and how a record gets its own.

use crate::{Error, Result};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The format of the records that this version writes. It reads this one and the one before; a record that names none
/// has format 0.
pub const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Stamped<'a, R> {
    format: u32,
    #[serde(flatten)]
    record: &'a R,
}

#[derive(Deserialize)]
struct Stamp {
    #[serde(default)]
    format: u32,
}

/// A record as people read it, with its format.
pub(crate) fn to_json<R: Serialize>(path: &str, what: &'static str, record: &R) -> Result<Bytes> {
    let stamped = Stamped { format: FORMAT, record };
    serde_json::to_vec_pretty(&stamped).map(Bytes::from).map_err(|e| bad(path, what, e))
}

/// A record in one line, with its format.
pub(crate) fn to_line<R: Serialize>(path: &str, what: &'static str, record: &R) -> Result<String> {
    serde_json::to_string(&Stamped { format: FORMAT, record }).map_err(|e| bad(path, what, e))
}

/// Reads a record of a format that this version knows.
///
/// # Errors
/// [`Error::Format`] for any other format, [`Error::BadRecord`] for what is no such record.
pub(crate) fn from_json<R: DeserializeOwned>(uri: &str, what: &'static str, body: &[u8]) -> Result<R> {
    check_format(uri, what, body)?;
    serde_json::from_slice(body).map_err(|e| bad(uri, what, e))
}

/// Refuses what a newer version wrote, before anything of it is believed.
///
/// # Errors
/// [`Error::Format`], or [`Error::BadRecord`] for what is no JSON object.
pub fn check_format(uri: &str, what: &'static str, body: &[u8]) -> Result<()> {
    let Stamp { format: found } = serde_json::from_slice(body).map_err(|e| bad(uri, what, e))?;
    match found {
        FORMAT => Ok(()),
        older if older.checked_add(1) == Some(FORMAT) => Ok(()),
        _ => Err(Error::Format { uri: uri.to_owned(), what, found, known: FORMAT }),
    }
}

pub(crate) fn bad(uri: &str, what: &'static str, reason: impl ToString) -> Error {
    Error::BadRecord { uri: uri.to_owned(), what, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Small {
        a: u64,
    }

    #[test]
    fn this_format_and_the_one_before_are_read_and_no_other() {
        let written = to_json("x", "record", &Small { a: 7 }).unwrap();
        assert!(std::str::from_utf8(&written).unwrap().contains("\"format\": 1"));
        assert_eq!(from_json::<Small>("x", "record", &written).unwrap(), Small { a: 7 });
        assert_eq!(from_json::<Small>("x", "record", b"{\"a\": 7}").unwrap(), Small { a: 7 }, "format 0");
        let newer = from_json::<Small>("r/x", "record", b"{\"format\": 2, \"b\": 7}").unwrap_err();
        assert!(matches!(&newer, Error::Format { found: 2, known: 1, .. }), "{newer}");
        assert!(newer.to_string().contains("r/x") && newer.to_string().contains("format 2"), "{newer}");
        for nonsense in [&b"[]"[..], b"", b"{\"format\": \"x\"}", b"{\"format\": -1}"] {
            assert!(matches!(from_json::<Small>("x", "record", nonsense), Err(Error::BadRecord { .. })));
        }
    }
}
