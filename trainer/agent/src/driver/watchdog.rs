//! Ends an agent whose loop hangs, before its pod's liveness probe does.
//!
//! A kubelet that has to kill a pod's last container takes the pod's network down with it, and then starts nothing more in that
//! pod, which is neither over nor alive. What ends by itself comes back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often the loop is looked at. A process that stood still with all its threads looked at nothing meanwhile.
const EVERY: Duration = Duration::from_secs(1);
/// So many looks without a turn of the loop are a hang; the liveness probe waits for a minute.
const MOST_LOOKS: u32 = 40;

/// Watches the loop for as long as it is there.
#[derive(Debug)]
pub(super) struct Watchdog(Arc<AtomicU64>);

impl Watchdog {
    /// Begins to watch; `hung` is called, from another thread, where the loop hangs.
    pub(super) fn start(hung: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        let turns = Arc::new(AtomicU64::new(0));
        let watched = Arc::downgrade(&turns);
        let name = "watchdog".to_owned();
        std::thread::Builder::new().name(name).spawn(move || watch(&watched, EVERY, hung))?;
        Ok(Self(turns))
    }

    /// The loop turns.
    pub(super) fn turn(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn watch(turns: &Weak<AtomicU64>, every: Duration, hung: impl FnOnce()) {
    let (mut seen, mut looks) = (0, 0);
    while looks < MOST_LOOKS {
        std::thread::sleep(every);
        let Some(turns) = turns.upgrade() else { return };
        let now = turns.load(Ordering::Relaxed);
        looks = if now == seen { looks + 1 } else { 0 };
        seen = now;
    }
    hung();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    const SOON: Duration = Duration::from_millis(1);

    #[test]
    fn a_loop_that_hangs_is_told_from_one_that_turns_and_from_one_that_is_over() {
        let turns = Arc::new(AtomicU64::new(0));
        let (hung_in, hung) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| watch(&Arc::downgrade(&turns), SOON, || hung_in.send(()).unwrap()));
            // Many times longer than a hang takes, but for the turns.
            for _ in 0..4 * MOST_LOOKS {
                turns.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(SOON);
            }
            hung.recv().unwrap();
        });
        drop(turns);
        watch(&Weak::new(), SOON, || panic!("it is over"));
    }
}
