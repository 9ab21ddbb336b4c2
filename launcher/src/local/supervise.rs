//! Starts the agents, brings back those that die or hang, and stops them when asked.

use super::agent::{Agent, Said};
use crate::view::View;
use anyhow::Context;
use lockstep_run::control::{self, Request};
use lockstep_run::{ControlKey, Line, NodeId, Outcome, RunDir, RunUid};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// How often each agent is asked whether it lives.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// An agent that doesn't answer this many times in a row hangs.
const MAX_SILENT_PROBES: u32 = 3;
/// An agent that lived shorter than this didn't really start.
const SHORT_LIFE: Duration = Duration::from_secs(2);
/// So many short lives in a row end the launch.
const MAX_SHORT_LIVES: u32 = 3;
/// Exit codes of an agent that must not be started again: done, stopped, run failed, node failed.
const FINAL_CODES: [i32; 4] = [0, 143, RUN_OVER, 241];
/// Exit code of an agent whose run can't go on.
const RUN_OVER: i32 = 240;

/// What to launch.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The agent's binary.
    pub(crate) agent: PathBuf,
    /// URI of the run's folder.
    pub(crate) run_dir: String,
    /// The resolved job.
    pub(crate) job: serde_json::Value,
    /// Number of nodes.
    pub(crate) num_nodes: u32,
    /// Name of this launch.
    pub(crate) id: String,
    /// When the user typed the command.
    pub(crate) launched_at_unix_ms: u64,
    /// auto, never, must, or a step.
    pub(crate) resume: String,
    /// Where nodes keep what outlives their workers.
    pub(crate) scratch: PathBuf,
    /// Agents get this long to stop before they are killed.
    pub(crate) grace: Duration,
}

/// How a launch ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What the run's newest record says; none where the run did not end, so that a launch carries on.
    pub(crate) outcome: Option<Outcome>,
    /// The signal that made the launcher stop it.
    pub(crate) stopped_by: Option<StopSignal>,
}

/// A signal that stops a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopSignal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM or SIGHUP.
    Terminate,
}

/// Runs the agents until none is left.
///
/// # Errors
/// Where agents can't be started, or end at once again and again; the message holds what they said last.
pub(crate) async fn run(launch: Launch, dir: &RunDir, view: &mut View) -> anyhow::Result<Ended> {
    let files = tempfile::Builder::new().prefix("lockstep-job-").tempdir()?;
    let job = files.path().join("job.json");
    std::fs::write(&job, serde_json::to_vec_pretty(&launch.job)?)?;
    let (said_in, mut said) = mpsc::channel(1024);
    let mut nodes = BTreeMap::new();
    for node in (0..launch.num_nodes).map(NodeId) {
        nodes.insert(node, Kept::start(&launch, &job, node, &said_in)?);
    }
    let mut seal = None;
    let mut stop = Stop { by: None, since: None };
    let mut probes = tokio::time::interval(PROBE_EVERY);
    probes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hup = signal(SignalKind::hangup())?;
    while nodes.values().any(|n| n.agent.is_some()) {
        tokio::select! {
            Some(said) = said.recv() => match said {
                Said::Out(line) => view.on_line(Line::parse(&line), &line),
                Said::Err(node, line) => {
                    view.on_agent_error(node, &line);
                    if let Some(kept) = nodes.get_mut(&node) { kept.last_words = line; }
                }
                Said::Left(node, code) => {
                    let Some(kept) = nodes.get_mut(&node) else { continue };
                    kept.agent = None;
                    kept.never = code == Some(RUN_OVER);
                    if stop.by.is_none() && !code.is_some_and(|c| FINAL_CODES.contains(&c)) {
                        view.on_agent_lost(node, code);
                        *kept = kept.again(&launch, &job, node, &said_in)?;
                    }
                }
            },
            _ = int.recv() => stop.ask(StopSignal::Interrupt, &nodes, view),
            _ = term.recv() => stop.ask(StopSignal::Terminate, &nodes, view),
            _ = hup.recv() => stop.ask(StopSignal::Terminate, &nodes, view),
            _ = probes.tick() => {
                view.tick();
                stop.enforce(launch.grace, &nodes);
                probe(dir, &mut seal, &mut nodes, view).await;
            }
        }
    }
    let never = nodes.iter().find(|(_, kept)| kept.never && !kept.last_words.is_empty());
    let newest = dir.newest_membership().await;
    if let (Some((node, kept)), Err(_) | Ok(None)) = (never, &newest) {
        anyhow::bail!("node {node} can't begin: {}", kept.last_words);
    }
    let newest = newest?;
    let outcome = newest.filter(|m| m.launch == launch.id).and_then(|m| m.outcome().cloned());
    Ok(Ended { outcome, stopped_by: stop.by })
}

/// What opens the run's control channel; it never changes.
type Seal = (RunUid, ControlKey);

/// One node and what is known of its agent's lives.
struct Kept {
    agent: Option<Agent>,
    started: Instant,
    short_lives: u32,
    silent_probes: u32,
    /// Whether its last agent said that another start is of no use.
    never: bool,
    last_words: String,
}

impl Kept {
    fn start(launch: &Launch, job: &Path, node: NodeId, said: &mpsc::Sender<Said>) -> anyhow::Result<Self> {
        let agent = Some(Agent::start(launch, job, node, said.clone())?);
        Ok(Self {
            agent,
            started: Instant::now(),
            short_lives: 0,
            silent_probes: 0,
            never: false,
            last_words: String::new(),
        })
    }

    fn again(
        &self,
        launch: &Launch,
        job: &Path,
        node: NodeId,
        said: &mpsc::Sender<Said>,
    ) -> anyhow::Result<Self> {
        let short_lives = if self.started.elapsed() < SHORT_LIFE { self.short_lives + 1 } else { 0 };
        if short_lives >= MAX_SHORT_LIVES {
            let words = if self.last_words.is_empty() { "it said nothing" } else { &self.last_words };
            anyhow::bail!("the agent of node {node} ended at once, {short_lives} times in a row: {words}");
        }
        Ok(Self { short_lives, ..Self::start(launch, job, node, said)? })
    }
}

struct Stop {
    by: Option<StopSignal>,
    since: Option<Instant>,
}

impl Stop {
    /// First time: ask the agents to stop in order. Second time: kill them.
    fn ask(&mut self, by: StopSignal, nodes: &BTreeMap<NodeId, Kept>, view: &mut View) {
        let again = self.by.is_some();
        self.by.get_or_insert(by);
        self.since.get_or_insert_with(Instant::now);
        view.on_stop_asked(again);
        let signal = if again { Signal::KILL } else { Signal::TERM };
        nodes.values().filter_map(|n| n.agent.as_ref()).for_each(|a| a.signal(signal));
    }

    /// Agents hold to the grace period themselves; one that doesn't is killed.
    fn enforce(&self, grace: Duration, nodes: &BTreeMap<NodeId, Kept>) {
        if self.since.is_some_and(|since| since.elapsed() > grace + Duration::from_secs(5)) {
            nodes.values().filter_map(|n| n.agent.as_ref()).for_each(|a| a.signal(Signal::KILL));
        }
    }
}

/// Does what a kubelet's liveness probe does: an agent that stopped answering is killed, and so comes back.
async fn probe(dir: &RunDir, seal: &mut Option<Seal>, nodes: &mut BTreeMap<NodeId, Kept>, view: &mut View) {
    if seal.is_none()
        && let (Ok(Some(run)), Ok(key)) = (dir.run().await, dir.key().await)
    {
        *seal = Some((run.run_uid, key));
    }
    let Some((run, key)) = seal else { return };
    let ask = |node: NodeId| {
        let (run, key) = (&*run, &*key);
        async move {
            let Ok(Some(join)) = dir.newest_join(node).await else { return (node, true) };
            // Nobody there yet is no sign of a hang; a port that takes the call and then stays silent is.
            (node, control::ask_at(&join.address, run, key, Request::Status, PROBE_EVERY).await.is_ok())
        }
    };
    let alive = nodes.iter().filter(|(_, kept)| kept.agent.is_some()).map(|(node, _)| ask(*node));
    for (node, answered) in futures::future::join_all(alive).await {
        let Some(kept) = nodes.get_mut(&node) else { continue };
        kept.silent_probes = if answered { 0 } else { kept.silent_probes + 1 };
        if kept.silent_probes >= MAX_SILENT_PROBES
            && let Some(agent) = &kept.agent
        {
            view.on_agent_hung(node, PROBE_EVERY * MAX_SILENT_PROBES);
            agent.signal(Signal::KILL);
            kept.silent_probes = 0;
        }
    }
}

/// The binary `name` beside this one.
///
/// # Errors
/// Where it isn't there; the message says where it was looked for.
pub(crate) fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe().context("can't find this program's own file")?.with_file_name(name);
    if !path.exists() {
        anyhow::bail!(
            "{} is not there; the three binaries lockstep, lockstep-agent and lockstep-worker belong into one folder",
            path.display()
        );
    }
    Ok(path)
}
