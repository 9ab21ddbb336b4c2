//! Shows a run on a cluster until its end: what its objects tell, and what its agents say.

use super::Cluster;
use super::lasting::{Waits, due};
use super::objects::{deaths, died, how_it_died, how_it_ended, is_over, pulled, succeeded};
use super::pod_logs::{Followers, LogLine, LogWish};
use super::story::{End, Situation, lasting, newest_pods, tell};
use super::wait::Wait;
use super::watch::{Change, Scene, watch};
use crate::signals::{Signals, StopSignal};
use crate::view::View;
use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use lockstep_run::Line;
use lockstep_run::segment::EventKind;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// How long the last lines may take to arrive once the Job has ended.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// How often waits and deadlines are looked at.
const TICK: Duration = Duration::from_millis(250);

/// How long following goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How long the pods may take to run for the first time; none where somebody else has launched the run.
    pub(crate) start: Option<Duration>,
    /// When the user typed the command; none where somebody else has launched the run.
    pub(crate) launched: Option<Instant>,
    /// Whether the first step is enough.
    pub(crate) until_first_step: bool,
    /// How much of the past is shown.
    pub(crate) past: LogWish,
}

/// Why following ended.
#[derive(Debug)]
pub(crate) enum Followed {
    /// The run ended.
    Ended(Ended),
    /// The first step is done, and that was all that was asked for.
    FirstStep,
    /// This process was told to stop; the run goes on.
    Left(StopSignal),
}

/// How a run on a cluster ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its Job did.
    Job(End),
    /// Its pods were not all running in time, for these reasons, each of which has lasted so long.
    NotStarted(Vec<(Wait, Duration)>),
}

/// Shows the run called `name` until it ends, or until a signal that stops this process. Tells also how long after the user typed
/// the command its first step was done, where that was seen.
///
/// # Errors
/// Where the cluster doesn't let this user look.
pub(crate) async fn follow(
    cluster: &Cluster,
    name: &str,
    view: &mut View,
    patience: Patience,
    signals: &mut Signals,
) -> anyhow::Result<(Followed, Option<Duration>)> {
    let mut changes = watch(cluster, name);
    let (lines_in, mut lines) = mpsc::channel(1024);
    let mut show = Show::new(name);
    let mut logs = Followers::new(cluster, patience.past, lines_in);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut over: Option<(End, Instant)> = None;
    let followed = loop {
        tokio::select! {
            Some(change) = changes.next() => {
                show.change(change, view)?;
                logs.keep_up(name, &show.scene);
                if let (Some(end), None) = (&show.situation.end, &over) {
                    over = Some((end.clone(), Instant::now()));
                }
            }
            Some(line) = lines.recv() => {
                if show.line(&line, view, patience.launched) && patience.until_first_step {
                    break Followed::FirstStep;
                }
            }
            () = logs.one_ended() => {}
            _ = ticks.tick() => {
                view.tick();
                if show.scene.jobs.is_known() {
                    show.look(view);
                }
                show.say_waits(view);
                let late = patience.start.is_some_and(|most| !show.all_started && show.since.elapsed() > most);
                if late && over.is_none() {
                    break Followed::Ended(Ended::NotStarted(show.waits.lasted(Instant::now())));
                }
            }
            signal = signals.next() => break Followed::Left(signal),
        }
        if let Some((end, since)) = &over
            && (since.elapsed() > DRAIN_DEADLINE || (logs.all_ended() && lines.is_empty()))
        {
            break Followed::Ended(Ended::Job(end.clone()));
        }
    };
    Ok((followed, show.first_step))
}

/// What was shown so far.
struct Show<'a> {
    name: &'a str,
    scene: Scene,
    situation: Situation,
    since: Instant,
    admitted: bool,
    all_scheduled: bool,
    all_started: bool,
    formed: bool,
    first_step: Option<Duration>,
    told: BTreeSet<String>,
    /// How often each pod's agent had died when that was last looked at.
    deaths: BTreeMap<String, i32>,
    waits: Waits,
    trouble: Option<(String, Instant, Option<Duration>)>,
}

impl<'a> Show<'a> {
    fn new(name: &'a str) -> Self {
        Self {
            name,
            scene: Scene::default(),
            situation: Situation::default(),
            since: Instant::now(),
            admitted: false,
            all_scheduled: false,
            all_started: false,
            formed: false,
            first_step: None,
            told: BTreeSet::new(),
            deaths: BTreeMap::new(),
            waits: Waits::default(),
            trouble: None,
        }
    }

    fn change(&mut self, change: Change, view: &View) -> anyhow::Result<()> {
        match change {
            Change::Refused(why) => anyhow::bail!("can't watch run {}: {why}; the run goes on", self.name),
            Change::Trouble(why) => {
                let (at, said) =
                    self.trouble.take().map_or((Instant::now(), None), |(_, at, said)| (at, said));
                self.trouble = Some((why, at, said));
                return Ok(());
            }
            Change::Notice(ref notice) => {
                use kube::runtime::watcher::Event::Apply;
                if let Apply(notice) = notice.as_ref()
                    && super::watch::concerns(notice, self.name)
                    && let Some(text) = pulled(notice)
                    && self.told.insert(text.clone())
                {
                    view.on_phase("pulled", &text);
                }
                self.trouble = None;
            }
            Change::Job(_) | Change::Pod(_) => self.trouble = None,
        }
        self.scene.take(self.name, change);
        self.look(view);
        Ok(())
    }

    /// Says what is new. Also without a change: what should be gone by now is known by the time alone.
    fn look(&mut self, view: &View) {
        self.situation = tell(&self.scene, Timestamp::now());
        self.say_phases(view);
        self.say_losses(view);
        self.waits.take(Instant::now(), &self.situation.waits);
    }

    /// Shows a line; true where it tells of the first step or, to who attaches later, of another. No agent knows when the user
    /// typed the command.
    fn line(&mut self, line: &LogLine, view: &mut View, launched: Option<Instant>) -> bool {
        let mut parsed = Line::parse(&line.text);
        let kind = match &parsed {
            Some(Line::Event(event)) => Some(event.kind),
            _ => None,
        };
        let is_formed = kind == Some(EventKind::Formed) && !self.formed;
        self.formed |= is_formed;
        let first_step = kind == Some(EventKind::FirstStep);
        if let (Some(Line::Event(event)), Some(launched)) = (&mut parsed, launched) {
            if first_step {
                let took = launched.elapsed();
                event.text = format!("first step {:.2} s after launch", took.as_secs_f64());
                self.first_step = Some(took);
            } else if is_formed {
                event.text += &format!("  {}", lasting(launched.elapsed()));
            }
        }
        let stepped = first_step || matches!(parsed, Some(Line::Progress { .. }));
        view.on_line(parsed, &line.text);
        stepped
    }

    fn say_phases(&mut self, view: &View) {
        let Situation { nodes, scheduled, started, ref admitted, .. } = self.situation;
        let took = lasting(self.since.elapsed());
        // A queue that drives the job away again admits it another time.
        if let (Some(queue), false) = (admitted, self.admitted) {
            view.on_phase("admitted", &format!("by queue {queue}  {took}"));
        }
        self.admitted = admitted.is_some();
        if nodes > 0 && scheduled == nodes && !self.all_scheduled {
            self.all_scheduled = true;
            view.on_phase("scheduled", &format!("{nodes} of {nodes} pods  {took}"));
        }
        if nodes > 0 && started == nodes && !self.all_started {
            self.all_started = true;
            view.on_phase("started", &format!("{nodes} of {nodes} pods  {took}"));
        }
    }

    /// Names each pod once that is told to leave or has ended, and each death of an agent that comes back, while the run goes on.
    fn say_losses(&mut self, view: &View) {
        if self.situation.end.is_some() || self.situation.waits.contains(&Wait::Suspended) {
            return;
        }
        let pods = newest_pods(&self.scene);
        // The run is done, and the Job is about to take the others away.
        if pods.values().any(|pod| succeeded(pod)) {
            return;
        }
        for (node, pod) in pods {
            let name = pod.name_any();
            let (now, known) = (deaths(pod), self.deaths.insert(name.clone(), deaths(pod)));
            // Of a pod that is new to who follows, only what isn't over is news.
            if now > known.unwrap_or(now - i32::from(died(pod).is_some())) {
                let how = how_it_died(pod);
                let text = format!("node {node}: the agent of pod {name} {how}; it comes back in its pod");
                view.on_trouble("lost", &text);
            }
            if is_over(pod) {
                if self.told.insert(format!("{name} is over")) {
                    view.on_trouble("lost", &format!("node {node}: pod {name} {}", how_it_ended(pod)));
                }
            } else if pod.metadata.deletion_timestamp.is_some() && self.told.insert(format!("{name} leaves"))
            {
                view.on_trouble("leaving", &format!("node {node}: pod {name} is told to leave"));
            }
        }
    }

    fn say_waits(&mut self, view: &View) {
        for (wait, lasted) in self.waits.due(Instant::now()) {
            let fix = wait.fix(self.name).map_or(String::new(), |fix| format!("\n    fix: {fix}"));
            view.on_trouble("waiting", &format!("{}: {wait}{fix}", lasting(lasted)));
        }
        if let Some((why, since, said)) = &mut self.trouble
            && due(since.elapsed(), said)
        {
            let lasted = lasting(since.elapsed());
            let text = format!("{lasted}: the cluster doesn't answer: {why}; the run goes on meanwhile");
            view.on_trouble("waiting", &text);
        }
    }
}
