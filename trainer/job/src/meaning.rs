//! Which job a run's checkpoints belong to.

use serde_json::Value;

/// Fields that say what a run's state means: with another value the state would be another run's.
const MEANING: [&str; 11] = [
    "model",
    "worker",
    "warmStart",
    "data.train",
    "data.format",
    "data.image",
    "data.window",
    "data.seed",
    "data.shuffle",
    "train.globalBatch",
    "train.seed",
];

/// Fields below those that change how the same state is reached.
const NO_MEANING: [&str; 1] = ["model.recompute"];

/// Fields that jobs no longer have and that had no effect: records of earlier versions name them.
pub(crate) const GONE: [&str; 1] = ["recovery.suspect"];

/// Of `paths`, as [`differences`] returns them, those with which a run's checkpoints would mean something else.
pub fn with_meaning(paths: &[String]) -> Vec<String> {
    paths.iter().filter(|path| has_meaning(path)).cloned().collect()
}

/// Dotted paths of all leaves that differ between two resolved jobs, in the order of the fields.
pub fn differences(a: &Value, b: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk("", a, b, &mut found);
    found
}

fn has_meaning(path: &str) -> bool {
    let below =
        |field: &str| path == field || path.strip_prefix(field).is_some_and(|rest| rest.starts_with('.'));
    MEANING.iter().any(|field| below(field)) && !NO_MEANING.contains(&path)
}

fn walk(path: &str, a: &Value, b: &Value, found: &mut Vec<String>) {
    let (Value::Object(left), Value::Object(right)) = (a, b) else {
        if a != b && !GONE.contains(&path) {
            found.push(path.to_owned());
        }
        return;
    };
    let more = right.keys().filter(|key| !left.contains_key(*key));
    for key in left.keys().chain(more) {
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        walk(&below, left.get(key).unwrap_or(&Value::Null), right.get(key).unwrap_or(&Value::Null), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_is_not_its_namesakes_prefix() {
        assert!(has_meaning("model") && has_meaning("model.hidden") && has_meaning("train.seed"));
        assert!(!has_meaning("modelling") && !has_meaning("train") && !has_meaning("train.steps"));
    }

    #[test]
    fn what_differs_is_named_in_the_order_of_the_fields() {
        let a = json!({ "nodes": 2, "train": { "steps": 10, "seed": 0 } });
        let b = json!({ "nodes": 2, "train": { "steps": 20, "seed": 1 }, "limits": { "maxRunTime": "1h" } });
        let all = differences(&a, &b);
        assert_eq!(all, ["train.steps", "train.seed", "limits"]);
        assert_eq!(with_meaning(&all), ["train.seed"]);
    }

    #[test]
    fn what_is_kept_in_memory_means_nothing() {
        let model = |more: Value| json!({ "model": { "kind": "gpt", "recompute": more } });
        assert!(with_meaning(&differences(&model(json!("block")), &model(Value::Null))).is_empty());
        let none = json!({ "model": { "kind": "gpt" } });
        assert!(with_meaning(&differences(&none, &model(json!("block")))).is_empty());
        let wider = json!({ "model": { "kind": "gpt", "recompute": "block", "width": 8 } });
        assert_eq!(with_meaning(&differences(&none, &wider)), ["model.width"]);
    }

    #[test]
    fn samples_of_another_window_are_others() {
        let a = json!({ "data": { "format": "tokens", "window": 256 } });
        let b = json!({ "data": { "format": "tokens", "window": 128 } });
        assert_eq!(with_meaning(&differences(&a, &b)), ["data.window"]);
    }

    #[test]
    fn a_field_that_is_gone_makes_no_other_job() {
        let then = json!({ "recovery": { "suspect": "1s", "dead": "3s" } });
        assert!(differences(&then, &json!({ "recovery": { "dead": "3s" } })).is_empty());
    }
}
