//! What a worker trains, reduced to what matters to the protocol: how many steps it has seen, and a number that only the same
//! steps over the same samples lead to.

use super::random::mix;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// As the seed makes it.
    Initial,
    Held(State),
    /// Being overwritten, or torn: nobody may take it for anything.
    Unknown,
}

/// A trained state: the parameters as a chain over steps and samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) step: u64,
    pub(crate) bits: u64,
}

impl State {
    pub(super) const INITIAL: Self = Self { step: 0, bits: 1 };

    /// After one more step, whose gradient is the sum over all ranks.
    pub(super) fn after(self, gradient: u64) -> Self {
        Self { step: self.step + 1, bits: mix(self.bits ^ mix(gradient)) }
    }

    /// After one more step of a run that nothing disturbs.
    pub(super) fn next(self, world_size: u64) -> Self {
        let step = self.step + 1;
        self.after((0..world_size).map(|rank| share(step, rank)).fold(0, u64::wrapping_add))
    }
}

/// What a rank's samples of a step add to the gradient.
pub(super) fn share(step: u64, rank: u64) -> u64 {
    mix((step << 20) | rank)
}
