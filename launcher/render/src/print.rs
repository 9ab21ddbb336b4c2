use serde_json::json;

use crate::Objects;

/// One YAML document for each object, in the order in which they are made.
///
/// # Errors
/// None in practice: every object has a YAML form.
pub fn to_yaml(objects: &Objects) -> Result<String, serde_saphyr::ser::Error> {
    let values = objects.to_values().map_err(|error| serde_saphyr::ser::Error::from(error.to_string()))?;
    let documents: Result<Vec<_>, _> = values.iter().map(serde_saphyr::to_string).collect();
    Ok(documents?.iter().map(|text| format!("{}\n", text.trim_end())).collect::<Vec<_>>().join("---\n"))
}

/// A List of all objects.
///
/// # Errors
/// None in practice: every object has a JSON form.
pub fn to_json(objects: &Objects) -> serde_json::Result<String> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects.to_values()? });
    Ok(serde_json::to_string_pretty(&list)? + "\n")
}
