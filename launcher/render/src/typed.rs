//! Parts of a job file that are Kubernetes' own: as strict as the rest of the file, though the types behind them aren't.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A part of a job file that Kubernetes wouldn't take.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wrong {
    /// The field, dotted.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl Wrong {
    pub(crate) fn new(path: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { path: path.into(), what: what.into(), fix: fix.into() }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.fix)
    }
}

impl std::error::Error for Wrong {}

/// The value as a type of Kubernetes', every field of which is known there.
pub(crate) fn typed<T: DeserializeOwned + Serialize>(path: &str, value: &Value) -> Result<T, Wrong> {
    let fix = "write it as in a Kubernetes manifest; `kubectl explain pod.spec` lists the fields";
    let wrong = |error: serde_json::Error| Wrong::new(path, format!("{path}: {error}"), fix);
    let typed: T = serde_json::from_value(value.clone()).map_err(wrong)?;
    let understood = serde_json::to_value(&typed).map_err(wrong)?;
    match lost(path, value, &understood) {
        Some(lost) => Err(Wrong::new(&lost, format!("unknown field `{lost}`"), fix)),
        None => Ok(typed),
    }
}

/// The first field that was written and not understood.
fn lost(path: &str, written: &Value, understood: &Value) -> Option<String> {
    match (written, understood) {
        (Value::Object(written), Value::Object(understood)) => {
            written.iter().filter(|(_, value)| !value.is_null()).find_map(|(key, value)| {
                let path = format!("{path}.{key}");
                match understood.get(key) {
                    Some(understood) => lost(&path, value, understood),
                    None => Some(path),
                }
            })
        }
        (Value::Array(written), Value::Array(understood)) => {
            written.iter().zip(understood).enumerate().find_map(|(index, (written, understood))| {
                lost(&format!("{path}.{index}"), written, understood)
            })
        }
        _ => None,
    }
}
