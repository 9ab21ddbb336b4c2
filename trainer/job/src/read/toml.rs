use serde_json::Number;
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use crate::{
    Location, Place, Problem,
    tree::{Entry, Node, Value},
};

/// Reads one TOML document.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    match DeTable::parse(text) {
        Ok(table) => Ok(Node::new(place(text, 0), map(text, table.get_ref()))),
        Err(error) => Err(Problem {
            place: error.span().map_or(Place::Whole, |span| place(text, span.start)),
            path: String::new(),
            what: error.message().lines().collect::<Vec<_>>().join(", "),
            fix: "check the TOML here: text needs quotes, a key comes once, a list needs commas".to_owned(),
        }),
    }
}

fn map(text: &str, table: &DeTable<'_>) -> Value {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| Entry {
        place: place(text, key.span().start),
        key: key.get_ref().to_string(),
        node: node(text, value),
    };
    Value::Map(entries.into_iter().map(entry).collect())
}

fn node(text: &str, value: &Spanned<DeValue<'_>>) -> Node {
    let plain = matches!(value.get_ref(), DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_));
    let typed = text.get(value.span()).filter(|_| plain).map(str::to_owned);
    let (place, value) = (place(text, value.span().start), value_of(text, value.get_ref()));
    Node { place, value, typed }
}

fn value_of(text: &str, value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(string) => Value::Text(string.clone().into_owned()),
        DeValue::Boolean(bool) => Value::Bool(*bool),
        DeValue::Datetime(datetime) => Value::Text(datetime.to_string()),
        DeValue::Integer(integer) => {
            number(i128::from_str_radix(integer.as_str(), integer.radix()).ok(), || integer.to_string())
        }
        DeValue::Float(float) => match float.as_str().parse().ok().and_then(Number::from_f64) {
            Some(number) => Value::Number(number),
            None => Value::Text(float.to_string()),
        },
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(text, item)).collect()),
        DeValue::Table(table) => map(text, table),
    }
}

/// A whole number; one beyond 64 bits stays text, which no field takes for a number.
fn number(value: Option<i128>, text: impl Fn() -> String) -> Value {
    value.and_then(Number::from_i128).map_or_else(|| Value::Text(text()), Value::Number)
}

fn place(text: &str, offset: usize) -> Place {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    Place::File(Location { line, column })
}
