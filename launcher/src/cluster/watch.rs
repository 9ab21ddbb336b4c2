//! What the cluster says about one job: watches, never polls.

use super::Cluster;
use super::explain::causes;
use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as Notice, Pod};
use kube::ResourceExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Error, Event, watcher};
use std::collections::BTreeMap;

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

/// Everything that is known of a job at one moment.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    /// None before the first word, and when it was deleted.
    pub(super) job: Option<Job>,
    /// Whether the watch of the Job has said anything.
    pub(super) job_known: bool,
    /// Pods by name.
    pub(super) pods: BTreeMap<String, Pod>,
    /// Events of the Job and its pods by their own name.
    pub(super) notices: BTreeMap<String, Notice>,
    new_pods: BTreeMap<String, Pod>,
    new_job: Option<Job>,
}

/// Watches a job's Job, pods and events. Broken watches are made again, with growing pauses.
pub(super) fn watch(cluster: &Cluster, name: &str) -> SelectAll<BoxStream<'static, Change>> {
    let of_job = Config::default().labels(&pods_of(name));
    let the_job = Config::default().fields(&format!("metadata.name={name}"));
    let jobs = changes(watcher(cluster.api::<Job>(), the_job), Change::Job);
    let pods = changes(watcher(cluster.api::<Pod>(), of_job), Change::Pod);
    // Events have no labels, and a selector can't name a job's pods: it is all of the namespace's or none.
    let notices = changes(watcher(cluster.api::<Notice>(), Config::default()), Change::Notice);
    futures::stream::select_all([jobs, pods, notices])
}

/// Selects the pods of a Job.
pub(super) fn pods_of(name: &str) -> String {
    format!("batch.kubernetes.io/job-name={name}")
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
    /// Takes in one change of the job called `name`.
    pub(super) fn take(&mut self, name: &str, change: Change) {
        match change {
            Change::Job(event) => self.take_job(*event),
            Change::Pod(event) => self.take_pod(*event),
            Change::Notice(event) => match *event {
                Event::Apply(notice) | Event::InitApply(notice) if concerns(&notice, name) => {
                    self.notices.insert(notice.name_any(), notice);
                }
                Event::Delete(notice) => drop(self.notices.remove(&notice.name_any())),
                _ => {}
            },
            Change::Trouble(_) | Change::Refused(_) => {}
        }
    }

    fn take_job(&mut self, event: Event<Job>) {
        match event {
            Event::Apply(job) => (self.job, self.job_known) = (Some(job), true),
            Event::Delete(_) => (self.job, self.job_known) = (None, true),
            Event::Init => self.new_job = None,
            Event::InitApply(job) => self.new_job = Some(job),
            Event::InitDone => (self.job, self.job_known) = (self.new_job.take(), true),
        }
    }

    fn take_pod(&mut self, event: Event<Pod>) {
        match event {
            Event::Apply(pod) => drop(self.pods.insert(pod.name_any(), pod)),
            Event::Delete(pod) => drop(self.pods.remove(&pod.name_any())),
            Event::Init => self.new_pods.clear(),
            Event::InitApply(pod) => drop(self.new_pods.insert(pod.name_any(), pod)),
            Event::InitDone => self.pods = std::mem::take(&mut self.new_pods),
        }
    }
}

/// Pods are called after their Job.
pub(super) fn concerns(notice: &Notice, name: &str) -> bool {
    let object = notice.involved_object.name.as_deref().unwrap_or_default();
    object.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}
