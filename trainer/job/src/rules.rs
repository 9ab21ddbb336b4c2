//! What must hold between fields; one file per concern.

mod batch;
mod cluster;
mod device;
mod env;
mod gpt;
mod image;
mod kubernetes;
mod names;
mod resnet;
mod secrets;
mod timeouts;
mod warm_start;
mod window;
mod work;

use crate::{
    JobSpec, Place, Problem,
    tree::{Node, Value},
};

/// Finds what is wrong between fields that are each right.
pub(crate) fn apply(job: &JobSpec, tree: &Node, problems: &mut Vec<Problem>) {
    let mut found = Findings { tree, problems };
    work::check(job, &mut found);
    batch::check(job, &mut found);
    device::check(job, &mut found);
    resnet::check(job, &mut found);
    gpt::check(job, &mut found);
    names::check(job, &mut found);
    env::check(job, &mut found);
    image::check(job, &mut found);
    kubernetes::check(job, &mut found);
    secrets::check(job, &mut found);
    timeouts::check(job, &mut found);
    warm_start::check(job, &mut found);
    window::check(job, &mut found);
}

/// The same for a job that is to run on a cluster; to be asked for once [`apply`] finds nothing.
pub(crate) fn apply_cluster(job: &JobSpec, tree: &Node, problems: &mut Vec<Problem>) {
    cluster::check(job, &mut Findings { tree, problems });
}

struct Findings<'a> {
    tree: &'a Node,
    problems: &'a mut Vec<Problem>,
}

impl Findings<'_> {
    /// A problem with the field at `path`.
    fn add(&mut self, path: &str, what: impl Into<String>, fix: impl Into<String>) {
        let place = self.tree.place_of(path).clone();
        self.problems.push(Problem { place, path: path.to_owned(), what: what.into(), fix: fix.into() });
    }

    /// Whether the field was given a value, in the file or by an override.
    fn given(&self, path: &str) -> bool {
        self.tree.find(path).is_some_and(|node| !matches!(node.value, Value::Null))
    }

    /// The one of two fields that was written later; that is where their conflict is shown.
    fn later<'p>(&self, one: &'p str, other: &'p str) -> &'p str {
        let place = |path| {
            self.tree.find(path).map(|node: &Node| match &node.place {
                Place::Whole => (0, None),
                Place::File(at) => (1, Some(*at)),
                Place::Set(_) => (2, None),
            })
        };
        if place(one) > place(other) { one } else { other }
    }
}
