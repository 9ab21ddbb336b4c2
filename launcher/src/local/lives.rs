//! Whether an agent that ended is started again, and when.

use std::time::Duration;

/// An agent that lived shorter than this didn't really start.
const SHORT_LIFE: Duration = Duration::from_secs(2);
/// So many short lives in a row end the launch.
const MAX_SHORT_LIVES: u32 = 3;
/// An agent that lived longer than this ended for a reason of its own.
const LONG_LIFE: Duration = Duration::from_secs(300);
/// So many lives in a row, none of them long, without a new step end the launch.
const MAX_LIVES: u32 = 30;
/// So many of them are followed by the next at once.
const AT_ONCE: u32 = 2;
/// The first pause; each further one is twice as long, up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(500);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How a node's agents have lived so far.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// Lives in a row that were short.
    short: u32,
    /// Lives in a row in which the run did not get on.
    idle: u32,
}

/// What follows an agent's end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another one, after a pause.
    Again(Duration),
    /// Nothing: it would end as the others did. Holds in words how they did.
    GiveUp(String),
}

impl Lives {
    /// An agent ended that had lived for so long.
    pub(super) fn ended(&mut self, lived: Duration) -> Next {
        self.short = if lived < SHORT_LIFE { self.short + 1 } else { 0 };
        self.idle = if lived < LONG_LIFE { self.idle + 1 } else { 1 };
        if self.short >= MAX_SHORT_LIVES {
            return Next::GiveUp(format!("ended at once, {} times in a row", self.short));
        }
        if self.idle >= MAX_LIVES {
            return Next::GiveUp(format!(
                "ended {} times, and the run made no progress meanwhile",
                self.idle
            ));
        }
        let doubled = self.idle.checked_sub(AT_ONCE + 1).map(|times| PAUSE * 2u32.pow(times.min(10)));
        Next::Again(doubled.unwrap_or_default().min(LONGEST_PAUSE))
    }

    /// The run did a step that it had not done before.
    pub(super) fn run_gets_on(&mut self) {
        self.idle = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(lives: &mut Lives, lived: Duration) -> (Vec<u64>, String) {
        let mut pauses = Vec::new();
        loop {
            match lives.ended(lived) {
                Next::Again(pause) => pauses.push(pause.as_millis() as u64),
                Next::GiveUp(why) => return (pauses, why),
            }
        }
    }

    #[test]
    fn who_ends_at_once_is_tried_three_times() {
        let (pauses, why) = pauses(&mut Lives::default(), Duration::from_millis(20));
        assert_eq!((pauses, why.as_str()), (vec![0, 0], "ended at once, 3 times in a row"));
    }

    #[test]
    fn who_ends_again_and_again_waits_longer_and_longer_and_not_for_ever() {
        let (pauses, why) = pauses(&mut Lives::default(), Duration::from_secs(3));
        assert_eq!(&pauses[..10], [0, 0, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(pauses.len() as u32, MAX_LIVES - 1);
        assert!(why.starts_with("ended 30 times"), "{why}");
    }

    #[test]
    fn a_long_life_and_a_run_that_gets_on_are_a_new_beginning() {
        let mut lives = Lives::default();
        for round in 0..2 * MAX_LIVES {
            assert!(matches!(lives.ended(Duration::from_secs(3)), Next::Again(_)), "{round}");
            match round % 7 {
                3 => lives.run_gets_on(),
                6 => assert_eq!(lives.ended(LONG_LIFE), Next::Again(Duration::ZERO)),
                _ => {}
            }
        }
    }
}
