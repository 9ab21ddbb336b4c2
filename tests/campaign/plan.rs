//! What a seed means.

use crate::fault::Fault;
use std::fmt;

/// Steps between two faults at least: enough for the run to get beyond what it did before.
const APART: u64 = 300;

/// A run and its faults, each at the first step from this one on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub job: Job,
    pub faults: Vec<(u64, Fault)>,
}

/// What is trained. Few jobs, so that each is run once without faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job {
    pub nodes: usize,
    pub optimizer: &'static str,
    /// Steps from one checkpoint to the next; none is written before the end where it is above all steps.
    pub checkpoint_every: u64,
    pub steps: u64,
}

impl Job {
    /// Options of `launch`.
    pub fn options(self) -> String {
        let Self { nodes, optimizer, checkpoint_every, steps } = self;
        format!(
            "--set nodes={nodes} --set train.steps={steps} --set model.hidden=[16] --set train.globalBatch=24 \
             --set optimizer.kind={optimizer} --set checkpoint.every={checkpoint_every}steps --set log.every=1steps"
        )
    }
}

impl Plan {
    /// The same for the same seed.
    pub fn draw(seed: u64) -> Self {
        let mut state = seed;
        let mut below = |most: usize| (splitmix(&mut state) % most as u64) as usize;
        let nodes = [2, 2, 3, 4][below(4)];
        let checkpoint_every = [200, 1_000_000][below(2)];
        let num_faults = 3 + below(4) as u64;
        let steps = (num_faults + 1) * 2 * APART;
        let job = Job { nodes, optimizer: "adamw", checkpoint_every, steps };
        let fault = |number| {
            let at = number * 2 * APART + APART + below(APART as usize) as u64;
            (at, Fault::draw(nodes, &mut below))
        };
        Self { seed, job, faults: (0..num_faults).map(fault).collect() }
    }

    /// Whether some worker outlives each fault: then nothing is ever lost.
    pub fn is_survived(&self) -> bool {
        self.faults.iter().all(|(_, fault)| fault.is_survived(self.job.nodes))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Job { nodes, checkpoint_every, steps, .. } = self.job;
        write!(
            f,
            "seed {}: {nodes} nodes, {steps} steps, a checkpoint every {checkpoint_every};",
            self.seed
        )?;
        self.faults.iter().try_for_each(|(at, fault)| write!(f, " {at} {fault:?}"))
    }
}

/// splitmix64, by Vigna.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
