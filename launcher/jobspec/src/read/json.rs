use serde::de::IgnoredAny;

use super::yaml;
use crate::{Location, Place, Problem, tree::Node};

/// Reads one JSON document. JSON is YAML, so once it is known to be strict JSON the YAML reader tells the places.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let message = error.to_string();
        let what = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
        return Err(Problem {
            place: Place::File(Location { line: error.line().max(1), column: error.column().max(1) }),
            path: String::new(),
            what: what.to_owned(),
            fix: "check the JSON here and before: quotes, commas, brackets".to_owned(),
        });
    }
    yaml::read(text)
}
