//! `rng.safetensors`: the state of each rank's default generator at the start of the step that comes next.
//!
//! It is a pure function of seed, step and rank, so any rank can write all of it, whatever the world size. It is kept to
//! be checked: a libtorch whose generator works otherwise would go on with other numbers and never say so.

use super::tensors::{HostTensor, HostTensors, TensorFile};
use super::{RNG, State};
use crate::seed::{Stream, seed_of};
use crate::{Error, Result};
use lockstep_run::{Rank, Step};
use tch::Tensor;

/// States of all ranks' generators at the start of the step after `done`.
pub(crate) fn states(seed: u64, done: Step, world_size: u32) -> Result<HostTensors> {
    let state = |rank| Ok((name(rank), HostTensor::copy_of(&state_of(seed, done, rank)?)?));
    (0..world_size).map(|rank| state(Rank(rank))).collect()
}

/// Refuses a checkpoint whose generators are not what this libtorch makes of the same seed.
pub(crate) fn check(file: &TensorFile<'_>, state: &State) -> Result<()> {
    for rank in (0..state.world_size).map(Rank) {
        if !file.read(&name(rank))?.f_equal(&state_of(state.seed, state.step, rank)?)? {
            let libtorch = &state.versions.libtorch;
            let reason = format!(
                "the generator of rank {rank} is in another state than this libtorch gives to seed {}; it was written \
                 with libtorch {libtorch}",
                state.seed
            );
            return Err(Error::state(RNG, reason));
        }
    }
    Ok(())
}

fn name(rank: Rank) -> String {
    format!("cpu.rank{:05}", rank.0)
}

fn state_of(seed: u64, done: Step, rank: Rank) -> Result<Tensor> {
    Ok(lockstep_c10d::rng::state_of(seed_of(seed, Stream::Step(done.next(), rank)))?)
}
