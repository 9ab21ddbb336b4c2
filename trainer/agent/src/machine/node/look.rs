//! When an agent looks into storage.

use super::super::{Config, Time};
use super::Node;
use std::time::Duration;

/// The shortest pause between two looks into storage of an agent without a leader.
pub(super) const LOOK_FIRST: Duration = Duration::from_millis(50);
/// The same for a leader that gathers, which looks for a lower node that could lead instead.
pub(super) const LOOK_LOWER_FIRST: Duration = Duration::from_millis(250);
/// The longest pause between two looks.
const LOOK_LAST: Duration = Duration::from_secs(2);
/// Nodes together begin at most a thousand looks a second, however many they are, and after a while at most a hundred.
const LOOK_FIRST_PER_NODE: Duration = Duration::from_millis(1);
const LOOK_LAST_PER_NODE: Duration = Duration::from_millis(10);
/// Who has looked for so many times as long as a pause makes no longer ones: what it looks for is found that much later at most.
const LOOK_SHARE: u32 = 8;

impl Node {
    /// Whether to look into storage now. One look at a time; pauses grow with the number of nodes and with the time that was
    /// spent looking, and are not the same for all nodes, which would ask all at once. Lower nodes begin: one of them leads.
    pub(super) fn look_is_due(&mut self, now: Time, config: &Config, first: Duration) -> bool {
        let (me, nodes) = (config.node.0, config.num_nodes);
        let spent = now.saturating_sub(self.looks_since);
        if spent < LOOK_FIRST_PER_NODE * me.min(nodes) {
            return false;
        }
        let first = first.max(LOOK_FIRST_PER_NODE * nodes);
        let pause = (spent / LOOK_SHARE).clamp(first, LOOK_LAST.max(LOOK_LAST_PER_NODE * nodes));
        // A quarter more or less, a different one for each node and each look.
        let mixed = (u64::from(me) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (spent.as_millis() as u64);
        let pause = pause.mul_f64(0.75 + (mixed.wrapping_mul(0xff51_afd7_ed55_8ccd) >> 54) as f64 / 2048.0);
        let due = !self.looking && !self.dialing && Node::due(&mut self.looked, now, pause);
        self.looking |= due;
        due
    }

    /// Begins to look for something else: the first looks come soon.
    pub(super) fn look_anew(&mut self, now: Time) {
        self.looks_since = now;
    }

    pub(super) fn due(last: &mut Option<Time>, now: Time, every: Duration) -> bool {
        let due = last.is_none_or(|at| now >= at + every);
        if due {
            *last = Some(now);
        }
        due
    }
}
