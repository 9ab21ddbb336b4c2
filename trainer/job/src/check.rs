//! A tree against the shape of a job: unknown fields, wrong types, wrong units, values out of range, all at once.

use serde_json::{Map, Value as Json};

use crate::{
    Place, Problem,
    shape::{Field, Range, Shape, Unit},
    similar::{any_of, similar},
    tree::{Entry, Node, Value},
};

/// Finds what is wrong with `tree`. Returns the job's value without the wrong parts, which may still be whole enough to
/// look for problems between fields.
pub(crate) fn check(tree: &Node, shape: &Shape, problems: &mut Vec<Problem>) -> Option<Json> {
    Checker { problems }.value(shape, tree, "")
}

struct Checker<'p> {
    problems: &'p mut Vec<Problem>,
}

impl Checker<'_> {
    fn add(&mut self, place: &Place, path: &str, what: impl Into<String>, fix: impl Into<String>) {
        let (path, what, fix) = (path.to_owned(), what.into(), fix.into());
        self.problems.push(Problem { place: place.clone(), path, what, fix });
    }

    fn value(&mut self, shape: &Shape, node: &Node, path: &str) -> Option<Json> {
        match (shape, &node.value) {
            (Shape::Any, _) => Some(node.to_json()),
            (Shape::Bool, Value::Bool(bool)) => Some((*bool).into()),
            (Shape::Bool, _) => self.wrong(node, path, "true or false", "write true or false"),
            (Shape::Integer(range), Value::Number(number)) if !number.is_f64() => {
                self.in_range(range, node, path, number.as_f64())
            }
            (Shape::Integer(_), _) => self.wrong(node, path, "a whole number", whole_number_fix(node)),
            (Shape::Number(range), Value::Number(number)) => {
                self.in_range(range, node, path, number.as_f64())
            }
            (Shape::Number(_), _) => self.wrong(node, path, "a number", "write it without quotes or unit"),
            (Shape::Text(unit), _) => self.text(*unit, node, path),
            (Shape::Choice(options), Value::Text(text)) => self.choice(options, text, node, path),
            (Shape::Choice(options), _) => {
                let options = any_of(options.iter().map(String::as_str));
                self.wrong(node, path, &options, format!("write {options}"))
            }
            (Shape::List { item, min, max }, Value::List(items)) => {
                self.list(item, (*min, *max), items, node, path)
            }
            (Shape::List { .. }, _) => self.wrong(node, path, "a list", "write it in brackets, like [a, b]"),
            (Shape::Map(inner), Value::Map(entries)) => Some(self.map(inner, entries, path)),
            (Shape::Object(fields), Value::Map(entries)) => {
                Some(self.object(fields, entries, node, path).into())
            }
            (Shape::Map(_) | Shape::Object(_), _) => {
                self.wrong(node, path, "a group of fields", "write its fields below it, or { field: value }")
            }
            (Shape::Tagged(kinds), _) => self.tagged(kinds, node, path),
        }
    }

    fn wrong(&mut self, node: &Node, path: &str, expected: &str, fix: impl Into<String>) -> Option<Json> {
        let name = if path.is_empty() { "the job" } else { path };
        let got = describe(&node.value);
        self.add(&node.place, path, format!("{name} must be {expected}, not {got}"), fix);
        None
    }

    fn in_range(&mut self, range: &Range, node: &Node, path: &str, number: Option<f64>) -> Option<Json> {
        let number = number?;
        let bounds = [
            (range.min.filter(|min| number < *min), "but must be at least", "use", " or more"),
            (range.max.filter(|max| number > *max), "but must be at most", "use", " or less"),
            (range.above.filter(|above| number <= *above), "but must be above", "use a number above", ""),
            (range.below.filter(|below| number >= *below), "but must be below", "use a number below", ""),
        ];
        for (bound, rule, fix, rest) in bounds {
            if let Some(bound) = bound {
                let what = format!("{path} is {}, {rule} {bound}", node.to_json());
                self.add(&node.place, path, what, format!("{fix} {bound}{rest}"));
                return None;
            }
        }
        Some(node.to_json())
    }

    fn text(&mut self, unit: Option<Unit>, node: &Node, path: &str) -> Option<Json> {
        let fits = |text: &&String| unit.is_none_or(|unit| unit(text).is_ok());
        let text = match (&node.typed, &node.value) {
            // What has a unit is no free text: quotes around it, as on a command line, are quotes.
            (Some(typed), Value::Text(text)) => Some(typed).filter(fits).unwrap_or(text).clone(),
            (Some(typed), _) => typed.clone(),
            (None, Value::Text(text)) => text.clone(),
            (None, Value::Number(number)) => number.to_string(),
            (None, Value::Bool(bool)) => bool.to_string(),
            (None, _) => {
                let hint = unit.and_then(|unit| unit("").err());
                return match hint {
                    Some(hint) => self.wrong(node, path, hint.expected, hint.fix),
                    None => self.wrong(node, path, "text", "write one word, or text in quotes"),
                };
            }
        };
        if let Some(error) = unit.and_then(|unit| unit(&text).err()) {
            self.add(&node.place, path, format!("{path}: {error}"), error.fix);
            return None;
        }
        Some(text.into())
    }

    fn choice(&mut self, options: &[String], text: &str, node: &Node, path: &str) -> Option<Json> {
        if options.iter().any(|option| option == text) {
            return Some(text.into());
        }
        let names = || options.iter().map(String::as_str);
        let fix = match similar(text, names()) {
            Some(option) => format!("did you mean `{option}`?"),
            None => format!("write {}", any_of(names())),
        };
        let what = format!("{path} is `{text}`, but must be {}", any_of(names()));
        self.add(&node.place, path, what, fix);
        None
    }

    fn list(
        &mut self,
        item: &Shape,
        (min, max): (usize, usize),
        items: &[Node],
        node: &Node,
        path: &str,
    ) -> Option<Json> {
        if !(min..=max).contains(&items.len()) {
            let (what, fix) = match min == max {
                true => {
                    (format!("{path} has {} items, not {min}", items.len()), format!("write {min} items"))
                }
                false => (format!("{path} is empty"), "write at least one item".to_owned()),
            };
            self.add(&node.place, path, what, fix);
            return None;
        }
        let values =
            items.iter().enumerate().map(|(i, node)| self.value(item, node, &join(path, &i.to_string())));
        // All items are looked at before the first wrong one makes the list unusable.
        let values: Vec<_> = values.collect();
        values.into_iter().collect::<Option<Vec<_>>>().map(Json::from)
    }

    fn map(&mut self, inner: &Shape, entries: &[Entry], path: &str) -> Json {
        let mut values = Map::new();
        for (index, entry) in entries.iter().enumerate() {
            let path = join(path, &entry.key);
            if self.repeated(entry, &entries[..index], &path) {
                continue;
            }
            if let Some(value) = self.value(inner, &entry.node, &path) {
                values.insert(entry.key.clone(), value);
            }
        }
        values.into()
    }

    fn object(&mut self, fields: &[Field], entries: &[Entry], node: &Node, path: &str) -> Map<String, Json> {
        let mut values = Map::new();
        for (index, entry) in entries.iter().enumerate() {
            let Some(field) = self.field(fields, entries, entry, path) else { continue };
            let path = join(path, &field.name);
            if self.repeated(entry, &entries[..index], &path) {
                continue;
            }
            let absent =
                matches!(entry.node.value, Value::Null) && !field.required && field.default.is_none();
            if !absent && let Some(value) = self.value(&field.shape, &entry.node, &path) {
                values.insert(field.name.clone(), value);
            }
        }
        for field in fields.iter().filter(|field| field.required) {
            if values.contains_key(&field.name) {
                continue;
            }
            let full = join(path, &field.name);
            if !entries.iter().any(|entry| entry.key == field.name) {
                let example = field.example.as_ref().map_or("…".to_owned(), text_of);
                let fix = format!("add {}: {example}", field.name);
                self.add(&node.place, &full, format!("`{full}` is missing"), fix);
            }
            if let Some(example) = &field.example {
                values.insert(field.name.clone(), example.clone());
            }
        }
        values
    }

    /// The field that an entry sets. One that is only likely meant counts as set, so that it isn't also missing.
    fn field<'f>(
        &mut self,
        fields: &'f [Field],
        entries: &[Entry],
        entry: &Entry,
        path: &str,
    ) -> Option<&'f Field> {
        let named = |name: &str| fields.iter().find(|field| field.name == name);
        if let Some(field) = named(&entry.key) {
            return Some(field);
        }
        let names = || fields.iter().map(|field| field.name.as_str());
        let meant = similar(&entry.key, names());
        let others = elsewhere(&entry.key);
        let fix = match (meant, others.as_slice()) {
            (Some(name), _) => format!("did you mean `{name}`?"),
            (None, [_, ..]) => format!("did you mean {}?", any_of(others.iter().map(String::as_str))),
            (None, []) => format!("the fields here are {}", names().collect::<Vec<_>>().join(", ")),
        };
        let full = join(path, &entry.key);
        self.add(&entry.place, &full, format!("unknown field `{full}`"), fix);
        let free = |name: &&str| !entries.iter().any(|entry| entry.key == **name);
        meant.filter(free).and_then(named)
    }

    fn repeated(&mut self, entry: &Entry, before: &[Entry], path: &str) -> bool {
        let Some(first) = before.iter().find(|earlier| earlier.key == entry.key) else { return false };
        let first = match &first.place {
            Place::File(at) => format!("; the first is on line {}", at.line),
            Place::Set(_) | Place::Whole => String::new(),
        };
        self.add(&entry.place, path, format!("`{path}` appears a second time"), format!("keep one{first}"));
        true
    }

    fn tagged(&mut self, kinds: &[(String, Vec<Field>)], node: &Node, path: &str) -> Option<Json> {
        let names = || kinds.iter().map(|(kind, _)| kind.as_str());
        let Value::Map(entries) = &node.value else {
            let example = match &node.value {
                Value::Text(text) => similar(text, names()),
                _ => None,
            };
            let kind = example.or(names().next()).unwrap_or_default();
            return self.wrong(node, path, "a group of fields", format!("write {{ kind: {kind} }}"));
        };
        let Some(tag) = entries.iter().find(|entry| entry.key == "kind") else {
            self.add(
                &node.place,
                path,
                format!("{path} has no `kind`"),
                format!("add kind: {}", any_of(names())),
            );
            return None;
        };
        let full = join(path, "kind");
        let options: Vec<String> = names().map(str::to_owned).collect();
        let kind = self.value(&Shape::Choice(options), &tag.node, &full)?;
        let (_, fields) = kinds.iter().find(|(name, _)| kind == **name)?;
        let others: Vec<Entry> = entries.iter().filter(|entry| entry.key != "kind").cloned().collect();
        let mut values = Map::from_iter([("kind".to_owned(), kind)]);
        values.extend(self.object(fields, &others, node, path));
        Some(values.into())
    }
}

/// The full paths of the fields of that name anywhere in the job.
fn elsewhere(name: &str) -> Vec<String> {
    fn search(shape: &Shape, name: &str, path: &str, found: &mut Vec<String>) {
        if let Shape::Object(fields) = shape {
            for field in fields {
                let full = join(path, &field.name);
                search(&field.shape, name, &full, found);
                if field.name == name {
                    found.push(full);
                }
            }
        }
    }
    let mut found = Vec::new();
    search(&crate::shape::JOB, name, "", &mut found);
    found
}

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A value as one would write it.
pub(crate) fn text_of(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::Text(text) => format!("the text `{text}`"),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a group of fields".to_owned(),
    }
}

fn whole_number_fix(node: &Node) -> String {
    match &node.value {
        Value::Number(number) => match number.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0) {
            Some(number) => format!("write {number:.0}"),
            None => "round it".to_owned(),
        },
        Value::Text(text) if text.parse::<u64>().is_ok() => format!("write {text}, without quotes"),
        _ => "write digits only".to_owned(),
    }
}
