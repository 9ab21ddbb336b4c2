//! This node's worker processes of one generation.

mod env;
mod log;
mod memory;
mod process;
mod sockets;
mod strays;

pub use env::Contract;
pub use process::{Heard, Program, Worker};
pub use sockets::private_folder;
pub use strays::adopt;
pub(crate) use strays::children;

use crate::report::Reporter;
use lockstep_run::link::{AgentMsg, Start};
use lockstep_run::{Generation, Rank};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;

/// Workers between two generations. Dropping it kills them.
#[derive(Debug, Default)]
pub struct Kept(BTreeMap<Rank, Worker>);

impl Kept {
    /// Whose they are.
    pub fn ranks(&self) -> Vec<Rank> {
        self.0.keys().copied().collect()
    }
}

/// All workers of the node. Dropping it kills them.
#[derive(Debug)]
pub struct Workers {
    generation: Generation,
    /// Workers of all nodes.
    world_size: u32,
    by_rank: BTreeMap<Rank, Worker>,
}

impl Workers {
    /// Starts one worker for each `starts`, or lets one of `kept` go on that waits for it; what they say and how they end goes to
    /// `heard`, what they print to `reporter`.
    ///
    /// # Errors
    /// Where the program can't be started at all; the message names it. Workers that did start are killed.
    pub fn start(
        program: &Program,
        starts: Vec<(Start, Contract)>,
        mut kept: Kept,
        sockets: &Path,
        heard: &mpsc::Sender<Heard>,
        reporter: &Reporter,
    ) -> anyhow::Result<Self> {
        let mut workers = Self { generation: Generation(0), world_size: 0, by_rank: BTreeMap::new() };
        for (start, contract) in starts {
            (workers.generation, workers.world_size) = (start.generation, start.world_size);
            let rank = start.rank;
            let worker = match kept.0.remove(&rank).filter(Worker::waits) {
                Some(worker) => {
                    worker.begin(start);
                    worker
                }
                None => Worker::start(program, start, &contract, sockets, heard.clone(), reporter)?,
            };
            workers.by_rank.insert(rank, worker);
        }
        Ok(workers)
    }

    /// The generation that they belong to.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// How many they are.
    pub fn num_here(&self) -> usize {
        self.by_rank.len()
    }

    /// How many there are on all nodes.
    pub fn num_in_all(&self) -> u32 {
        self.world_size
    }

    /// Sends to every worker.
    pub fn send_all(&self, message: &AgentMsg) {
        self.by_rank.values().for_each(|w| w.send(message.clone()));
    }

    /// Sends to one worker.
    pub fn send(&self, rank: Rank, message: AgentMsg) {
        if let Some(worker) = self.by_rank.get(&rank) {
            worker.send(message);
        }
    }

    /// Kills one worker and everything that it started.
    pub fn kill(&self, rank: Rank) {
        if let Some(worker) = self.by_rank.get(&rank) {
            worker.kill();
        }
    }

    /// Lets one worker and everything that it started stand still.
    pub fn stop(&self, rank: Rank) {
        if let Some(worker) = self.by_rank.get(&rank) {
            worker.stop();
        }
    }

    /// Ends the workers' parts in their generation, and waits for that. Who takes longer than `patience` is killed; the others wait
    /// for the next generation.
    pub async fn revoke(self, patience: Duration) -> Kept {
        let all = futures::future::join_all(self.by_rank.values().map(Worker::revoke));
        let _ = tokio::time::timeout(patience, all).await;
        let (kept, ended): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.by_rank.into_iter().partition(|(_, worker)| worker.waits());
        ended.values().for_each(Worker::kill);
        futures::future::join_all(ended.values().map(Worker::gone)).await;
        let known: Vec<_> = kept.values().map(Worker::pid).collect();
        strays::end_all(&known).await;
        Kept(kept)
    }

    /// Ends all workers and waits until none lives. Where `grace` is given they get SIGTERM and that long first.
    pub async fn end(self, grace: Option<Duration>) {
        if let Some(grace) = grace {
            self.by_rank.values().for_each(Worker::terminate);
            let all = futures::future::join_all(self.by_rank.values().map(Worker::gone));
            let _ = tokio::time::timeout(grace, all).await;
        }
        self.by_rank.values().for_each(Worker::kill);
        futures::future::join_all(self.by_rank.values().map(Worker::gone)).await;
        strays::end_all(&[]).await;
    }

    /// Whether some worker, a user's own command, has got on since this was last asked.
    pub fn get_on(&mut self) -> bool {
        // Each is asked, so that none counts twice.
        self.by_rank.values_mut().filter_map(|worker| worker.gets_on().then_some(())).count() > 0
    }

    /// Reaps what workers started and left behind, where it has ended.
    pub fn reap_strays(&self) {
        let known: Vec<_> = self.by_rank.values().map(Worker::pid).collect();
        strays::reap(&known);
    }
}
