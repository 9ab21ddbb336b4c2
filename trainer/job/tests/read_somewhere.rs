//! A field that nothing reads is a promise that nobody keeps.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Folders whose code acts on a job.
const READERS: [&str; 6] = [
    "launcher/src",
    "launcher/render/src",
    "trainer/src",
    "trainer/agent/src",
    "trainer/run/src",
    "datasets/src",
];
/// Where fields are defined and checked: nothing here acts on them, but for what a job says of itself.
const OF_ITSELF: [&str; 3] =
    ["trainer/job/src/job.rs", "trainer/job/src/kubernetes.rs", "trainer/job/src/schedule.rs"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Names of all fields in the schema, as Rust spells them.
fn fields(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(properties) = map.get("properties").and_then(Value::as_object) {
                let own = properties.iter().filter(|(_, field)| field.get("const").is_none());
                found.extend(own.map(|(name, _)| snake_case(name)));
            }
            map.values().for_each(|value| fields(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, found)),
        _ => {}
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// Whether the code takes the field out of a value or of a pattern. A call is no field.
fn reads(code: &str, field: &str) -> bool {
    code.match_indices(field).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let next = code[at + field.len()..].chars().next();
        let is_whole = next.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '(');
        let in_pattern = matches!(before, Some(' ' | '{')) && matches!(next, Some(',' | ':' | ' ' | '}'));
        is_whole && (before == Some('.') || in_pattern)
    })
}

#[test]
fn every_field_is_read_somewhere() {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../..");
    let mut files = Vec::new();
    READERS.iter().for_each(|folder| sources(&root.join(folder), &mut files));
    files.extend(OF_ITSELF.iter().map(|file| root.join(file)));
    let code: Vec<_> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    // Doc comments and tests read nothing.
    let acts = |text: &String| {
        text.split("#[cfg(test)]")
            .next()
            .unwrap_or_default()
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let code = code.iter().map(acts).collect::<Vec<_>>().join("\n");
    let mut names = BTreeSet::new();
    fields(&lockstep_job::schema(), &mut names);
    assert!(names.len() > 100, "{names:?}");
    // In Rust it is a word of the language, so its field has another name there.
    assert!(names.remove("final") && reads(&code, "final_factor"));
    let unread: Vec<_> = names.iter().filter(|name| !reads(&code, name)).collect();
    assert!(unread.is_empty(), "nothing reads {unread:?}");
}
