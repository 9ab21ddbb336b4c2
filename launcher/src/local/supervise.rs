//! Starts the agents, brings back those that die or hang, and stops them when asked. Nothing in its loop waits for a store,
//! for whoever reads the output, or for a process.

use super::agent::{Agent, Said, how};
use super::awake::Awake;
use super::launch::Launch;
use super::lives::{Lives, Next};
use super::probe::{ANSWER_DEADLINE, Known, Life, Probed, probe};
use crate::signals::{Signals, StopSignal};
use crate::view::View;
use anyhow::Context;
use futures::future::OptionFuture;
use lockstep_job::AgentExit;
use lockstep_run::temporary::{self, Temporary};
use lockstep_run::{Line, NodeId, Outcome, RunDir, Step};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, sleep_until};

/// How often each agent is asked whether it lives, and the clock is looked at.
const TICK: Duration = Duration::from_secs(1);
/// An agent that doesn't answer this many times in a row hangs.
const MAX_SILENT_PROBES: u32 = 3;
/// Where nothing was done for this long, this process stood still.
const STANDS_STILL: Duration = Duration::from_secs(3);
/// An agent holds to the grace period itself; one that is there this much later is killed.
const BEYOND_GRACE: Duration = Duration::from_secs(5);
/// After a launch that failed, agents are killed and awaited for this long.
const END_DEADLINE: Duration = Duration::from_secs(20);
/// So long a store may take to say how a run ended that the user has interrupted again.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// How a launch ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What the run's newest record says; none where the run did not end, so that a launch carries on.
    pub(crate) outcome: Option<Outcome>,
    /// The signal that made the launcher stop it.
    pub(crate) stopped_by: Option<StopSignal>,
}

/// Runs the agents until none is left.
///
/// # Errors
/// Where agents can't be started, or end again and again; the message holds what they said last.
pub(crate) async fn run(
    launch: Launch,
    dir: &RunDir,
    view: &mut View,
    signals: &mut Signals,
) -> anyhow::Result<Ended> {
    let place = std::env::temp_dir();
    let files = Temporary::make(&place).with_context(|| {
        format!("can't make a folder in {}; set TMPDIR to another place", place.display())
    })?;
    // Nobody waits for it: a place may be full of others' files.
    tokio::task::spawn_blocking(|| temporary::places().iter().for_each(|place| temporary::sweep(place)));
    let job = files.path().join("job.json");
    std::fs::write(&job, serde_json::to_vec_pretty(&launch.job)?)?;
    let (said_in, mut said) = mpsc::channel(1024);
    let (found_in, mut found) = mpsc::unbounded_channel();
    let mut at_work = Supervisor {
        launch,
        job,
        dir: dir.clone(),
        said: said_in,
        found: found_in,
        nodes: BTreeMap::new(),
        stop: Stop { by: None, since: None },
        furthest: None,
        awake: Awake::new(Instant::now(), STANDS_STILL),
        known: Some(Known::default()),
    };
    if let Err(error) = at_work.work(&mut said, &mut found, view, signals).await {
        at_work.kill_all(&mut said).await;
        return Err(error);
    }
    at_work.ended(signals).await
}

/// What a task came to.
enum Finding {
    Probed(Probed),
    /// Whether the run of an agent that left as told is over.
    Over(Life, bool),
}

enum Event {
    Said(Said),
    Found(Finding),
    Signal(StopSignal),
    Tick,
    Due,
}

struct Supervisor {
    launch: Launch,
    job: PathBuf,
    dir: RunDir,
    said: mpsc::Sender<Said>,
    found: mpsc::UnboundedSender<Finding>,
    nodes: BTreeMap<NodeId, Kept>,
    stop: Stop,
    /// The furthest step that was told of.
    furthest: Option<Step>,
    awake: Awake,
    /// None while agents are being asked.
    known: Option<Known>,
}

/// One node and what is known of its agents.
struct Kept {
    state: State,
    /// Number of its agent.
    life: u64,
    started: Instant,
    lives: Lives,
    silent_probes: u32,
    last_words: String,
}

enum State {
    /// Its agent runs.
    Runs(Agent),
    /// It left as if told to; whether it was is being found out. Holds how it ended.
    Asks(String),
    /// It starts again then.
    Waits(Instant),
    /// It is not started again; `true` where its agent said that this would be of no use.
    Over(bool),
}

impl Supervisor {
    async fn work(
        &mut self,
        said: &mut mpsc::Receiver<Said>,
        found: &mut mpsc::UnboundedReceiver<Finding>,
        view: &mut View,
        signals: &mut Signals,
    ) -> anyhow::Result<()> {
        for node in (0..self.launch.num_nodes).map(NodeId) {
            let agent = Agent::start(&self.launch, &self.job, node, self.said.clone())?;
            self.nodes.insert(node, Kept::first(agent));
        }
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.nodes.values().any(|kept| !matches!(kept.state, State::Over(_))) {
            let due: OptionFuture<_> = self.next_start().map(|at| sleep_until(at.into())).into();
            let event = tokio::select! {
                Some(said) = said.recv() => Event::Said(said),
                Some(found) = found.recv() => Event::Found(found),
                signal = signals.next() => Event::Signal(signal),
                _ = ticks.tick() => Event::Tick,
                Some(()) = due => Event::Due,
            };
            if let Some(gap) = self.awake.look(Instant::now()) {
                self.forgive(gap);
            }
            match event {
                Event::Said(said) => self.hear(said, view)?,
                Event::Found(Finding::Probed(probed)) => self.on_probed(probed, view),
                Event::Found(Finding::Over(life, over)) => self.on_over(life, over, view)?,
                Event::Signal(signal) => self.ask_to_stop(signal, view),
                Event::Tick => self.tick(view),
                Event::Due => self.start_again()?,
            }
        }
        Ok(())
    }

    fn hear(&mut self, said: Said, view: &mut View) -> anyhow::Result<()> {
        match said {
            Said::Out(line) => {
                let parsed = Line::parse(&line);
                if let Some(Line::Progress { report, .. }) = &parsed
                    && self.furthest < Some(report.step)
                {
                    self.furthest = Some(report.step);
                    self.nodes.values_mut().for_each(|kept| kept.lives.run_gets_on());
                }
                view.on_line(parsed, &line);
            }
            Said::Err(node, line) => {
                view.on_agent_error(node, &line);
                if let Some(kept) = self.nodes.get_mut(&node) {
                    kept.last_words = line;
                }
            }
            Said::Left(node, status) => self.on_left(node, status, view)?,
        }
        Ok(())
    }

    fn on_left(&mut self, node: NodeId, status: Option<ExitStatus>, view: &View) -> anyhow::Result<()> {
        let Some(kept) = self.nodes.get_mut(&node) else { return Ok(()) };
        kept.state = State::Over(false);
        match status.and_then(|status| AgentExit::of(status.code()?)) {
            Some(AgentExit::RunOver | AgentExit::Usage) => kept.state = State::Over(true),
            Some(AgentExit::Done) => {}
            _ if self.stop.by.is_some() => {}
            // By the run's leader, or by somebody who knows nothing of the run.
            Some(AgentExit::Stopped) => {
                kept.state = State::Asks(how(status));
                let (dir, launch) = (self.dir.clone(), self.launch.id.clone());
                let (found, life) = (self.found.clone(), (node, kept.life));
                tokio::spawn(async move {
                    let newest = dir.newest_membership().await.ok().flatten();
                    let over = newest.is_some_and(|m| m.launch == launch && m.outcome().is_some());
                    let _ = found.send(Finding::Over(life, over));
                });
            }
            Some(AgentExit::Again) | None => self.again(node, &how(status), view)?,
        }
        Ok(())
    }

    fn on_over(&mut self, (node, life): Life, over: bool, view: &View) -> anyhow::Result<()> {
        let Some(kept) = self.nodes.get_mut(&node).filter(|kept| kept.life == life) else { return Ok(()) };
        let State::Asks(how) = &kept.state else { return Ok(()) };
        match over {
            true => kept.state = State::Over(false),
            false => {
                let how = how.clone();
                self.again(node, &how, view)?;
            }
        }
        Ok(())
    }

    fn again(&mut self, node: NodeId, how: &str, view: &View) -> anyhow::Result<()> {
        let Some(kept) = self.nodes.get_mut(&node) else { return Ok(()) };
        match kept.lives.ended(kept.started.elapsed()) {
            Next::Again(pause) => {
                view.on_agent_lost(node, how, pause);
                kept.state = State::Waits(Instant::now() + pause);
                Ok(())
            }
            Next::GiveUp(why) => {
                let words = if kept.last_words.is_empty() { "it said nothing" } else { &kept.last_words };
                anyhow::bail!("the agent of node {node} {why}: {words}")
            }
        }
    }

    fn next_start(&self) -> Option<Instant> {
        let at = |kept: &Kept| match kept.state {
            State::Waits(at) => Some(at),
            _ => None,
        };
        self.nodes.values().filter_map(at).min()
    }

    fn start_again(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        for (node, kept) in &mut self.nodes {
            if matches!(kept.state, State::Waits(at) if at <= now) {
                kept.state = State::Runs(Agent::start(&self.launch, &self.job, *node, self.said.clone())?);
                kept.life += 1;
                kept.started = now;
                kept.silent_probes = 0;
                kept.last_words.clear();
            }
        }
        Ok(())
    }

    /// First time: asks the agents to stop in order. Second time: kills them.
    fn ask_to_stop(&mut self, by: StopSignal, view: &View) {
        let again = self.stop.by.is_some();
        self.stop.by.get_or_insert(by);
        self.stop.since.get_or_insert_with(Instant::now);
        view.on_stop_asked(again);
        for kept in self.nodes.values_mut() {
            match &mut kept.state {
                State::Runs(agent) if again => agent.kill(),
                State::Runs(agent) => agent.terminate(by),
                State::Asks(_) | State::Waits(_) => kept.state = State::Over(false),
                State::Over(_) => {}
            }
        }
    }

    fn tick(&mut self, view: &View) {
        view.tick();
        let late = self.stop.since.is_some_and(|since| since.elapsed() > self.launch.grace + BEYOND_GRACE);
        for agent in self.nodes.values_mut().filter_map(Kept::agent).filter(|agent| late || agent.is_killed())
        {
            agent.kill();
        }
        if let Some(known) = self.known.take() {
            let runs = |(node, kept): (&NodeId, &mut Kept)| kept.agent().map(|_| *node).zip(Some(kept.life));
            let agents = self.nodes.iter_mut().filter_map(runs).collect();
            let (dir, found) = (self.dir.clone(), self.found.clone());
            tokio::spawn(async move {
                let _ = found.send(Finding::Probed(probe(dir, known, agents).await));
            });
        }
    }

    fn on_probed(&mut self, probed: Probed, view: &View) {
        self.known = Some(probed.known);
        if !self.awake.since(probed.since) {
            return;
        }
        for ((node, life), may_live) in probed.alive {
            let Some(kept) = self.nodes.get_mut(&node).filter(|kept| kept.life == life) else { continue };
            kept.silent_probes = if may_live { 0 } else { kept.silent_probes + 1 };
            let hangs = kept.silent_probes >= MAX_SILENT_PROBES;
            if let Some(agent) = kept.agent().filter(|agent| hangs && !agent.is_killed()) {
                view.on_agent_hung(node, ANSWER_DEADLINE * MAX_SILENT_PROBES);
                agent.kill();
            }
        }
    }

    /// What nobody could do while this process stood still is nobody's fault.
    fn forgive(&mut self, gap: Duration) {
        self.stop.since = self.stop.since.map(|since| since + gap);
        self.nodes.values_mut().for_each(|kept| kept.silent_probes = 0);
    }

    async fn kill_all(&mut self, said: &mut mpsc::Receiver<Said>) {
        let ended = async {
            while self.nodes.values_mut().any(|kept| kept.agent().is_some()) {
                self.nodes.values_mut().filter_map(Kept::agent).for_each(Agent::kill);
                if let Some(Said::Left(node, _)) = said.recv().await
                    && let Some(kept) = self.nodes.get_mut(&node)
                {
                    kept.state = State::Over(false);
                }
            }
        };
        let _ = tokio::time::timeout(END_DEADLINE, ended).await;
    }

    /// What the records say. After another signal nobody wants to wait for them, but a store that answers is heard: whether the
    /// run is done is the exit code.
    async fn ended(&self, signals: &mut Signals) -> anyhow::Result<Ended> {
        let mut newest = pin!(self.dir.newest_membership());
        let mut stopped_by = self.stop.by;
        let newest = tokio::select! {
            newest = &mut newest => newest,
            signal = signals.next() => {
                stopped_by = stopped_by.or(Some(signal));
                match tokio::time::timeout(LAST_ANSWER, newest).await {
                    Ok(newest) => newest,
                    Err(_) => return Ok(Ended { outcome: None, stopped_by }),
                }
            }
        };
        let ours = newest.as_ref().ok().and_then(Option::as_ref).filter(|m| m.launch == self.launch.id);
        let outcome = ours.and_then(|m| m.outcome().cloned());
        let never = |kept: &Kept| matches!(kept.state, State::Over(true)) && !kept.last_words.is_empty();
        if let (None, Some((node, kept))) = (&outcome, self.nodes.iter().find(|(_, kept)| never(kept))) {
            anyhow::bail!("node {node} can't start: {}", kept.last_words);
        }
        newest.context("can't read how the run ended")?;
        Ok(Ended { outcome, stopped_by })
    }
}

impl Kept {
    fn first(agent: Agent) -> Self {
        Self {
            state: State::Runs(agent),
            life: 0,
            started: Instant::now(),
            lives: Lives::default(),
            silent_probes: 0,
            last_words: String::new(),
        }
    }

    fn agent(&mut self) -> Option<&mut Agent> {
        match &mut self.state {
            State::Runs(agent) => Some(agent),
            _ => None,
        }
    }
}

struct Stop {
    by: Option<StopSignal>,
    since: Option<Instant>,
}

/// The binary `name` beside this one.
///
/// # Errors
/// Where it isn't there; the message says where it was looked for.
pub(crate) fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe().context("can't find this program's own file")?.with_file_name(name);
    if !path.exists() {
        anyhow::bail!(
            "{} is not there; the three binaries lockstep, lockstep-agent and lockstep-worker must be in one folder",
            path.display()
        );
    }
    Ok(path)
}
