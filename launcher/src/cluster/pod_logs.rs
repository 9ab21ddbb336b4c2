//! What the agents say: the pods' logs, followed across broken connections and across pods.

use super::Cluster;
use super::apply::is_absent;
use super::story::{has_log, is_over, node, one_line, tell};
use super::watch::{Change, Scene, pods_of, watch};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The pods' container.
const CONTAINER: &str = "agent";
/// The first pause before a broken stream is opened again; doubled each time.
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
}

impl LogWish {
    fn params(self, follow: bool) -> LogParams {
        LogParams {
            container: Some(CONTAINER.to_owned()),
            follow,
            timestamps: true,
            tail_lines: self.tail,
            since_seconds: self.since_seconds,
            ..Default::default()
        }
    }
}

/// Follows the logs of a job's pods as they come and go.
pub(super) struct Followers<'a> {
    cluster: &'a Cluster,
    wish: LogWish,
    max_nodes: u32,
    known: BTreeSet<String>,
    tasks: JoinSet<()>,
    to: mpsc::Sender<LogLine>,
}

impl<'a> Followers<'a> {
    /// Follows nobody yet. Only the lowest `max_nodes` nodes are followed.
    pub(super) fn new(
        cluster: &'a Cluster,
        wish: LogWish,
        max_nodes: u32,
        to: mpsc::Sender<LogLine>,
    ) -> Self {
        Self { cluster, wish, max_nodes, known: BTreeSet::new(), tasks: JoinSet::new(), to }
    }

    /// Follows the pods that have begun to speak.
    pub(super) fn keep_up(&mut self, scene: &Scene) {
        for pod in scene.pods.values().filter(|pod| has_log(pod)) {
            let Some(node) = node(pod).filter(|node| *node < self.max_nodes) else { continue };
            if self.known.insert(pod.name_any()) {
                let pods = self.cluster.api::<Pod>();
                self.tasks.spawn(follow_pod(pods, pod.name_any(), node, self.wish, self.to.clone()));
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
    let mut followers = Followers::new(cluster, wish, u32::MAX, lines_in);
    let mut scene = Scene::default();
    loop {
        tokio::select! {
            Some(change) = changes.next() => {
                if let Change::Refused(why) = change {
                    anyhow::bail!("can't watch run {name}: {why}");
                }
                scene.take(name, change);
                followers.keep_up(&scene);
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

/// Sends a pod's lines until its agent has ended and everything was read, or nobody listens.
async fn follow_pod(pods: Api<Pod>, pod: String, node: u32, wish: LogWish, to: mpsc::Sender<LogLine>) {
    let mut seen: Option<Timestamp> = None;
    let mut pause = FIRST_PAUSE;
    loop {
        let mut params = wish.params(true);
        let before = seen;
        if let Some(seen) = before {
            params = LogParams { tail_lines: None, since_seconds: None, since_time: Some(seen), ..params };
        }
        if let Ok(stream) = pods.log_stream(&pod, &params).await {
            let mut lines = stream.lines();
            while let Ok(Some(line)) = lines.try_next().await {
                let Some(line) = parse(&line, node) else { continue };
                // A stream that is opened again begins with the second of the last line.
                if before.is_some_and(|before| line.at <= before) {
                    continue;
                }
                seen = Some(line.at);
                pause = FIRST_PAUSE;
                if to.send(line).await.is_err() {
                    return;
                }
            }
        }
        match pods.get_opt(&pod).await {
            Ok(Some(pod)) if !is_over(&pod) => {}
            Ok(_) => return,
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
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
    let said = all.items.into_iter().filter(has_log).filter_map(|pod| Some((node(&pod)?, pod.name_any())));
    let read = said.map(|(node, pod)| {
        let pods = pods.clone();
        async move { anyhow::Ok((node, log(cluster, &pods, &pod, wish).await?)) }
    });
    let logs: Vec<_> = futures::stream::iter(read).buffer_unordered(AT_ONCE).try_collect().await?;
    if let Some(why) = logs.iter().find_map(|(_, log)| log.as_ref().err()) {
        let missing = logs.iter().filter(|(_, log)| log.is_err()).count();
        eprintln!("warning: {missing} of {} logs can't be read: {why}", logs.len());
    }
    let texts = logs.iter().filter_map(|(node, log)| Some((*node, log.as_ref().ok()?)));
    let mut lines: Vec<_> =
        texts.flat_map(|(node, text)| text.lines().filter_map(move |line| parse(line, node))).collect();
    lines.sort_by_key(|line| line.at);
    Ok(lines)
}

/// The log of one pod, or why its machine doesn't give it.
async fn log(
    cluster: &Cluster,
    pods: &Api<Pod>,
    pod: &str,
    wish: LogWish,
) -> anyhow::Result<Result<String, String>> {
    let what = format!("the log of pod {pod}");
    let read = async {
        match pods.logs(pod, &wish.params(false)).await {
            // It is gone since it was listed.
            Err(error) if is_absent(&error) => Ok(Ok(String::new())),
            Err(kube::Error::Api(status)) if status.code >= 500 => Ok(Err(one_line(&status.message))),
            other => other.map(Ok),
        }
    };
    let deadline = if wish.tail.is_some() { TAIL_DEADLINE } else { WHOLE_DEADLINE };
    match tokio::time::timeout(deadline, cluster.call("read", &what, read)).await {
        Ok(read) => read,
        Err(_) => Ok(Err(format!("{what} did not come within {deadline:?}"))),
    }
}

/// A line with its time in front.
fn parse(line: &str, node: u32) -> Option<LogLine> {
    let (at, text) = line.split_once(' ').unwrap_or((line, ""));
    Some(LogLine { at: at.parse().ok()?, node, text: text.to_owned() })
}
