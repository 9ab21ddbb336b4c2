//! Whether this very process stood still: stopped by a signal, on a machine that slept, or out of time on one that is busy.

use std::time::{Duration, Instant};

/// Notices gaps between looks at the clock.
#[derive(Debug)]
pub(super) struct Awake {
    looked: Instant,
    /// A longer gap is one.
    most: Duration,
    /// When the last gap ended.
    woke: Option<Instant>,
}

impl Awake {
    /// Somebody looks at least every `most`.
    pub(super) fn new(now: Instant, most: Duration) -> Self {
        Self { looked: now, most, woke: None }
    }

    /// To be asked before anything is done. Returns how long this process stood still, where it just did.
    pub(super) fn look(&mut self, now: Instant) -> Option<Duration> {
        let gap = now.saturating_duration_since(self.looked);
        self.looked = now;
        (gap > self.most).then(|| {
            self.woke = Some(now);
            gap
        })
    }

    /// Whether it was awake all the time since then, so that silence since then is the others'.
    pub(super) fn since(&self, then: Instant) -> bool {
        self.woke.is_none_or(|woke| woke < then)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_noticed_once_and_spoils_what_began_before_its_end() {
        let at = |seconds| Duration::from_secs(seconds);
        let start = Instant::now();
        let mut awake = Awake::new(start, at(3));
        assert_eq!(awake.look(start + at(1)), None);
        assert_eq!(awake.look(start + at(4)), None);
        assert!(awake.since(start));
        assert_eq!(awake.look(start + at(24)), Some(at(20)));
        assert_eq!(awake.look(start + at(25)), None);
        assert!(!awake.since(start + at(4)));
        assert!(awake.since(start + at(25)));
    }
}
