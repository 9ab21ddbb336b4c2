//! How long waits last, and when they are named. Pure.

use super::wait::{Subject, Wait};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A wait shorter than this is none.
const WORTH_A_WORD: Duration = Duration::from_secs(2);
/// A wait that lasts is named again after this, and then after twice as long each time.
const SAID_AGAIN: Duration = Duration::from_secs(30);
/// One that is gone for no longer than this goes on: between two tries to pull an image nothing is said of it.
const GOES_ON: Duration = Duration::from_secs(5);

/// The waits of a run.
#[derive(Debug, Default)]
pub(super) struct Waits(BTreeMap<Subject, Lasting>);

#[derive(Debug)]
struct Lasting {
    wait: Wait,
    since: Instant,
    /// Whether it is there now, and when it last was.
    here: bool,
    seen: Instant,
    /// How long it had lasted when it was last named.
    said: Option<Duration>,
    /// In which words it was.
    words: BTreeSet<String>,
}

impl Waits {
    /// Takes what the run waits for now. One whose words change goes on counting from its first second.
    pub(super) fn take(&mut self, now: Instant, waits: &[Wait]) {
        self.0.values_mut().for_each(|lasting| lasting.here = false);
        for wait in waits {
            let lasting = self.0.entry(wait.subject()).or_insert_with(|| Lasting {
                wait: wait.clone(),
                since: now,
                here: true,
                seen: now,
                said: None,
                words: BTreeSet::new(),
            });
            (lasting.wait, lasting.here, lasting.seen) = (wait.clone(), true, now);
        }
        self.0.retain(|_, lasting| lasting.here || now.duration_since(lasting.seen) <= GOES_ON);
    }

    /// Those that are to be named now, with how long they last: long enough, and either in new words or after a while.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Wait, Duration)> {
        let mut named = Vec::new();
        for lasting in self.0.values_mut().filter(|lasting| lasting.here) {
            let (lasted, words) = (now.duration_since(lasting.since), lasting.wait.to_string());
            if !lasting.words.contains(&words) {
                lasting.said = None;
            }
            if due(lasted, &mut lasting.said) {
                lasting.words.insert(words);
                named.push((lasting.wait.clone(), lasted));
            }
        }
        named
    }

    /// All of them, with how long they last.
    pub(super) fn lasted(&self, now: Instant) -> Vec<(Wait, Duration)> {
        self.0.values().map(|lasting| (lasting.wait.clone(), now.duration_since(lasting.since))).collect()
    }
}

/// Whether something that has lasted so long is to be named now. Keeps how long it had when it was.
pub(super) fn due(lasted: Duration, said: &mut Option<Duration>) -> bool {
    let next = said.map_or(WORTH_A_WORD, |said| (said * 2).max(SAID_AGAIN));
    let is_due = lasted >= next;
    if is_due {
        *said = Some(lasted);
    }
    is_due
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulling() -> Wait {
        Wait::Pulling { image: "i".to_owned() }
    }

    fn failing(message: &str) -> Wait {
        Wait::Image { image: "i".to_owned(), message: message.to_owned() }
    }

    #[test]
    fn a_wait_whose_words_change_goes_on_counting_and_is_named_in_the_new_ones_at_once() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut waits = Waits::default();
        let mut named = |second: u64, now: &[Wait]| {
            waits.take(at(second), now);
            let due = waits.due(at(second));
            due.into_iter().map(|(wait, lasted)| (wait, lasted.as_secs())).collect::<Vec<_>>()
        };
        assert_eq!(named(0, &[pulling()]), []);
        assert_eq!(named(2, &[pulling()]), [(pulling(), 2)]);
        assert_eq!(named(10, &[pulling()]), []);
        assert_eq!(named(12, &[failing("no such host")]), [(failing("no such host"), 12)]);
        // Two tries, with nothing said in between: it is still the same wait, in words that were said.
        assert_eq!(named(14, &[]), []);
        assert_eq!(named(16, &[failing("no such host")]), []);
        assert_eq!(named(18, &[failing("back-off")]), [(failing("back-off"), 18)]);
        assert_eq!(named(36, &[failing("no such host")]), [(failing("no such host"), 36)]);
        // One that is gone for longer begins anew.
        assert_eq!(named(50, &[]), []);
        assert_eq!(named(60, &[pulling()]), []);
        assert_eq!(named(62, &[pulling()]), [(pulling(), 2)]);
    }

    #[test]
    fn how_long_each_lasts_is_known_at_the_end() {
        let start = Instant::now();
        let mut waits = Waits::default();
        waits.take(start, &[pulling()]);
        waits.take(start + Duration::from_secs(9), &[failing("x")]);
        let lasted = waits.lasted(start + Duration::from_secs(12));
        assert_eq!(lasted, [(failing("x"), Duration::from_secs(12))]);
    }
}
