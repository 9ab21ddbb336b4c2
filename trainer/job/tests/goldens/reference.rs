//! The book's reference of the job file, made from the JSON schema: a section for each field of the first level, with
//! a table of everything below it.

use serde_json::Value;

const INTRODUCTION: &str = "# Job file reference

This page is generated from the JSON schema of the job file, which `lockstep schema` prints for editors. \
`lockstep validate -f FILE --explain` shows the same fields with the values of one job.

A job file is YAML, JSON or TOML. A relative path in it starts at the file's folder. `name` is the only field that every \
job needs, and it needs either `model` or `command`. A field that this page doesn't list is an error.
";

const VALUES: &str = "
## How values are written

| type | examples |
|---|---|
";

/// The whole page.
pub(crate) fn page(schema: &Value) -> String {
    let schema = Schema(schema);
    let mut made = INTRODUCTION.to_owned();
    made += "\n## The first level\n\n";
    made += HEADER;
    let (sections, plain): (Vec<_>, Vec<_>) =
        properties(schema.0).partition(|(_, field)| schema.is_section(field));
    for (name, field) in plain {
        made += &schema.row(name, field);
    }
    for (name, field) in &sections {
        made += &format!("| [`{name}`](#{}) | section | | {} |\n", name.to_lowercase(), Text::of(field).what);
    }
    for (name, field) in sections {
        let target = schema.target(field);
        made += &format!("\n## {name}\n\n{}\n", Text::of(target).what);
        made += &tables(&schema.section(name, target));
    }
    made += VALUES;
    for definition in definitions(schema.0).filter(|definition| definition.get("format").is_some()) {
        let examples: Vec<String> = list(definition, "examples").map(code).collect();
        made += &format!("| {} | {} |\n", kind_of_scalar(definition), examples.join(", "));
    }
    made
}

const HEADER: &str = "| field | type | default | what it is |\n|---|---|---|---|\n";

/// What stands in a section: a row of the table, or what begins a new one.
enum Row {
    Field(String),
    Heading(String, String),
}

fn tables(rows: &[Row]) -> String {
    let mut made = String::new();
    let mut open = false;
    for row in rows {
        match row {
            Row::Heading(title, text) => {
                made += &format!("\n### {title}\n\n{text}\n");
                open = false;
            }
            Row::Field(row) => {
                if !open {
                    made += &format!("\n{HEADER}");
                    open = true;
                }
                made += row;
            }
        }
    }
    made
}

struct Schema<'a>(&'a Value);

impl<'a> Schema<'a> {
    /// The definition that a field refers to, or the field itself. A field that may be null is what else it may be.
    fn target(&self, field: &'a Value) -> &'a Value {
        let field = list(field, "anyOf").next().unwrap_or(field);
        match field["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/")) {
            Some(name) => &self.0["$defs"][name],
            None => field,
        }
    }

    fn is_section(&self, field: &'a Value) -> bool {
        let target = self.target(field);
        target.get("properties").is_some() || variants(target).next().is_some()
    }

    fn section(&self, path: &str, target: &'a Value) -> Vec<Row> {
        let (mut rows, mut unions) = (Vec::new(), vec![(path.to_owned(), target)]);
        let mut next = 0;
        while let Some((path, target)) = unions.get(next).cloned() {
            self.below(&path, target, &mut rows, &mut unions);
            for variant in variants(target) {
                let kind = &variant["properties"]["kind"]["const"];
                let title = format!("{path}.kind: {}", kind.as_str().unwrap_or_default());
                rows.push(Row::Heading(title, Text::of(variant).what));
                self.below(&path, variant, &mut rows, &mut unions);
            }
            next += 1;
        }
        rows
    }

    /// Every field below one, in the order of the schema. Of what there are several kinds, which come later, it makes a
    /// note in `unions`.
    fn below(
        &self,
        path: &str,
        target: &'a Value,
        rows: &mut Vec<Row>,
        unions: &mut Vec<(String, &'a Value)>,
    ) {
        for (name, field) in properties(target) {
            let path = format!("{path}.{name}");
            let inner = self.target(field);
            rows.push(Row::Field(self.row(&path, field)));
            if variants(inner).next().is_some() {
                if unions.iter().all(|(known, _)| *known != path) {
                    unions.push((path, inner));
                }
            } else if inner.get("properties").is_some() {
                self.below(&path, inner, rows, unions);
            } else {
                self.below(&format!("{path}[]"), self.target(&inner["items"]), rows, unions);
            }
        }
    }

    fn row(&self, path: &str, field: &'a Value) -> String {
        let Text { mut what, default } = Text::of(field);
        for value in list(self.target(field), "oneOf").filter(|value| value.get("const").is_some()) {
            what += &format!("<br>{}: {}", code(&value["const"]), Text::of(value).what);
        }
        format!("| `{path}` | {} | {default} | {what} |\n", self.kind(field))
    }

    /// In words, what a field may hold.
    fn kind(&self, field: &'a Value) -> String {
        let target = self.target(field);
        let choices: Vec<String> =
            list(target, "oneOf").filter_map(|value| value.get("const")).map(code).collect();
        let unit = field["x-unit"].as_str().or(target["x-unit"].as_str());
        let kind = match () {
            () if !choices.is_empty() => choices.join(", "),
            () if target.get("items").is_some() => {
                let items = self.target(&target["items"]);
                format!("list of {}s", kind_of_scalar(items))
            }
            () if target.get("additionalProperties").is_some_and(Value::is_object) => {
                "map of strings".to_owned()
            }
            () => kind_of_scalar(target),
        };
        match unit {
            Some(unit) => format!("{kind}, {unit}"),
            None => kind,
        }
    }
}

fn kind_of_scalar(schema: &Value) -> String {
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find_map(|kind| kind.as_str().filter(|kind| *kind != "null")),
        kind => kind.as_str(),
    };
    match (kind, schema["format"].as_str()) {
        (Some("string"), Some(format)) => format.replace('-', " "),
        (Some(kind), _) => kind.to_owned(),
        (None, _) => "object".to_owned(),
    }
}

/// What is said of a field, and of it the part that tells its default.
struct Text {
    what: String,
    default: String,
}

impl Text {
    fn of(schema: &Value) -> Self {
        let text = schema["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        let (text, default) = text.split_once("Default: ").unwrap_or((&text, ""));
        let (what, _unit) = text.split_once("Unit: ").unwrap_or((text, ""));
        Self { what: what.trim().to_owned(), default: default.trim_end_matches('.').to_owned() }
    }
}

/// The tagged variants of an enumeration whose values are objects.
fn variants(schema: &Value) -> impl Iterator<Item = &Value> {
    list(schema, "oneOf").filter(|variant| variant.get("properties").is_some())
}

fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields.map(|(name, field)| (name.as_str(), field)).filter(|(_, field)| {
        // The tag of a variant stands in its heading.
        field.get("const").is_none()
    })
}

fn definitions(schema: &Value) -> impl Iterator<Item = &Value> {
    schema["$defs"].as_object().into_iter().flatten().map(|(_, definition)| definition)
}

fn list<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    schema[key].as_array().into_iter().flatten()
}

fn code(value: &Value) -> String {
    value.as_str().map_or_else(|| format!("`{value}`"), |text| format!("`{text}`"))
}
