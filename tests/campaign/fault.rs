//! What happens to a run.

use lockstep_e2e::Launched;
use rustix::process::Signal;

/// A fault. Ranks and nodes are the same here: each node has one worker. An agent that stands still isn't among them: its worker trains
/// on until it is missed, and may come to the end of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    KillWorker(usize),
    KillAgent(usize),
    /// One node's worker and the next one's agent, at once.
    KillWorkerAndAgent(usize),
    KillAllWorkers,
    KillAllAgents,
    /// It stands still, and is missed.
    StopWorker(usize),
    /// A node's agent is told to leave, as by a drain.
    Drain(usize),
    /// Launcher and all: the next launch carries on.
    KillEverything,
}

impl Fault {
    /// One of the faults, for a run of so many nodes.
    pub fn draw(nodes: usize, mut below: impl FnMut(usize) -> usize) -> Self {
        let node = below(nodes);
        match below(16) {
            0..5 => Self::KillWorker(node),
            5..8 => Self::KillAgent(node),
            8 => Self::KillWorkerAndAgent(node),
            9 => Self::KillAllWorkers,
            10 => Self::KillAllAgents,
            11..14 => Self::StopWorker(node),
            14 => Self::Drain(node),
            _ => Self::KillEverything,
        }
    }

    /// Whether the worker of some node outlives it, of so many nodes.
    pub fn is_survived(self, nodes: usize) -> bool {
        match self {
            Self::KillWorker(_) | Self::KillAgent(_) | Self::StopWorker(_) | Self::Drain(_) => true,
            Self::KillWorkerAndAgent(_) => nodes > 2,
            Self::KillAllWorkers | Self::KillAllAgents | Self::KillEverything => false,
        }
    }

    /// Strikes a run of so many nodes, all of whose processes live. Not for [`Fault::KillEverything`].
    pub fn strike(self, run: &Launched, nodes: usize) {
        let agents = run.processes("lockstep-agent", nodes);
        let workers = run.processes("lockstep-worker", nodes);
        let signal = |pid: i32, signal| run.signal_descendant(pid, signal);
        match self {
            Self::KillWorker(node) => signal(workers[node], Signal::KILL),
            Self::KillAgent(node) => signal(agents[node], Signal::KILL),
            Self::KillWorkerAndAgent(node) => {
                let other = (node + 1) % nodes;
                let of_other = |worker: &&i32| parent(**worker) == Some(agents[other]);
                let spared = workers.iter().find(of_other).copied();
                let victim = workers.iter().find(|worker| Some(**worker) != spared);
                victim.iter().for_each(|worker| signal(**worker, Signal::KILL));
                signal(agents[other], Signal::KILL);
            }
            Self::KillAllWorkers => workers.iter().for_each(|worker| signal(*worker, Signal::KILL)),
            Self::KillAllAgents => agents.iter().for_each(|agent| signal(*agent, Signal::KILL)),
            Self::StopWorker(node) => signal(workers[node], Signal::STOP),
            Self::Drain(node) => signal(agents[node], Signal::TERM),
            Self::KillEverything => unreachable!("whoever owns the run does that"),
        }
    }
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
