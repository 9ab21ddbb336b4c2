//! The built-in models, by the `kind` of the job file's `model`: a folder and a line below for each. Their configurations are
//! in `trainer/job/src/models`.

mod classify;
mod gpt;
mod layers;
mod mlp;
mod resnet;

use crate::task::Task;
use lockstep_job::Model;

/// What builds a model; none where it is not built in.
pub(crate) fn task(model: &Model) -> Option<Box<dyn Task>> {
    Some(match model {
        Model::Gpt(gpt) => Box::new(gpt.clone()),
        Model::Mlp(mlp) => Box::new(mlp.clone()),
        Model::Resnet(resnet) => Box::new(resnet.clone()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_that_a_job_may_name_is_built_but_for_custom() {
        let schema = lockstep_job::schema();
        let kinds: Vec<&str> = schema["$defs"]["Model"]["oneOf"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|kind| kind["properties"]["kind"]["const"].as_str())
            .collect();
        assert!(kinds.len() > 3, "{kinds:?}");
        for kind in kinds {
            let model: Model = serde_json::from_value(serde_json::json!({ "kind": kind })).unwrap();
            assert_eq!(task(&model).is_some(), kind != "custom", "{kind}");
        }
    }
}
