//! GPUs that workers compute on: what each node's helper tells goes to the leader, which `status` asks.

use super::Driver;
use crate::gpus::{Changes, GpuTime, Helper, Over, Said};
use crate::install::GPU_PROGRAM;
use crate::machine::Time;
use crate::wire::MemberMsg;
use lockstep_run::segment::EventKind;
use lockstep_run::{Generation, Gpu, GpuOfNode, GpuUuid, Line, Membership, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Figures that weren't renewed for so long are no longer shown.
const STALE_AFTER: Duration = Duration::from_secs(60);
/// The leader's log tells of all GPUs this often: a cluster's `status` reads it.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// What this agent knows of GPUs.
#[derive(Debug, Default)]
pub(super) struct Gpus {
    watched: Watched,
    /// What this node's workers said that they compute on, and how many spoke.
    taken: (Vec<GpuUuid>, usize),
    changes: Changes,
    time: GpuTime,
    /// The generation whose workers this agent last ran: that one's time it has counted.
    counted: Option<Generation>,
    /// To the leader: the newest word of every node, and when it came.
    of_nodes: BTreeMap<NodeId, (Time, Vec<Gpu>)>,
    /// When the log last told of how many nodes.
    logged: Option<(Time, usize)>,
}

#[derive(Debug, Default)]
enum Watched {
    #[default]
    No,
    By(Helper),
    /// A helper failed: the next one would, too.
    NeverAgain,
}

impl Gpus {
    /// GPU-seconds of the run, if this agent counted those of `generation`.
    pub(super) fn counted(&self, now: Time) -> Option<(Generation, Option<f64>)> {
        Some((self.counted?, self.time.seconds(now)))
    }

    /// GPU-seconds of the run up to now; none where it has used no GPU.
    pub(super) fn seconds(&self, now: Time) -> Option<f64> {
        self.time.seconds(now)
    }

    /// The newest figures of every node.
    pub(super) fn of_nodes(&self, now: Time) -> BTreeMap<NodeId, Vec<Gpu>> {
        let fresh = self.of_nodes.iter().filter(|(_, (at, _))| now.saturating_sub(*at) < STALE_AFTER);
        fresh.map(|(node, (_, gpus))| (*node, gpus.clone())).collect()
    }

    /// Workers end: what watches their GPUs does, too.
    pub(super) fn stop(&mut self, now: Time) {
        self.time.stop(now);
        self.of_nodes.clear();
        if matches!(self.watched, Watched::By(_)) {
            self.watched = Watched::No;
        }
    }
}

impl Driver {
    /// A generation's workers are about to start here. A command doesn't say what it computes on; in a pod that was promised GPUs
    /// it is all of them.
    pub(super) fn begin_gpus(&mut self, record: &Membership) {
        let gpus = &mut self.gpus;
        gpus.time = GpuTime::after(record.gpu_seconds);
        (gpus.taken, gpus.counted, gpus.logged) = (Default::default(), Some(record.generation), None);
        gpus.of_nodes.clear();
        let promised = self.facts.args.gpus;
        if !self.facts.program.speaks && promised > 0 {
            let all = promised.saturating_mul(record.members().len() as u32);
            self.gpus.time.start(self.now(), all);
            self.watch_gpus();
        }
    }

    /// A worker of this node computes on a GPU, as all do then; `gpu` is none where the driver doesn't name it.
    pub(super) fn on_computes(&mut self, generation: Generation, gpu: Option<GpuUuid>) {
        let workers = self.workers.as_ref().filter(|workers| workers.generation() == generation);
        let Some((here, in_all)) = workers.map(|workers| (workers.num_here(), workers.num_in_all())) else {
            return;
        };
        self.gpus.time.start(self.now(), in_all);
        let (taken, spoke) = &mut self.gpus.taken;
        taken.extend(gpu);
        *spoke += 1;
        if *spoke == here && !taken.is_empty() {
            self.watch_gpus();
        }
    }

    fn watch_gpus(&mut self) {
        let Watched::No = self.gpus.watched else { return };
        let Ok(agent) = std::env::current_exe() else { return };
        let program = agent.with_file_name(GPU_PROGRAM);
        match Helper::start(&program, &self.gpus.taken.0, self.reporter.handle()) {
            Ok(helper) => self.gpus.watched = Watched::By(helper),
            Err(over) => self.give_up_gpus(over),
        }
    }

    fn give_up_gpus(&mut self, over: Over) {
        self.gpus.watched = Watched::NeverAgain;
        match over {
            Over::Missing(why) => tracing::debug!(%why, "the GPUs of this node aren't watched"),
            Over::Broke(why) => {
                let text =
                    format!("the GPUs of node {} aren't watched any more: lockstep-gpu: {why}", self.me());
                self.reporter.event(self.live.generation, EventKind::Warning, text);
            }
        }
    }

    /// Passes on what the helper has said.
    pub(super) fn look_at_gpus(&mut self) {
        let (now, me) = (self.now(), self.me());
        let Watched::By(helper) = &mut self.gpus.watched else { return self.log_gpus(now) };
        match helper.news() {
            Some(Said::Gpus(gpus)) => {
                let generation = self.live.generation;
                for text in self.gpus.changes.take(now, me, &gpus) {
                    self.reporter.event(generation, EventKind::Gpu, text);
                }
                match self.machine.leader() == Some(me) {
                    true => self.on_gpus(generation, me, gpus),
                    false => self.to_leader(MemberMsg::Gpus { generation, gpus }),
                }
            }
            Some(Said::Over(over)) => self.give_up_gpus(over),
            Some(Said::Nothing) | None => {}
        }
        self.log_gpus(now);
    }

    /// To the leader: what a node's GPUs do.
    pub(super) fn on_gpus(&mut self, generation: Generation, node: NodeId, gpus: Vec<Gpu>) {
        if self.machine.leads() == Some(generation) {
            self.gpus.of_nodes.insert(node, (self.now(), gpus));
        }
    }

    fn log_gpus(&mut self, now: Time) {
        let (Some(generation), Some(gpu_seconds)) = (self.machine.leads(), self.gpus.seconds(now)) else {
            return;
        };
        let known = self.gpus.of_nodes.len();
        let due = |(at, told)| known > told || now.saturating_sub(at) >= LOG_EVERY;
        if self.workers.is_none() || known == 0 || !self.gpus.logged.is_none_or(due) {
            return;
        }
        self.gpus.logged = Some((now, known));
        let gpus = GpuOfNode::all(&self.gpus.of_nodes(now));
        self.reporter.gpus(Line::Gpus { generation, gpu_seconds, gpus });
    }
}
