use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::yaml;
use crate::{Location, Place, Problem, tree::Node};

/// Reads one JSON document. JSON is YAML, so once it is known to be strict JSON the YAML reader tells the places.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let message = error.to_string();
        let what = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
        let line = error.line().max(1);
        return Err(Problem {
            place: Place::File(Location { line, column: column(text, line, error.column()) }),
            path: String::new(),
            what: what.to_owned(),
            fix: "check the JSON here and before: quotes, commas, brackets".to_owned(),
        });
    }
    yaml::read(&printable(text))
}

/// The text with an escape for each character that JSON takes in a string as it is and YAML doesn't.
fn printable(text: &str) -> Cow<'_, str> {
    let escaped = |c: char| matches!(c, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
    if !text.contains(escaped) {
        return text.into();
    }
    let escape = |c: char| if escaped(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    text.chars().map(escape).collect::<String>().into()
}

/// The column in characters of what the parser counts in bytes.
fn column(text: &str, line: usize, bytes: usize) -> usize {
    let line = text.split('\n').nth(line - 1).unwrap_or_default();
    line.char_indices().take_while(|(at, _)| *at < bytes).count().max(1)
}
