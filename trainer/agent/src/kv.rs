//! The key-value store behind c10d, one for each generation, held by the leader. It needs nothing that can't be rebuilt.

use crate::machine::Time;
use lockstep_run::link::{StoreOp, StoreReply};
use lockstep_run::{Generation, NodeId, Rank};
use std::collections::HashMap;
use std::time::Duration;

/// Who asked, so that the reply finds its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The node.
    pub node: NodeId,
    /// The worker.
    pub rank: Rank,
    /// The worker's number for the request.
    pub id: u64,
}

/// A reply and who it is for.
pub type Answer = (Caller, StoreReply);

#[derive(Debug)]
struct Waiter {
    caller: Caller,
    keys: Vec<String>,
    /// The value of the first key is wanted, not only its existence.
    wants_value: bool,
    until: Time,
}

/// Keys of one generation. Requests of any other are refused.
#[derive(Debug, Default)]
pub struct Kv {
    generation: Generation,
    values: HashMap<String, Vec<u8>>,
    waiters: Vec<Waiter>,
}

impl Kv {
    /// Takes one request; returns the answers that are due now, to whomever.
    pub fn apply(
        &mut self,
        now: Time,
        leads: Option<Generation>,
        generation: Generation,
        caller: Caller,
        op: StoreOp,
    ) -> Vec<Answer> {
        if leads != Some(generation) {
            let text = format!("generation {generation} is not led here");
            return vec![(caller, StoreReply::Refused(text))];
        }
        let mut answers = Vec::new();
        if self.generation != generation {
            let over = |w: Waiter| (w.caller, StoreReply::Refused("its generation is over".to_owned()));
            answers.extend(self.waiters.drain(..).map(over));
            *self = Self { generation, ..Self::default() };
        }
        self.run(now, caller, op, &mut answers);
        answers
    }

    fn run(&mut self, now: Time, caller: Caller, op: StoreOp, answers: &mut Vec<Answer>) {
        let reply = match op {
            StoreOp::Set { key, value } => {
                self.values.insert(key, value);
                StoreReply::Done
            }
            StoreOp::Add { key, delta } => match self.sum(&key, delta) {
                Ok(sum) => {
                    self.values.insert(key, sum.to_string().into_bytes());
                    StoreReply::Sum(sum)
                }
                Err(reason) => StoreReply::Refused(reason),
            },
            StoreOp::CompareSet { key, expected, desired } => {
                StoreReply::Value(self.compare_set(key, expected, desired))
            }
            StoreOp::Check { keys } => StoreReply::Truth(keys.iter().all(|k| self.values.contains_key(k))),
            StoreOp::Delete { key } => StoreReply::Truth(self.values.remove(&key).is_some()),
            StoreOp::Get { key, timeout_ms } => {
                return self.wait(now, caller, vec![key], true, timeout_ms, answers);
            }
            StoreOp::Wait { keys, timeout_ms } => {
                return self.wait(now, caller, keys, false, timeout_ms, answers);
            }
        };
        answers.push((caller, reply));
        self.wake(answers);
    }

    /// A value that is no number stays what it is, and no sum wraps round: either would be another rank's wrong count.
    fn sum(&self, key: &str, delta: i64) -> Result<i64, String> {
        let Some(value) = self.values.get(key) else { return Ok(delta) };
        let text = String::from_utf8_lossy(value);
        let old: i64 =
            text.parse().map_err(|_| format!("can't add {delta} to {key}, which holds {text:?}"))?;
        old.checked_add(delta)
            .ok_or_else(|| format!("can't add {delta} to {key}, which holds {old}: the sum is too large"))
    }

    /// As c10d defines it: an absent key equals the empty expectation; what holds afterwards is returned.
    fn compare_set(&mut self, key: String, expected: Vec<u8>, desired: Vec<u8>) -> Vec<u8> {
        match self.values.get(&key) {
            None if !expected.is_empty() => expected,
            Some(held) if *held != expected => held.clone(),
            _ => {
                self.values.insert(key, desired.clone());
                desired
            }
        }
    }

    fn wait(
        &mut self,
        now: Time,
        caller: Caller,
        keys: Vec<String>,
        wants_value: bool,
        timeout_ms: u64,
        answers: &mut Vec<Answer>,
    ) {
        let until = now + Duration::from_millis(timeout_ms);
        self.waiters.push(Waiter { caller, keys, wants_value, until });
        self.wake(answers);
    }

    fn wake(&mut self, answers: &mut Vec<Answer>) {
        let values = &self.values;
        self.waiters.retain(|w| {
            if !w.keys.iter().all(|k| values.contains_key(k)) {
                return true;
            }
            let value = w.keys.first().and_then(|k| values.get(k)).filter(|_| w.wants_value);
            answers.push((w.caller, value.map_or(StoreReply::Done, |v| StoreReply::Value(v.clone()))));
            false
        });
    }

    /// Answers those whose time is over.
    pub fn expire(&mut self, now: Time) -> Vec<Answer> {
        let mut answers = Vec::new();
        self.waiters.retain(|w| {
            let late = now > w.until;
            if late {
                answers.push((w.caller, StoreReply::Timeout));
            }
            !late
        });
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: Generation = Generation(1);

    fn caller(rank: u32, id: u64) -> Caller {
        Caller { node: NodeId(0), rank: Rank(rank), id }
    }

    fn ask(kv: &mut Kv, now: u64, rank: u32, op: StoreOp) -> Vec<Answer> {
        kv.apply(Duration::from_millis(now), Some(G), G, caller(rank, now), op)
    }

    fn set(key: &str, value: &[u8]) -> StoreOp {
        StoreOp::Set { key: key.into(), value: value.into() }
    }

    #[test]
    fn a_get_waits_for_its_key_or_its_time() {
        let mut kv = Kv::default();
        let get = |key: &str| StoreOp::Get { key: key.into(), timeout_ms: 100 };
        assert!(ask(&mut kv, 0, 1, get("a")).is_empty());
        assert!(ask(&mut kv, 1, 2, get("b")).is_empty());
        let answers = ask(&mut kv, 2, 0, set("a", b"v"));
        assert_eq!(
            answers,
            [(caller(0, 2), StoreReply::Done), (caller(1, 0), StoreReply::Value(b"v".into()))]
        );
        assert!(kv.expire(Duration::from_millis(101)).is_empty());
        assert_eq!(kv.expire(Duration::from_millis(102)), [(caller(2, 1), StoreReply::Timeout)]);
    }

    #[test]
    fn counters_and_compare_set_follow_c10d() {
        let mut kv = Kv::default();
        let add = |delta| StoreOp::Add { key: "n".into(), delta };
        assert_eq!(ask(&mut kv, 0, 0, add(2))[0].1, StoreReply::Sum(2));
        assert_eq!(ask(&mut kv, 1, 0, add(-5))[0].1, StoreReply::Sum(-3));
        let cas = |e: &[u8], d: &[u8]| StoreOp::CompareSet {
            key: "c".into(),
            expected: e.into(),
            desired: d.into(),
        };
        for (expected, desired, held) in
            [(&b"x"[..], &b"y"[..], &b"x"[..]), (b"", b"1", b"1"), (b"2", b"3", b"1"), (b"1", b"4", b"4")]
        {
            assert_eq!(ask(&mut kv, 2, 0, cas(expected, desired))[0].1, StoreReply::Value(held.into()));
        }
    }

    #[test]
    fn a_counter_is_never_reset_and_never_wraps() {
        let mut kv = Kv::default();
        for (value, delta) in
            [(&b"text"[..], 1), (b"", 1), (b"9223372036854775807", 1), (b"-9223372036854775808", -1)]
        {
            ask(&mut kv, 0, 0, set("n", value));
            let add = StoreOp::Add { key: "n".into(), delta };
            assert!(matches!(ask(&mut kv, 1, 0, add)[0].1, StoreReply::Refused(_)), "{value:?}");
            let get = StoreOp::Get { key: "n".into(), timeout_ms: 0 };
            assert_eq!(ask(&mut kv, 2, 0, get)[0].1, StoreReply::Value(value.into()));
        }
    }

    #[test]
    fn another_generation_gets_nothing_of_this_one() {
        let mut kv = Kv::default();
        ask(&mut kv, 0, 0, set("a", b"old"));
        assert!(ask(&mut kv, 0, 1, StoreOp::Get { key: "b".into(), timeout_ms: 9 }).is_empty());
        let late = kv.apply(Time::ZERO, Some(Generation(2)), G, caller(3, 0), set("a", b"late"));
        assert!(matches!(late[0].1, StoreReply::Refused(_)));
        let check = StoreOp::Check { keys: vec!["a".into()] };
        let answers = kv.apply(Time::ZERO, Some(Generation(2)), Generation(2), caller(0, 5), check);
        assert!(
            matches!(answers[0], (Caller { rank: Rank(1), .. }, StoreReply::Refused(_))),
            "its waiter is told"
        );
        assert_eq!(answers[1].1, StoreReply::Truth(false));
    }
}
