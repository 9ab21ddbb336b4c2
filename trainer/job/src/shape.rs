//! What each field may hold, read from the JSON schema: the one description that checks, overrides and `--explain`
//! share with editors.

use std::sync::LazyLock;

use serde_json::Value;

use crate::{ByteSize, Cadence, Cpu, Interval, RunName, Span, UnitError, Warmup, schema};

/// What a value may be.
#[derive(Debug)]
pub(crate) enum Shape {
    Any,
    Bool,
    Integer(Range),
    Number(Range),
    Text(Option<Unit>),
    Choice(Vec<String>),
    List {
        item: Box<Self>,
        min: usize,
        max: usize,
    },
    Map(Box<Self>),
    Object(Vec<Field>),
    /// Objects told apart by their field `kind`.
    Tagged(Vec<(String, Vec<Field>)>),
}

/// A field of an object.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    pub(crate) doc: String,
    pub(crate) unit: Option<String>,
    pub(crate) default: Option<Value>,
    pub(crate) required: bool,
    /// Stands in for a missing or wrong value of a required field, so that other checks can go on.
    pub(crate) example: Option<Value>,
}

/// Bounds of a number.
#[derive(Debug, Default)]
pub(crate) struct Range {
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) above: Option<f64>,
    pub(crate) below: Option<f64>,
}

/// Tells what is wrong with a text that should be in a unit.
pub(crate) type Unit = fn(&str) -> Result<(), UnitError>;

/// The shape of a whole job.
pub(crate) static JOB: LazyLock<Shape> = LazyLock::new(|| {
    let schema = schema();
    Shape::read(&schema, &schema)
});

impl Shape {
    fn read(root: &Value, schema: &Value) -> Self {
        let schema = follow(root, schema);
        if let Some(options) = schema["oneOf"].as_array() {
            return Self::one_of(root, options);
        }
        let bound = |name: &str| schema[name].as_f64();
        let range = || Range {
            min: bound("minimum"),
            max: bound("maximum"),
            above: bound("exclusiveMinimum"),
            below: bound("exclusiveMaximum"),
        };
        match type_of(schema) {
            Some("boolean") => Self::Bool,
            Some("integer") => {
                let most = if schema["format"] == "uint32" { f64::from(u32::MAX) } else { u64::MAX as f64 };
                let range = range();
                Self::Integer(Range { max: range.max.or(Some(most)), ..range })
            }
            Some("number") => Self::Number(range()),
            Some("string") => Self::Text(schema["format"].as_str().and_then(unit)),
            Some("array") => {
                let length = |name: &str| schema[name].as_u64().and_then(|n| usize::try_from(n).ok());
                Self::List {
                    item: Box::new(Self::read(root, &schema["items"])),
                    min: length("minItems").unwrap_or(0),
                    max: length("maxItems").unwrap_or(usize::MAX),
                }
            }
            Some("object") if schema["properties"].is_object() => Self::Object(fields(root, schema)),
            Some("object") => Self::Map(Box::new(Self::read(root, &schema["additionalProperties"]))),
            _ => Self::Any,
        }
    }

    fn one_of(root: &Value, options: &[Value]) -> Self {
        let kind = |option: &Value| option["properties"]["kind"]["const"].as_str().map(str::to_owned);
        if options.iter().all(|option| kind(option).is_some()) {
            let tagged = |option: &Value| kind(option).map(|kind| (kind, fields(root, option)));
            return Self::Tagged(options.iter().filter_map(tagged).collect());
        }
        Self::Choice(options.iter().filter_map(|o| o["const"].as_str().map(str::to_owned)).collect())
    }
}

/// The fields of an object, but for the tag.
fn fields(root: &Value, schema: &Value) -> Vec<Field> {
    let required = |name: &str| schema["required"].as_array().is_some_and(|r| r.iter().any(|r| r == name));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let field = |(name, schema): (&String, &Value)| Field {
        name: name.clone(),
        shape: Shape::read(root, schema),
        doc: text(&schema["description"]).unwrap_or_default().replace('\n', " "),
        unit: text(&schema["x-unit"]),
        default: schema.get("default").cloned(),
        required: required(name),
        example: follow(root, schema)["examples"].get(0).cloned(),
    };
    let properties = schema["properties"].as_object();
    let untagged = properties.into_iter().flatten().filter(|(_, schema)| schema.get("const").is_none());
    untagged.map(field).collect()
}

/// The schema that this one names or wraps: through `$ref`, and through `anyOf` with null.
fn follow<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    if let Some(inner) = schema["anyOf"].get(0) {
        return follow(root, inner);
    }
    let target = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
    target.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

/// The type, without the null that an optional field may hold.
fn type_of(schema: &Value) -> Option<&str> {
    schema["type"].as_str().or_else(|| schema["type"].get(0)?.as_str())
}

fn unit(format: &str) -> Option<Unit> {
    Some(match format {
        "byte-size" => |text| text.parse::<ByteSize>().map(drop),
        "cadence" => |text| text.parse::<Cadence>().map(drop),
        "cpu" => |text| text.parse::<Cpu>().map(drop),
        "duration" => |text| text.parse::<Span>().map(drop),
        "interval" => |text| text.parse::<Interval>().map(drop),
        "run-name" => |text| text.parse::<RunName>().map(drop),
        "warmup" => |text| text.parse::<Warmup>().map(drop),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(fields: &[Field], path: &str, visit: &mut impl FnMut(&str, &Field)) {
        for field in fields {
            let path = crate::check::join(path, &field.name);
            visit(&path, field);
            match &field.shape {
                Shape::Object(fields) => walk(fields, &path, visit),
                Shape::Tagged(kinds) => kinds.iter().for_each(|(_, fields)| walk(fields, &path, visit)),
                _ => {}
            }
        }
    }

    fn every_field(mut visit: impl FnMut(&str, &Field)) {
        let Shape::Object(fields) = &*JOB else { panic!("a job has fields") };
        walk(fields, "", &mut visit);
    }

    #[test]
    fn every_part_of_the_schema_is_understood() {
        let mut any = Vec::new();
        every_field(|path, field| {
            if matches!(field.shape, Shape::Any) {
                any.push(path.to_owned());
            }
        });
        assert_eq!(any, ["model.config", "kubernetes.affinity", "kubernetes.podOverlay"]);
    }

    #[test]
    fn every_field_says_what_it_is_with_unit_and_default() {
        every_field(|path, field| {
            let group = matches!(field.shape, Shape::Object(_) | Shape::Map(_));
            let given = field.required
                || group
                || matches!(path, "model" | "command" | "train.steps" | "train.epochs");
            assert!(!field.doc.is_empty(), "{path} has no documentation");
            assert!(given || field.doc.contains("Default:"), "{path} doesn't say its default: {}", field.doc);
            let counts = matches!(field.shape, Shape::Integer(_)) && !path.ends_with("seed");
            assert_eq!(
                counts,
                field.unit.is_some() && path != "model.hidden",
                "{path} has no unit, or needs none"
            );
            if let Some(unit) = &field.unit {
                assert!(
                    field.doc.contains(&format!("Unit: {unit}.")),
                    "{path} doesn't say its unit: {}",
                    field.doc
                );
            }
        });
    }

    #[test]
    fn a_default_that_is_written_is_the_one_that_applies() {
        every_field(|path, field| {
            let Some((_, said)) = field.doc.split_once("Default: ") else { return };
            let Some(default) = field.default.as_ref().filter(|default| !default.is_object()) else { return };
            let said = said.trim_end_matches('.');
            let number = said.parse::<f64>().ok().map(|number| Some(number) == default.as_f64());
            let same = number.unwrap_or(said == crate::check::text_of(default));
            assert!(same || default.is_array(), "{path} says its default is {said}, but it is {default}");
        });
    }
}
