//! Where each random bit of a run comes from: pure functions of the run's seed, the step and the rank.
//!
//! The default generator of a rank is seeded anew at the start of every step, so what a step draws (dropout masks,
//! augmentation) depends on nothing that happened before. That is why a resumed run draws the same numbers.

use lockstep_run::{Rank, Step};

/// Names the scheme. A change of the formula below is a change of this text, so that no two versions mix their streams.
const CONTEXT: &str = "lockstep 2026 seed of a step v1";

/// What a stream of random numbers is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Initial parameters: the same on every rank.
    Init,
    /// All that one rank draws while it computes the step that ends in this [`Step`].
    Step(Step, Rank),
}

/// Seed of one stream: the first eight bytes, little-endian, of BLAKE3 in key-derivation mode over
/// `seed | step | rank + 1` as little-endian `u64`s; [`Stream::Init`] is step 0, rank field 0.
///
/// ```text
/// seed_of(s, Step(t, r)) = le_u64(blake3.derive_key("lockstep 2026 seed of a step v1", s | t | r + 1)[0..8])
/// ```
pub(crate) fn seed_of(seed: u64, stream: Stream) -> u64 {
    let (step, rank) = match stream {
        Stream::Init => (0, 0),
        Stream::Step(step, rank) => (step.0, u64::from(rank.0) + 1),
    };
    let mut material = [0; 24];
    for (field, value) in material.chunks_exact_mut(8).zip([seed, step, rank]) {
        field.copy_from_slice(&value.to_le_bytes());
    }
    let key = blake3::derive_key(CONTEXT, &material);
    let [a, b, c, d, e, f, g, h, ..] = key;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn streams_do_not_collide() {
        let mut seen = BTreeSet::new();
        for seed in 0..4 {
            assert!(seen.insert(seed_of(seed, Stream::Init)));
            for step in 0..100 {
                for rank in 0..8 {
                    assert!(
                        seen.insert(seed_of(seed, Stream::Step(Step(step), Rank(rank)))),
                        "{seed} {step} {rank}"
                    );
                }
            }
        }
    }

    /// A change here breaks the resumption of every run that exists.
    #[test]
    fn the_formula_is_frozen() {
        let seeds = [Stream::Init, Stream::Step(Step(1), Rank(0)), Stream::Step(Step(1), Rank(1))]
            .map(|s| seed_of(7, s));
        assert_eq!(seeds, [6579771151929737062, 17960803202365745206, 16144046078058119960]);
    }
}
