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
