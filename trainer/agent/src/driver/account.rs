//! What the leader says, now and then, of what the run's time has gone to.

use super::Driver;
use lockstep_run::{Generation, Line};
use std::time::{Duration, Instant};

/// How often it says so.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What was said last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    generation: Generation,
    at: Instant,
}

impl Driver {
    /// Says it where this node leads, once a minute.
    pub(super) fn say_account(&mut self) {
        let Some(generation) = self.machine.leads() else { return };
        let is_due = |said: Said| said.generation != generation || said.at.elapsed() >= SAY_EVERY;
        if self.accounted.is_none_or(is_due) {
            self.say_account_of(generation);
        }
    }

    /// Says it once more, where this node led the run to its end.
    pub(super) fn say_last_account(&mut self) {
        if let Some(Said { generation, .. }) = self.accounted.filter(|_| self.machine.ended().is_some()) {
            self.say_account_of(generation);
        }
    }

    fn say_account_of(&mut self, generation: Generation) {
        if let Some(account) = self.machine.account() {
            self.accounted = Some(Said { generation, at: Instant::now() });
            self.reporter.account(Line::Account { generation, survivors: self.survivors, account });
        }
    }
}
