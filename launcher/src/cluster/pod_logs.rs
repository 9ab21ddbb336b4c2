//! What the agents say: the pods' logs, followed across broken connections and across pods.

use super::Cluster;
use super::objects::{has_log, has_past, is_over, node, one_line, speaks};
use super::remove::is_absent;
use super::story::{newest_pods, tell};
use super::watch::{Change, Mirror, Scene, pods_of, watch};
use crate::output::say;
use backon::{BackoffBuilder, ExponentialBuilder};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// The pods' container.
const CONTAINER: &str = "agent";
/// The first pause before a broken stream is opened again; longer each time, until lines come again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Pods whose logs are fetched at one time.
const AT_ONCE: usize = 8;
/// How long the end of a log may take: a machine that is gone never answers.
const TAIL_DEADLINE: Duration = Duration::from_secs(5);
/// The same of a whole one.
const WHOLE_DEADLINE: Duration = Duration::from_secs(25);

/// A line of a pod's log.
#[derive(Debug, Clone)]
pub(crate) struct LogLine {
    /// The Job whose pod wrote it.
    pub(crate) job: Arc<str>,
    /// When it was written.
    pub(crate) at: Timestamp,
    /// The node that wrote it.
    pub(crate) node: u32,
    /// The line.
    pub(crate) text: String,
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogWish {
    /// At most so many lines of the past.
    pub(crate) tail: Option<i64>,
    /// At most so many seconds of the past.
    pub(crate) since_seconds: Option<i64>,
    /// Only of pods that another one has replaced, and of agents before the newest one of their pod.
    pub(crate) previous: bool,
    /// Only of the nodes that tell of the whole run.
    pub(crate) tellers: bool,
}

/// The lowest node leads, and node 0 has rank 0, which reports progress; the next one leads while it is away.
const NUM_TELLERS: u32 = 2;

impl LogWish {
    fn wants(self, node: Option<u32>) -> bool {
        node.is_some_and(|node| !self.tellers || node < NUM_TELLERS)
    }

    fn params(self, follow: bool, past: bool) -> LogParams {
        LogParams {
            container: Some(CONTAINER.to_owned()),
            follow,
            previous: past,
            timestamps: true,
            tail_lines: self.tail,
            since_seconds: self.since_seconds,
            ..Default::default()
        }
    }
}

/// Follows the logs of jobs' pods as they come and go.
pub(super) struct Followers<'a> {
    cluster: &'a Cluster,
    wish: LogWish,
    known: BTreeSet<String>,
    tasks: JoinSet<()>,
    /// What ended is read once, and many may have.
    ended: Arc<Semaphore>,
    to: mpsc::Sender<LogLine>,
}

impl<'a> Followers<'a> {
    /// Follows nobody yet.
    pub(super) fn new(cluster: &'a Cluster, wish: LogWish, to: mpsc::Sender<LogLine>) -> Self {
        let ended = Arc::new(Semaphore::new(AT_ONCE));
        Self { cluster, wish, known: BTreeSet::new(), tasks: JoinSet::new(), ended, to }
    }

    /// Follows the pods of the job called `job` that have begun to speak.
    pub(super) fn keep_up(&mut self, job: &str, scene: &Scene) {
        while self.tasks.try_join_next().is_some() {}
        for pod in scene.pods.all().filter(|pod| has_log(pod)) {
            let Some(node) = node(pod).filter(|node| self.wish.wants(Some(*node))) else { continue };
            if self.known.insert(pod.name_any()) {
                let source = Source { job: job.into(), node, pod: pod.name_any() };
                let (pods, wish, to) = (self.cluster.api::<Pod>(), self.wish, self.to.clone());
                let ended = is_over(pod).then(|| self.ended.clone());
                let past = has_past(pod) && speaks(pod);
                self.tasks.spawn(async move {
                    // Never closed, so a permit always comes.
                    let _permit = match &ended {
                        Some(ended) => ended.acquire().await.ok(),
                        None => None,
                    };
                    follow_pod(pods, source, past, wish, to).await;
                });
            }
        }
    }

    /// Waits until one log came to its end; for ever where none is followed.
    pub(super) async fn one_ended(&mut self) {
        match self.tasks.is_empty() {
            true => std::future::pending().await,
            false => drop(self.tasks.join_next().await),
        }
    }

    /// Whether every log came to its end.
    pub(super) fn all_ended(&self) -> bool {
        self.tasks.is_empty()
    }
}

/// Hands what the pods of a job say to `show`, until the Job ends and everything was said, or `show` has had enough.
///
/// # Errors
/// Where the cluster doesn't let this user look, or `show` fails.
pub(crate) async fn follow_logs(
    cluster: &Cluster,
    name: &str,
    wish: LogWish,
    mut show: impl FnMut(LogLine) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut changes = watch(cluster, name);
    let (lines_in, mut lines) = mpsc::channel(1024);
    let mut followers = Followers::new(cluster, wish, lines_in);
    let mut scene = Scene::default();
    loop {
        tokio::select! {
            Some(change) = changes.next() => {
                if let Change::Refused(why) = change {
                    anyhow::bail!("can't watch run {name}: {why}");
                }
                scene.take(name, change);
                followers.keep_up(name, &scene);
            }
            Some(line) = lines.recv() => show(line)?,
            () = followers.one_ended() => {}
        }
        let over = tell(&scene, Timestamp::now()).end.is_some();
        if over && followers.all_ended() && lines.is_empty() {
            return Ok(());
        }
    }
}

/// Whose log it is.
struct Source {
    job: Arc<str>,
    node: u32,
    pod: String,
}

impl Source {
    /// A line with its time in front.
    fn parse(&self, line: &str) -> Option<LogLine> {
        let (at, text) = line.split_once(' ').unwrap_or((line, ""));
        Some(LogLine { job: self.job.clone(), at: at.parse().ok()?, node: self.node, text: text.to_owned() })
    }
}

/// Sends a pod's lines until it is over and everything was read, or nobody listens. Where there is a past, it comes first.
async fn follow_pod(pods: Api<Pod>, source: Source, past: bool, wish: LogWish, to: mpsc::Sender<LogLine>) {
    let mut seen: Option<Timestamp> = None;
    // The kubelet may have forgotten it.
    let past = if past { pods.logs(&source.pod, &wish.params(false, true)).await.ok() } else { None };
    for line in past.iter().flat_map(|text| text.lines()).filter_map(|line| source.parse(line)) {
        seen = Some(line.at);
        if to.send(line).await.is_err() {
            return;
        }
    }
    let growing = ExponentialBuilder::new()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times();
    let mut pauses = growing.build();
    loop {
        let mut params = wish.params(true, false);
        let before = seen;
        if let Some(seen) = before {
            params = LogParams { tail_lines: None, since_seconds: None, since_time: Some(seen), ..params };
        }
        if let Ok(stream) = pods.log_stream(&source.pod, &params).await {
            let mut lines = stream.lines();
            while let Ok(Some(line)) = lines.try_next().await {
                let Some(line) = source.parse(&line) else { continue };
                // A stream that is opened again begins with the second of the last line.
                if before.is_some_and(|before| line.at <= before) {
                    continue;
                }
                seen = Some(line.at);
                pauses = growing.build();
                if to.send(line).await.is_err() {
                    return;
                }
            }
        }
        match pods.get_opt(&source.pod).await {
            Ok(Some(pod)) if !is_over(&pod) => {}
            Ok(_) => return,
            Err(_) => {}
        }
        tokio::time::sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
    }
}

/// What the pods of a job have said so far, in order of time. A log that can't be had, as of a machine that is gone, is
/// left out, and stderr says so.
///
/// # Errors
/// Where the cluster doesn't show the pods, or refuses to show logs.
pub(crate) async fn logs(cluster: &Cluster, name: &str, wish: LogWish) -> anyhow::Result<Vec<LogLine>> {
    let pods = cluster.api::<Pod>();
    let of_job = ListParams::default().labels(&pods_of(name));
    let all = cluster.call("list", &format!("pods of {name}"), pods.list(&of_job)).await?;
    let scene = Scene { pods: Mirror::listed(all.items), ..Scene::default() };
    let newest: BTreeSet<_> = newest_pods(&scene).values().map(|pod| pod.name_any()).collect();
    let job: Arc<str> = name.into();
    let said = scene.pods.all().filter(|pod| has_log(pod) && wish.wants(node(pod)));
    let parts = said.flat_map(|pod| {
        let is_past = wish.previous && newest.contains(&pod.name_any());
        [(pod, true, has_past(pod)), (pod, false, speaks(pod) && !is_past)]
    });
    let sources = parts.filter(|(.., wanted)| *wanted).filter_map(|(pod, past, _)| {
        Some((Source { job: job.clone(), node: node(pod)?, pod: pod.name_any() }, past))
    });
    let read = sources.map(|(source, past)| {
        let pods = pods.clone();
        async move {
            let read = log(cluster, &pods, &source.pod, past, wish).await?;
            anyhow::Ok((source, read))
        }
    });
    let logs: Vec<_> = futures::stream::iter(read).buffer_unordered(AT_ONCE).try_collect().await?;
    if let Some(why) = logs.iter().find_map(|(_, log)| log.as_ref().err()) {
        let missing = logs.iter().filter(|(_, log)| log.is_err()).count();
        say!("warning: {missing} of {} logs can't be read: {why}", logs.len());
    }
    let texts = logs.iter().filter_map(|(source, log)| Some((source, log.as_ref().ok()?)));
    let mut lines: Vec<_> =
        texts.flat_map(|(source, text)| text.lines().filter_map(|line| source.parse(line))).collect();
    lines.sort_by_key(|line| line.at);
    Ok(lines)
}

/// The log of one pod, or that of its agent before the newest one, or why its machine doesn't give it.
async fn log(
    cluster: &Cluster,
    pods: &Api<Pod>,
    pod: &str,
    past: bool,
    wish: LogWish,
) -> anyhow::Result<Result<String, String>> {
    let what = format!("the log of pod {pod}");
    let read = async {
        match pods.logs(pod, &wish.params(false, past)).await {
            // It is gone since it was listed.
            Err(error) if is_absent(&error) => Ok(Ok(String::new())),
            // So is what the kubelet kept of the past.
            Err(kube::Error::Api(status)) if past && status.code == 400 => Ok(Ok(String::new())),
            Err(kube::Error::Api(status)) if status.code >= 500 => Ok(Err(one_line(&status.message))),
            other => other.map(Ok),
        }
    };
    let deadline = if wish.tail.is_some() { TAIL_DEADLINE } else { WHOLE_DEADLINE };
    match tokio::time::timeout(deadline, cluster.call("read", &what, read)).await {
        Ok(read) => read,
        Err(_) => Ok(Err(format!("{what} did not arrive within {deadline:?}"))),
    }
}
