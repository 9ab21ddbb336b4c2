//! State that is still in memory: what survivors of a generation hold, newcomers get from them.

use crate::checkpoint::Held;
use crate::rank::{Replica, World, replicas};
use crate::{Error, Result};
use lockstep_c10d::Store;
use lockstep_run::{Rank, Step, newest_state};
use std::sync::Arc;
use std::time::Duration;

/// Where the rank that hands its state on says what it is.
const KEY: &str = "lockstep/live";
const HANDING_ON: &str = "handing the state on";

/// Brings all ranks to the newest state that one of them holds, and says which rank's that is; none where nobody holds any that is as new
/// as the checkpoint of step `saved`.
///
/// Who holds the newest one has seen the sum of the last step's gradients, so that step is done. The others take its tensors, whatever
/// theirs are, and all compare what they have then.
///
/// Collective: all ranks, before their first step in the generation.
pub(crate) fn take_up(
    world: &World,
    replica: &mut Replica,
    saved: Option<Step>,
    store: &Arc<dyn Store>,
    patience: Duration,
) -> Result<Option<(Rank, Step)>> {
    let mine = replica.step();
    let all = world.gather(HANDING_ON, Step(0), mine.map_or(NOTHING, |step| step.0 as f64))?;
    let Some((source, newest)) = newest(&all, saved) else { return Ok(None) };
    let lost =
        |reason: String| Error::PeerLost { rank: world.rank(), step: newest, during: HANDING_ON, reason };
    let is_newest = |step: f64| step == newest.0 as f64;
    if source == world.rank() {
        let text = serde_json::to_vec(&replica.held()).map_err(|e| lost(e.to_string()))?;
        store.set(KEY, &text).map_err(|e| lost(e.to_string()))?;
    }
    // Those that hold it all get it from the source: it must be what they hold.
    let holds = |rank: Rank| all.get(rank.0 as usize).is_some_and(|step| is_newest(*step));
    replicas::check_of(world, &replica.trained(), holds, newest)?;
    // Of whose state is as new, too: what the others are told is what all know.
    let held = || -> Result<Held> {
        let text = store.get(KEY, patience).map_err(|e| lost(e.to_string()))?;
        serde_json::from_slice(&text).map_err(|e| lost(e.to_string()))
    };
    let tensors = replica.tensors();
    let hand_on = |replica: &Replica| match all.iter().all(|step| is_newest(*step)) {
        true => replica.variables.sync_buffers(world, newest),
        false => world.broadcast_from(source, HANDING_ON, newest, &tensors),
    };
    // Whose state is as new gets what it has.
    if mine == Some(newest) {
        hand_on(replica)?;
        replica.described(held()?);
        replicas::check(world, &tensors, newest)?;
    } else {
        // Known only once it is compared: who is struck before that can't say whether it arrived whole.
        replica.filled(|replica| {
            hand_on(replica)?;
            let held = held()?;
            replicas::check(world, &tensors, newest)?;
            Ok((Some(held), ()))
        })?;
    }
    Ok(Some((source, newest)))
}

/// What a rank says that holds nothing.
const NOTHING: f64 = -1.0;

/// Which rank hands on which state.
fn newest(of_ranks: &[f64], saved: Option<Step>) -> Option<(Rank, Step)> {
    // Steps are far below 2^53.
    let held: Vec<_> = of_ranks.iter().map(|step| (*step > NOTHING).then_some(Step(*step as u64))).collect();
    newest_state(&held, saved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_rank_that_holds_the_newest_state_hands_it_on() {
        for (of_ranks, saved, expected) in [
            (&[-1.0, -1.0][..], None, None),
            (&[-1.0, -1.0], Some(5), None),
            (&[-1.0, 7.0, 8.0, 8.0], Some(5), Some((2, 8))),
            (&[8.0, 7.0], None, Some((0, 8))),
            (&[0.0, -1.0], None, Some((0, 0))),
            (&[7.0, -1.0], Some(7), Some((0, 7))),
            (&[7.0, -1.0], Some(8), None),
        ] {
            let expected = expected.map(|(rank, step)| (Rank(rank), Step(step)));
            assert_eq!(newest(of_ranks, saved.map(Step)), expected, "{of_ranks:?} {saved:?}");
        }
    }
}
