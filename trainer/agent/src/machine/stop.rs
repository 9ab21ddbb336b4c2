use lockstep_run::{Rank, Step};
use std::collections::BTreeMap;

/// Finds the step after which every rank stops, exactly the same one.
///
/// Ranks first promise not to go on (`HoldAt`), then hear the step (`StopAt`). A rank that was already further holds
/// where it is and says so; since collectives keep replicas within one step of each other, the second ask settles it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// Waiting for promises.
    Holding { ask: u64, step: Step, held: BTreeMap<Rank, Step> },
    /// Agreed.
    At(Step),
}

impl Stop {
    /// First ask: hold after the step that is under way.
    pub(super) fn begin(newest: Step) -> Self {
        Self::Holding { ask: 1, step: newest.next(), held: BTreeMap::new() }
    }

    /// Takes one answer. Returns true where there is something new to tell the ranks.
    pub(super) fn on_held(&mut self, rank: Rank, ask: u64, started: Step, num_ranks: usize) -> bool {
        let Self::Holding { ask: current, step, held } = self else { return false };
        if ask != *current {
            return false;
        }
        held.insert(rank, started);
        if held.len() < num_ranks {
            return false;
        }
        let furthest = held.values().copied().max().unwrap_or_default();
        *self = match furthest <= *step {
            true => Self::At(*step),
            false => Self::Holding { ask: ask + 1, step: furthest, held: BTreeMap::new() },
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A rank as the protocol sees it: it may start steps up to its limit.
    struct RankSim {
        started: u64,
        limit: u64,
    }

    proptest! {
        /// Whatever the heartbeats lag behind and however far ranks run between asks: one step, in two asks.
        #[test]
        fn every_rank_stops_at_one_step(known in 0u64..1000, base in 0u64..1000, ahead in prop::collection::vec(0u64..2, 1..9), run in 0u64..500) {
            let num = ahead.len();
            let mut ranks: Vec<_> = ahead.iter().map(|a| RankSim { started: base + a, limit: u64::MAX }).collect();
            let mut stop = Stop::begin(Step(known));
            let mut asks = 0;
            while let Stop::Holding { ask, step, .. } = stop.clone() {
                asks += 1;
                prop_assert!(asks <= 2, "did not settle");
                for i in 0..num {
                    // Between two answers the others run on, but never past a held rank by more than one step.
                    let floor = ranks.iter().map(|r| if r.limit == u64::MAX { u64::MAX } else { r.limit + 1 }).min().unwrap_or(u64::MAX);
                    for r in ranks.iter_mut() {
                        let to = (r.started + run).min(r.limit).min(floor);
                        r.started = r.started.max(to);
                    }
                    let r = &mut ranks[i];
                    r.limit = step.0.max(r.started);
                    stop.on_held(Rank(i as u32), ask, Step(r.started), num);
                }
            }
            let Stop::At(step) = stop else { unreachable!() };
            prop_assert!(ranks.iter().all(|r| r.started <= step.0 && r.limit <= step.0));
        }
    }

    #[test]
    fn answers_to_an_older_ask_are_ignored() {
        let mut stop = Stop::begin(Step(4));
        assert!(!stop.on_held(Rank(0), 1, Step(9), 2));
        assert!(stop.on_held(Rank(1), 1, Step(8), 2));
        assert_eq!(stop, Stop::Holding { ask: 2, step: Step(9), held: BTreeMap::new() });
        assert!(!stop.on_held(Rank(0), 1, Step(9), 2));
        assert!(!stop.on_held(Rank(0), 2, Step(9), 2));
        assert!(stop.on_held(Rank(1), 2, Step(9), 2));
        assert_eq!(stop, Stop::At(Step(9)));
    }
}
