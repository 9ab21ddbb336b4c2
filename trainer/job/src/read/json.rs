use serde::de::IgnoredAny;

use super::yaml;
use crate::{
    Location, Place, Problem,
    tree::{Node, Value},
};

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
    let readable: String = text.chars().map(|c| stand_in(c).unwrap_or(c)).collect();
    let mut tree = yaml::read(&readable)?;
    if readable != text {
        restore(&mut tree);
    }
    Ok(tree)
}

/// Where characters lie that mean nothing to anybody.
const PRIVATE: u32 = 0xf_0000;

/// What stands for a character that JSON takes in a string as it is and YAML doesn't, so that all others stay in their places.
fn stand_in(c: char) -> Option<char> {
    let only_in_json = matches!(c, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
    only_in_json.then(|| char::from_u32(PRIVATE + u32::from(c))).flatten()
}

fn original(c: char) -> char {
    let original = u32::from(c).checked_sub(PRIVATE).and_then(char::from_u32);
    original.filter(|original| stand_in(*original) == Some(c)).unwrap_or(c)
}

/// Gives the texts in a tree their own characters back.
fn restore(node: &mut Node) {
    let restored = |text: &str| text.chars().map(original).collect::<String>();
    match &mut node.value {
        Value::Text(text) => *text = restored(text),
        Value::List(items) => items.iter_mut().for_each(restore),
        Value::Map(entries) => {
            for entry in entries {
                entry.key = restored(&entry.key);
                restore(&mut entry.node);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The column in characters of what the parser counts in bytes.
fn column(text: &str, line: usize, bytes: usize) -> usize {
    let line = text.split('\n').nth(line - 1).unwrap_or_default();
    line.char_indices().take_while(|(at, _)| *at < bytes).count().max(1)
}
