//! What all objects of a job are made from.

use lockstep_job::{JobSpec, Kubernetes, Resume};

use crate::meta::Meta;

/// The part of a job that every object is made from.
pub(crate) struct Source<'a> {
    pub(crate) job: &'a JobSpec,
    pub(crate) kubernetes: &'a Kubernetes,
    pub(crate) purpose: Purpose,
    pub(crate) meta: Meta<'a>,
}

/// What the agents are there for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// To train, from what the launch starts from.
    Train { resume: Resume },
    /// To say what a pod of the job finds around it.
    Checkup,
}
