use std::{borrow::Borrow, path::Path};

use serde_json::Value as Json;

use crate::{
    JobSpec, Location, Place, Problem, Problems, Source, check::check, job::absolute, meaning, overrides,
    rules, shape::JOB, tree::Node,
};

/// A job, and where each of its values comes from.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The job, every default filled in.
    pub job: JobSpec,
    pub(crate) tree: Node,
    source: String,
}

/// A job with what is meant by its paths.
#[derive(Debug, Clone, PartialEq)]
pub struct OnThisMachine {
    /// The job; its datasets, weights and worker have absolute paths.
    pub job: JobSpec,
    /// Its `storage`, absolute. The job keeps what was written: a run is the same wherever its folder is.
    pub storage: String,
    /// Where its `command` runs, if it has one.
    pub folder: Option<String>,
}

impl Resolved {
    /// Finds what keeps this job from running on a cluster.
    ///
    /// # Errors
    /// All problems at once: no `kubernetes` section, a storage that pods don't share, paths that they don't have.
    pub fn check_for_cluster(&self) -> Result<(), Problems> {
        let mut list = Vec::new();
        rules::apply_cluster(&self.job, &self.tree, &mut list);
        if list.is_empty() {
            Ok(())
        } else {
            Err(Problems { source: self.source.clone(), list: sorted(list) })
        }
    }

    /// The job as it runs on this machine: relative paths that are written in the job file start at `folder`, the file's, and
    /// those of the command line at `here`.
    ///
    /// # Errors
    /// Where the current folder is gone.
    pub fn on_this_machine(&self, folder: &Path, here: &Path) -> std::io::Result<OnThisMachine> {
        let base = |path: &str| match self.tree.find(path).map(|node| &node.place) {
            Some(Place::File(_)) => folder,
            Some(Place::Set(_) | Place::Whole) | None => here,
        };
        let mut job = self.job.clone();
        job.resolve_each_path(base)?;
        Ok(OnThisMachine {
            storage: absolute(base("storage"), &job.storage)?,
            folder: job.command.is_some().then(|| absolute(base("command"), ".")).transpose()?,
            job,
        })
    }

    /// A problem that was found elsewhere with the field at `path`, with its place.
    pub fn problem(&self, path: &str, what: impl Into<String>, fix: impl Into<String>) -> Problems {
        let place = self.tree.place_of(path).clone();
        let problem = Problem { place, path: path.to_owned(), what: what.into(), fix: fix.into() };
        Problems { source: self.source.clone(), list: vec![problem] }
    }
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
    /// The job that [`serde_json::to_value`] of a `JobSpec` describes, checked like a file. Fields that jobs had when an
    /// earlier version wrote it are passed over.
    ///
    /// # Errors
    /// As [`parse`].
    pub fn from_json(value: impl Borrow<Json>) -> Result<Self, Problems> {
        let mut tree = Node::from_json(value.borrow());
        meaning::GONE.iter().for_each(|path| overrides::remove(&mut tree, path));
        finish("the resolved job".to_owned(), tree, Vec::new()).map(|resolved| resolved.job)
    }
}

fn finish(source: String, tree: Node, mut problems: Vec<Problem>) -> Result<Resolved, Problems> {
    let mut value = check(&tree, &JOB, &mut problems);
    value.iter_mut().for_each(one_rank_for_each_gpu);
    match value.map(serde_json::from_value::<JobSpec>) {
        Some(Ok(mut job)) => {
            rules::apply(&job, &tree, &mut problems);
            if problems.is_empty() {
                job.fill_in();
                return Ok(Resolved { job, tree, source });
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
    Err(Problems { source, list: sorted(problems) })
}

/// The one default that depends on another field before the job is a job: other defaults follow from it.
fn one_rank_for_each_gpu(job: &mut Json) {
    let count = job.pointer("/kubernetes/gpu/count").cloned();
    if let (Some(count), Some(job)) = (count, job.as_object_mut()) {
        job.entry("ranksPerNode").or_insert(count);
    }
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| order(&problem.place));
    problems
}

/// The file's problems first, by line, then the others as they were found.
fn order(place: &Place) -> (u8, Option<Location>) {
    match place {
        Place::Whole => (0, None),
        Place::File(at) => (1, Some(*at)),
        Place::Set(_) => (2, None),
    }
}
