//! What the cluster says about one job: watches, never polls.

use super::Cluster;
use super::explain::causes;
use super::kueue::WORKLOAD;
use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as Notice, Pod};
use kube::ResourceExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Error, Event, watcher};
use std::collections::BTreeMap;

/// Selects what Lockstep made.
pub(super) const OURS: &str = "app.kubernetes.io/managed-by=lockstep";

/// Label of a pod that names its Job.
pub(super) const JOB_NAME_LABEL: &str = "batch.kubernetes.io/job-name";

/// What watches bring, one after the other, for ever.
pub(super) type Changes = SelectAll<BoxStream<'static, Change>>;

/// Something that a watch brought.
#[derive(Debug)]
pub(super) enum Change {
    Job(Box<Event<Job>>),
    Pod(Box<Event<Pod>>),
    Notice(Box<Event<Notice>>),
    /// A watch broke; it is being made again.
    Trouble(String),
    /// The cluster doesn't let this user look.
    Refused(String),
}

/// Objects of one kind by name, as a watch keeps them.
#[derive(Debug)]
pub(super) struct Mirror<K> {
    objects: BTreeMap<String, K>,
    /// Those of a watch that begins again; they take the place of the others once all of them are here.
    coming: BTreeMap<String, K>,
    known: bool,
}

impl<K> Default for Mirror<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), coming: BTreeMap::new(), known: false }
    }
}

impl<K: ResourceExt> Mirror<K> {
    /// What a list brought.
    pub(super) fn listed(objects: impl IntoIterator<Item = K>) -> Self {
        let objects = objects.into_iter().map(|object| (object.name_any(), object)).collect();
        Self { objects, known: true, ..Self::default() }
    }

    fn take(&mut self, event: Event<K>) {
        self.known |= !matches!(event, Event::Init | Event::InitApply(_));
        match event {
            Event::Apply(object) => drop(self.objects.insert(object.name_any(), object)),
            Event::Delete(object) => drop(self.objects.remove(&object.name_any())),
            Event::Init => self.coming.clear(),
            Event::InitApply(object) => drop(self.coming.insert(object.name_any(), object)),
            Event::InitDone => self.objects = std::mem::take(&mut self.coming),
        }
    }
}

impl<K> Mirror<K> {
    /// Whether the watch has said anything.
    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    /// The objects, in the order of their names.
    pub(super) fn all(&self) -> impl Iterator<Item = &K> {
        self.objects.values()
    }
}

/// Everything that is known of one job at one moment.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    /// Its Job: one or none.
    pub(super) jobs: Mirror<Job>,
    pub(super) pods: Mirror<Pod>,
    /// Events of the Job and its pods.
    pub(super) notices: Mirror<Notice>,
}

/// Watches a job's Job, pods and events. Broken watches are made again, with growing pauses.
pub(super) fn watch(cluster: &Cluster, name: &str) -> Changes {
    let of_job = Config::default().labels(&pods_of(name));
    let the_job = Config::default().fields(&format!("metadata.name={name}"));
    watches(cluster, the_job, of_job)
}

/// Watches the Jobs, pods and events of all runs.
pub(super) fn watch_all(cluster: &Cluster) -> Changes {
    let ours = Config::default().labels(OURS);
    watches(cluster, ours.clone(), ours)
}

fn watches(cluster: &Cluster, jobs: Config, pods: Config) -> Changes {
    let jobs = changes(watcher(cluster.api::<Job>(), jobs), Change::Job);
    let pods = changes(watcher(cluster.api::<Pod>(), pods), Change::Pod);
    // Events have no labels, and a selector can't name a job's pods: it is all of the namespace's or none.
    let notices = changes(watcher(cluster.api::<Notice>(), Config::default()), Change::Notice);
    futures::stream::select_all([jobs, pods, notices])
}

/// Selects the pods of a Job.
pub(super) fn pods_of(name: &str) -> String {
    format!("{JOB_NAME_LABEL}={name}")
}

fn changes<K: 'static>(
    stream: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    wrap: impl Fn(Box<Event<K>>) -> Change + Send + 'static,
) -> BoxStream<'static, Change> {
    let told = move |item: watcher::Result<Event<K>>| match item {
        Ok(event) => wrap(Box::new(event)),
        Err(error) => trouble(&error),
    };
    stream.default_backoff().map(told).boxed()
}

fn trouble(error: &Error) -> Change {
    let text = causes(error);
    let refused = match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status)) => {
            matches!(status.code, 401 | 403)
        }
        _ => false,
    };
    if refused { Change::Refused(text) } else { Change::Trouble(text) }
}

impl Scene {
    /// Its Job; none before the first word, and when it was deleted.
    pub(super) fn job(&self) -> Option<&Job> {
        self.jobs.all().next()
    }

    /// Whether it had a Job that is gone, or never had one.
    pub(super) fn has_no_job(&self) -> bool {
        self.jobs.is_known() && self.job().is_none()
    }

    /// Takes in one change of the job called `name`.
    pub(super) fn take(&mut self, name: &str, change: Change) {
        match change {
            Change::Job(event) => self.jobs.take(*event),
            Change::Pod(event) => self.pods.take(*event),
            Change::Notice(event) => match *event {
                Event::Apply(notice) | Event::InitApply(notice) if !concerns(&notice, name) => {}
                event => self.notices.take(event),
            },
            Change::Trouble(_) | Change::Refused(_) => {}
        }
    }
}

/// Pods are called after their Job, and so is what Kueue makes of it.
pub(super) fn concerns(notice: &Notice, name: &str) -> bool {
    let object = notice.involved_object.name.as_deref().unwrap_or_default();
    let object = match notice.involved_object.kind.as_deref() {
        Some(WORKLOAD) => object.strip_prefix("job-").unwrap_or(object),
        _ => object,
    };
    object.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}
