use super::Findings;
use crate::{JobSpec, Model, Resnet};

/// There are networks of some depths only.
pub(super) fn check(job: &JobSpec, found: &mut Findings<'_>) {
    if let Some(Model::Resnet(resnet)) = &job.model
        && !Resnet::DEPTHS.contains(&resnet.depth)
    {
        let what = format!("model.depth is {}, and there is no such network", resnet.depth);
        let fix = "18, 34 and 50 are for large pictures, 20, 32, 44 and 56 for those of 32 x 32 or so";
        found.add("model.depth", what, fix);
    }
}
