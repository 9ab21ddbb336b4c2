use serde_json::Value as Json;

use crate::{
    Place, Resolved,
    check::join,
    shape::{Field, JOB, Shape},
    tree::Node,
};

/// One field of a job: what it is, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The field, dotted: `train.globalBatch`.
    pub path: String,
    /// Its value; none for a field that is not set and has no default.
    pub value: Option<Json>,
    /// The unit of a plain number: `samples`.
    pub unit: Option<String>,
    /// The value that it would have by itself, if that doesn't depend on other fields.
    pub default: Option<Json>,
    /// Where the value comes from; none for a default.
    pub place: Option<Place>,
    /// What the field means.
    pub doc: String,
}

/// Every field of a job, in the order of the schema.
pub fn explain(resolved: &Resolved) -> Vec<Explained> {
    let job = serde_json::to_value(&resolved.job).unwrap_or_default();
    let mut rows = Vec::new();
    walk(&JOB, Some(&job), Some(&resolved.tree), "", &mut rows);
    rows
}

fn walk(shape: &Shape, value: Option<&Json>, node: Option<&Node>, path: &str, rows: &mut Vec<Explained>) {
    let Some(fields) = fields(shape, value) else { return };
    for field in fields {
        let path = join(path, &field.name);
        let value = value.and_then(|value| value.get(&field.name));
        let node = node.and_then(|node| node.find(&field.name));
        if let Shape::Tagged(_) = &field.shape
            && let Some(kind) = value.and_then(|value| value.get("kind"))
        {
            let default = field.default.as_ref().and_then(|default| default.get("kind")).cloned();
            let place = node.and_then(|node| node.find("kind")).map(|kind| kind.place.clone());
            rows.push(Explained {
                path: join(&path, "kind"),
                value: Some(kind.clone()),
                unit: None,
                default,
                place,
                doc: field.doc.clone(),
            });
        }
        if value.is_some() && self::fields(&field.shape, value).is_some() {
            walk(&field.shape, value, node, &path, rows);
            continue;
        }
        rows.push(Explained {
            path,
            value: value.cloned(),
            unit: field.unit.clone(),
            default: field.default.clone(),
            place: node.map(|node| node.place.clone()),
            doc: field.doc.clone(),
        });
    }
}

/// The fields that a value of this shape has.
fn fields<'s>(shape: &'s Shape, value: Option<&Json>) -> Option<&'s [Field]> {
    match shape {
        Shape::Object(fields) => Some(fields),
        Shape::Tagged(kinds) => {
            let kind = value?.get("kind")?;
            kinds.iter().find(|(name, _)| kind == name.as_str()).map(|(_, fields)| fields.as_slice())
        }
        _ => None,
    }
}
