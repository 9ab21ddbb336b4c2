use crate::record::trace::MOST_TRACED_STEPS;
use crate::{Generation, Strike};
use jiff::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// `requests/<number>.json`: what somebody asks of a live run. Its leader looks for the next number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRequest {
    /// The generation that is asked. A later one passes it over: whoever asked has heard that this one is over.
    pub generation: Generation,
    /// Who asks.
    #[serde(default)]
    pub asked_by: Option<String>,
    /// When.
    pub at: Timestamp,
    /// For what.
    #[serde(flatten)]
    pub wish: Wish,
}

/// What can be asked of a live run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Wish {
    /// Every rank's trace of the next steps.
    Trace {
        /// How many, from 1 to [`MOST_TRACED_STEPS`].
        #[serde(deserialize_with = "steps")]
        steps: u32,
    },
    /// A fault, to see what comes of it.
    Strike(Strike),
}

fn steps<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match u32::deserialize(from)? {
        steps if (1..=MOST_TRACED_STEPS).contains(&steps) => Ok(steps),
        steps => Err(D::Error::custom(format!("{steps} steps can't be traced"))),
    }
}
