use std::borrow::Borrow;

use serde_json::Value as Json;

use crate::{
    JobSpec, Location, Place, Problem, Problems, Source, check::check, overrides, rules, shape::JOB,
    tree::Node,
};

/// A job, and where each of its values comes from.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The job, every default filled in.
    pub job: JobSpec,
    pub(crate) tree: Node,
}

/// Reads a job file, with `path=value` overrides. Either there is a job in which everything is right, or all problems
/// that could be found.
pub fn parse(source: &Source, sets: &[String]) -> Result<JobSpec, Problems> {
    resolve(source, sets).map(|resolved| resolved.job)
}

/// The same as [`parse`], with the sources of values kept for [`explain`](crate::explain).
pub fn resolve(source: &Source, sets: &[String]) -> Result<Resolved, Problems> {
    let name = source.path.display().to_string();
    let mut tree = source.read().map_err(|problem| Problems { source: name.clone(), list: vec![problem] })?;
    let mut problems = Vec::new();
    for set in sets {
        problems.extend(overrides::set(&mut tree, set).err());
    }
    finish(name, tree, problems)
}

impl JobSpec {
    /// The job that [`serde_json::to_value`] of a `JobSpec` describes, checked like a file.
    pub fn from_json(value: impl Borrow<Json>) -> Result<Self, Problems> {
        let tree = Node::from_json(value.borrow());
        finish("the resolved job".to_owned(), tree, Vec::new()).map(|resolved| resolved.job)
    }
}

fn finish(source: String, tree: Node, mut problems: Vec<Problem>) -> Result<Resolved, Problems> {
    let value = check(&tree, &JOB, &mut problems);
    match value.map(serde_json::from_value::<JobSpec>) {
        Some(Ok(mut job)) => {
            rules::apply(&job, &tree, &mut problems);
            if problems.is_empty() {
                job.fill_in();
                return Ok(Resolved { job, tree });
            }
        }
        // The checks know all that the type knows; if ever not, its own words are better than none.
        Some(Err(error)) if problems.is_empty() => problems.push(Problem {
            place: tree.place.clone(),
            path: String::new(),
            what: error.to_string(),
            fix: "see `lockstep schema` for what each field holds".to_owned(),
        }),
        Some(Err(_)) | None => {}
    }
    problems.sort_by_key(|problem| order(&problem.place));
    Err(Problems { source, list: problems })
}

/// The file's problems first, by line, then the others as they were found.
fn order(place: &Place) -> (u8, Option<Location>) {
    match place {
        Place::Whole => (0, None),
        Place::File(at) => (1, Some(*at)),
        Place::Set(_) => (2, None),
    }
}
