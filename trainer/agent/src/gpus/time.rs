//! For how long a run has used how many GPUs.

use crate::machine::Time;

/// Counts GPU-seconds of the whole run. All its ranks compute on GPUs or none does, so each agent can count for all.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct GpuTime {
    /// Seconds before this generation's workers took any; none where none ever did.
    before: Option<f64>,
    /// How many the workers that live hold, and since when.
    held: Option<(u32, Time)>,
}

impl GpuTime {
    /// A generation begins, before which so many seconds were counted.
    pub(crate) fn after(before: Option<f64>) -> Self {
        Self { before, held: None }
    }

    /// The run's workers hold so many GPUs from now on; only the first word counts.
    pub(crate) fn start(&mut self, now: Time, num: u32) {
        self.held.get_or_insert((num, now));
    }

    /// Its workers end.
    pub(crate) fn stop(&mut self, now: Time) {
        *self = Self::after(self.seconds(now));
    }

    /// GPU-seconds up to now; none where no GPU was ever used.
    pub(crate) fn seconds(&self, now: Time) -> Option<f64> {
        let held = self.held.map(|(num, since)| f64::from(num) * now.saturating_sub(since).as_secs_f64());
        match (self.before, held) {
            (None, None) => None,
            (before, held) => Some(before.unwrap_or_default() + held.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const fn at(seconds: u64) -> Time {
        Duration::from_secs(seconds)
    }

    #[test]
    fn gpu_seconds_add_up_over_generations_while_workers_live() {
        let mut time = GpuTime::after(None);
        assert_eq!(time.seconds(at(9)), None, "a run on CPUs has none");
        time.start(at(10), 16);
        time.start(at(15), 16);
        assert_eq!(time.seconds(at(20)), Some(160.0));
        time.stop(at(30));
        assert_eq!(time.seconds(at(100)), Some(320.0), "nobody holds them");
        let mut next = GpuTime::after(time.seconds(at(100)));
        next.start(at(101), 8);
        assert_eq!(next.seconds(at(102)), Some(328.0));
    }
}
