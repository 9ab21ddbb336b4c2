//! `--set path=value`: values from the command line, put into the tree before it is checked.

use crate::{
    Place, Problem,
    read::read_yaml,
    tree::{Entry, Node, Value},
};

/// Fields of which a job has one: an override of one takes the place of the other in the file.
const EITHER_OR: [(&str, &str); 2] = [("train.steps", "train.epochs"), ("model", "command")];

/// More levels than any job has.
const DEEPEST: usize = 64;

/// Puts one `path=value` into the tree. The value is YAML, so that lists and groups can be given: `[64, 64]`.
pub(crate) fn set(root: &mut Node, text: &str) -> Result<(), Problem> {
    let Some((path, value)) = text.split_once('=') else {
        let text = text.trim();
        return Err(problem(text, format!("`{text}` has no value"), format!("write --set {text}=VALUE")));
    };
    let path = path.trim();
    let keys: Vec<&str> = path.split('.').collect();
    if keys.iter().any(|key| key.is_empty()) || keys.len() > DEEPEST {
        let fix = "write the path with dots, like train.steps=200".to_owned();
        return Err(problem(path, format!("`{path}` is not the path of a field"), fix));
    }
    let place = Place::Set(path.to_owned());
    // What is no YAML, like `@x`, is still a text.
    let parsed = read_yaml(value).map_or_else(|_| Value::Text(value.to_owned()), |node| node.value);
    let mut node = Node::new(place.clone(), parsed);
    relocate(&mut node, &place);
    node.typed = Some(value.to_owned());
    let given = !matches!(node.value, Value::Null);
    put(root, &keys, node).map_err(|(what, fix)| problem(path, what, fix))?;
    for (one, other) in EITHER_OR.into_iter().chain(EITHER_OR.map(|(one, other)| (other, one))) {
        if given && (path == one || path.strip_prefix(one).is_some_and(|rest| rest.starts_with('.'))) {
            remove(root, other);
        }
    }
    Ok(())
}

fn problem(path: &str, what: String, fix: String) -> Problem {
    Problem { place: Place::Set(path.to_owned()), path: path.to_owned(), what, fix }
}

/// Everything inside the value was written in this override.
fn relocate(node: &mut Node, place: &Place) {
    node.place = place.clone();
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| relocate(item, place)),
        Value::Map(entries) => {
            for entry in entries {
                entry.place = place.clone();
                relocate(&mut entry.node, place);
            }
        }
        _ => {}
    }
}

/// Puts `value` where the keys lead, making what isn't there on the way. Fails with what is wrong and the fix.
fn put(node: &mut Node, keys: &[&str], value: Node) -> Result<(), (String, String)> {
    let Some((key, rest)) = keys.split_first() else {
        *node = value;
        return Ok(());
    };
    let place = value.place.clone();
    let child = || Node::new(place.clone(), Value::Null);
    match &mut node.value {
        Value::List(items) => {
            let length = items.len();
            let index = key.parse::<usize>().ok().filter(|index| *index <= length).ok_or_else(|| {
                let what = format!("`{key}` is not an index into a list of length {length}");
                (what, format!("use a number from 0 to {length}"))
            })?;
            if index == length {
                items.push(child());
            }
            put(&mut items[index], rest, value)
        }
        Value::Map(entries) => match entries.iter_mut().find(|entry| entry.key == *key) {
            Some(entry) => put(&mut entry.node, rest, value),
            None => {
                let mut entry = Entry { key: (*key).to_owned(), place: place.clone(), node: child() };
                put(&mut entry.node, rest, value)?;
                entries.push(entry);
                Ok(())
            }
        },
        _ => {
            *node = Node::new(place.clone(), Value::Map(Vec::new()));
            put(node, keys, value)
        }
    }
}

/// Removes the field at `path` unless an override set it.
pub(crate) fn remove(root: &mut Node, path: &str) {
    let mut node = root;
    let mut keys = path.split('.').peekable();
    while let (Some(key), Value::Map(entries)) = (keys.next(), &mut node.value) {
        if keys.peek().is_none() {
            entries.retain(|entry| entry.key != key || matches!(entry.node.place, Place::Set(_)));
            return;
        }
        match entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => node = &mut entry.node,
            None => return,
        }
    }
}
