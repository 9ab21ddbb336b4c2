//! All runs of a namespace at once, kept current by watches and by what their agents say.

use super::Cluster;
use super::pod_logs::{Followers, LogLine, LogWish};
use super::runs::{TAIL, describe};
use super::story::tell;
use super::told::Told;
use super::watch::{Change, Changes, JOB_NAME_LABEL, Scene, concerns, watch, watch_all};
use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use lockstep_run::status::RunStatus;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// What happens within this time is shown at once.
const TOGETHER: Duration = Duration::from_millis(200);

/// What all runs do, or one.
pub(crate) struct Board<'a> {
    only: Option<&'a str>,
    runs: BTreeMap<String, Watched>,
    changes: Changes,
    followers: Followers<'a>,
    lines: mpsc::Receiver<LogLine>,
}

/// What is known of one run.
#[derive(Default)]
struct Watched {
    scene: Scene,
    told: Told,
}

impl<'a> Board<'a> {
    /// Begins to watch all runs of the namespace, or the one called `only`.
    pub(crate) fn new(cluster: &'a Cluster, only: Option<&'a str>) -> Self {
        let changes = match only {
            Some(name) => watch(cluster, name),
            None => watch_all(cluster),
        };
        let (lines_in, lines) = mpsc::channel(1024);
        let wish = LogWish { tail: Some(TAIL), tellers: true, ..LogWish::default() };
        let followers = Followers::new(cluster, wish, lines_in);
        Self { only, runs: BTreeMap::new(), changes, followers, lines }
    }

    /// Waits until something happened, and takes in with it what happens at the same time. Nothing is lost where this is
    /// given up.
    ///
    /// # Errors
    /// Where the cluster doesn't let this user look.
    pub(crate) async fn changed(&mut self) -> anyhow::Result<()> {
        self.one_change().await?;
        let until = Instant::now() + TOGETHER;
        while let Ok(more) = timeout_at(until, self.one_change()).await {
            more?;
        }
        Ok(())
    }

    async fn one_change(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            Some(change) = self.changes.next() => self.take(change),
            Some(line) = self.lines.recv() => {
                self.runs.entry(line.job.to_string()).or_default().told.take(&line);
                Ok(())
            }
        }
    }

    fn take(&mut self, change: Change) -> anyhow::Result<()> {
        match change {
            Change::Refused(why) => anyhow::bail!("can't watch the runs: {why}"),
            // The watch is being made again.
            Change::Trouble(_) => return Ok(()),
            Change::Job(event) => match *event {
                Event::Apply(ref job) | Event::InitApply(ref job) => {
                    self.one(&job.name_any(), Change::Job(event));
                }
                Event::Delete(job) => drop(self.runs.remove(&job.name_any())),
                Event::Init => self.every(|| Change::Job(Box::new(Event::Init))),
                Event::InitDone => self.every(|| Change::Job(Box::new(Event::InitDone))),
            },
            Change::Pod(event) => match *event {
                Event::Apply(ref pod) | Event::InitApply(ref pod) | Event::Delete(ref pod) => {
                    if let Some(name) = pod.labels().get(JOB_NAME_LABEL).cloned() {
                        self.one(&name, Change::Pod(event));
                    }
                }
                Event::Init => self.every(|| Change::Pod(Box::new(Event::Init))),
                Event::InitDone => self.every(|| Change::Pod(Box::new(Event::InitDone))),
            },
            Change::Notice(event) => match *event {
                Event::Apply(ref notice) | Event::InitApply(ref notice) | Event::Delete(ref notice) => {
                    // One run's name may begin with another's; who takes in too much says no wrong word by it.
                    let of = |name: &&String| concerns(notice, name);
                    if let Some(name) = self.runs.keys().filter(of).max_by_key(|name| name.len()).cloned() {
                        self.one(&name, Change::Notice(event));
                    }
                }
                Event::Init => self.every(|| Change::Notice(Box::new(Event::Init))),
                Event::InitDone => self.every(|| Change::Notice(Box::new(Event::InitDone))),
            },
        }
        Ok(())
    }

    fn one(&mut self, name: &str, change: Change) {
        let run = self.runs.entry(name.to_owned()).or_default();
        run.scene.take(name, change);
        self.followers.keep_up(name, &run.scene);
    }

    fn every(&mut self, change: impl Fn() -> Change) {
        for (name, run) in &mut self.runs {
            run.scene.take(name, change());
            self.followers.keep_up(name, &run.scene);
        }
    }

    /// What each run does now that has a Job, in name order.
    pub(crate) fn statuses(&self) -> Vec<RunStatus> {
        let now = Timestamp::now();
        let wanted = |name: &str| self.only.is_none_or(|only| only == name);
        let known = self.runs.iter().filter(|(name, _)| wanted(name));
        known
            .filter_map(|(name, run)| {
                Some(describe(name, run.scene.job()?, &tell(&run.scene, now), &run.told))
            })
            .collect()
    }
}
