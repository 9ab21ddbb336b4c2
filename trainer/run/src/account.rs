//! What a run's time goes to: every second since its first step, in one class.

use crate::segment::Metric;
use crate::{Body, Membership, Result, RunDir, Step};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a run does with a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Steps that are done for the first time.
    Training,
    /// Steps that were done before, and lost.
    Repeating,
    /// Finding out that a generation can't go on, and forming the next one.
    Forming,
    /// Giving all ranks the same state, from memory or from a checkpoint.
    Loading,
    /// Waiting for a checkpoint.
    Saving,
    /// Evaluating.
    Evaluating,
    /// Waiting for nodes that are not there.
    WaitingForNodes,
    /// Waiting for batches.
    WaitingForData,
    /// Waiting for storage, to commit a membership.
    WaitingForStorage,
    /// No agent lives.
    NobodyAlive,
}

impl Use {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Training,
        Self::Repeating,
        Self::Forming,
        Self::Loading,
        Self::Saving,
        Self::Evaluating,
        Self::WaitingForNodes,
        Self::WaitingForData,
        Self::WaitingForStorage,
        Self::NobodyAlive,
    ];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Repeating => "repeating",
            Self::Forming => "forming",
            Self::Loading => "loading",
            Self::Saving => "saving",
            Self::Evaluating => "evaluating",
            Self::WaitingForNodes => "waiting for nodes",
            Self::WaitingForData => "waiting for data",
            Self::WaitingForStorage => "waiting for storage",
            Self::NobodyAlive => "nobody alive",
        }
    }
}

/// The time of a run since its first step, by what it was used for; as JSON in seconds. Time between a run's end and its next launch counts nowhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// [`Use::Training`].
    #[serde(with = "seconds")]
    pub training: Duration,
    /// [`Use::Repeating`].
    #[serde(with = "seconds")]
    pub repeating: Duration,
    /// [`Use::Forming`].
    #[serde(with = "seconds")]
    pub forming: Duration,
    /// [`Use::Loading`].
    #[serde(with = "seconds")]
    pub loading: Duration,
    /// [`Use::Saving`].
    #[serde(with = "seconds")]
    pub saving: Duration,
    /// [`Use::Evaluating`].
    #[serde(with = "seconds")]
    pub evaluating: Duration,
    /// [`Use::WaitingForNodes`].
    #[serde(with = "seconds")]
    pub waiting_for_nodes: Duration,
    /// [`Use::WaitingForData`].
    #[serde(with = "seconds")]
    pub waiting_for_data: Duration,
    /// [`Use::WaitingForStorage`].
    #[serde(with = "seconds")]
    pub waiting_for_storage: Duration,
    /// [`Use::NobodyAlive`].
    #[serde(with = "seconds")]
    pub nobody_alive: Duration,
    /// The highest step that was done.
    pub highest: Step,
    /// Steps that were done again.
    pub repeated_steps: u64,
}

impl Account {
    /// The time of one class.
    pub fn get(&self, class: Use) -> Duration {
        match class {
            Use::Training => self.training,
            Use::Repeating => self.repeating,
            Use::Forming => self.forming,
            Use::Loading => self.loading,
            Use::Saving => self.saving,
            Use::Evaluating => self.evaluating,
            Use::WaitingForNodes => self.waiting_for_nodes,
            Use::WaitingForData => self.waiting_for_data,
            Use::WaitingForStorage => self.waiting_for_storage,
            Use::NobodyAlive => self.nobody_alive,
        }
    }

    fn of(&mut self, class: Use) -> &mut Duration {
        match class {
            Use::Training => &mut self.training,
            Use::Repeating => &mut self.repeating,
            Use::Forming => &mut self.forming,
            Use::Loading => &mut self.loading,
            Use::Saving => &mut self.saving,
            Use::Evaluating => &mut self.evaluating,
            Use::WaitingForNodes => &mut self.waiting_for_nodes,
            Use::WaitingForData => &mut self.waiting_for_data,
            Use::WaitingForStorage => &mut self.waiting_for_storage,
            Use::NobodyAlive => &mut self.nobody_alive,
        }
    }

    /// Time went to this. Before the first step nothing counts.
    pub fn add(&mut self, class: Use, time: Duration) {
        if self.highest > Step(0) {
            *self.of(class) = self.get(class).saturating_add(time);
        }
    }

    /// Time that was booked as one class was used for another; no more than there is.
    pub fn rebook(&mut self, from: Use, to: Use, time: Duration) {
        let time = time.min(self.get(from));
        *self.of(from) -= time;
        *self.of(to) = self.get(to).saturating_add(time);
    }

    /// Training went on from one step to another.
    pub fn stepped(&mut self, from: Step, to: Step) {
        let again = to.0.min(self.highest.0).saturating_sub(from.0);
        self.repeated_steps = self.repeated_steps.saturating_add(again);
        self.highest = self.highest.max(to);
    }

    /// Time since the first step.
    pub fn total(&self) -> Duration {
        Use::ALL.into_iter().fold(Duration::ZERO, |total, class| total.saturating_add(self.get(class)))
    }

    fn share(&self, class: Use) -> f64 {
        self.get(class).as_secs_f64() / self.total().as_secs_f64()
    }

    /// The share of the time that went to steps which were done once; none before there is any.
    pub fn goodput(&self) -> Option<f64> {
        (!self.total().is_zero()).then(|| self.share(Use::Training))
    }

    /// Classes and their shares of the time, largest first, without those that took nothing.
    pub fn shares(&self) -> Vec<(Use, f64)> {
        let share = |class| (class, self.share(class));
        let mut shares: Vec<_> = Use::ALL.into_iter().map(share).filter(|(_, share)| *share > 0.0).collect();
        shares.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        shares
    }
}

impl RunDir {
    /// What the run's time went to up to `now`, as those know who carry it on after a record, with no agent of which it has lived.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn account(&self, newest: &Membership, now: Timestamp) -> Result<Option<Account>> {
        let metrics = self.last_metrics(newest.root.unwrap_or_default()).await?;
        Ok(carried_on(newest, &metrics, now))
    }
}

/// What a run's records tell: the newest one, and what was measured since. Of a generation that left no end, its time up to the last
/// metrics counts as training.
pub(crate) fn recorded(newest: &Membership, metrics: &[Metric]) -> Option<Account> {
    let mut account = newest.account.unwrap_or_default();
    if let (Body::Formed { .. }, Some(last)) = (&newest.body, metrics.last()) {
        account.stepped(account.highest, last.report.step);
        account.add(Use::Training, between(newest.at, last.at));
    }
    (account.highest > Step(0)).then_some(account)
}

/// The same, for those who carry on: nobody lived from the last sign of life to `now`, unless the run had ended.
fn carried_on(newest: &Membership, metrics: &[Metric], now: Timestamp) -> Option<Account> {
    let mut account = recorded(newest, metrics)?;
    if let Body::Formed { .. } = newest.body {
        let last = metrics.last().map_or(newest.at, |last| last.at.max(newest.at));
        account.add(Use::NobodyAlive, between(last, now));
    }
    Some(account)
}

/// None where clocks disagree.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// A time as seconds where people may read it.
mod seconds {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        match to.is_human_readable() {
            true => time.as_secs_f64().serialize(to),
            false => time.serialize(to),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        match from.is_human_readable() {
            true => Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(D::Error::custom),
            false => Duration::deserialize(from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generation, Report};

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn seconds_add_up_and_names_are_those_of_the_fields() {
        let mut account = Account::default();
        account.add(Use::Forming, s(5));
        assert_eq!(
            (account.total(), account.goodput()),
            (s(0), None),
            "nothing counts before the first step"
        );
        account.stepped(Step(0), Step(1));
        for (seconds, class) in (1..).zip(Use::ALL) {
            account.add(class, s(seconds));
            let json = serde_json::to_value(account).unwrap();
            assert_eq!(json[class.name().replace(' ', "_")], seconds as f64);
        }
        assert_eq!((account.total(), account.goodput()), (s(55), Some(1.0 / 55.0)));
        let shares = account.shares();
        assert_eq!(shares[0], (Use::NobodyAlive, 10.0 / 55.0));
        assert!((shares.iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs() < 1e-12);
        account.rebook(Use::Training, Use::WaitingForData, s(9));
        assert_eq!((account.training, account.waiting_for_data, account.total()), (s(0), s(9), s(55)));
    }

    #[test]
    fn what_was_done_before_is_repeated() {
        let mut account = Account::default();
        for (from, to, highest, repeated) in
            [(0, 10, 10, 0), (10, 12, 12, 0), (8, 9, 12, 1), (9, 15, 15, 4), (15, 15, 15, 4), (12, 20, 20, 7)]
        {
            account.stepped(Step(from), Step(to));
            assert_eq!((account.highest.0, account.repeated_steps), (highest, repeated), "{from} to {to}");
        }
    }

    #[test]
    fn records_and_metrics_tell_what_a_dead_run_did() {
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        let record = |ended: bool| -> Membership {
            let writer = serde_json::json!({ "node": 0, "incarnation": 1, "nonce": 0 });
            let mut record = serde_json::json!({
                "runUid": "r", "generation": 2, "writer": writer, "launch": "a", "at": at(100), "reason": "",
                "account": { "training": 50.0, "highest": 5 },
            });
            let body = match ended {
                true => serde_json::json!({ "kind": "ended", "outcome": { "state": "done" }, "previous": 1 }),
                false => serde_json::json!({
                    "kind": "formed", "members": [], "leader": 0, "startFrom": "fresh", "job": null, "restart": true,
                }),
            };
            record.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            serde_json::from_value(record).unwrap()
        };
        let report = Report { step: Step(9), ..Report::default() };
        let metrics = [Metric { report, generation: Generation(2), at: at(130), gpu_seconds: None }];
        let alive = Account { training: s(80), highest: Step(9), ..Account::default() };
        assert_eq!(recorded(&record(false), &metrics), Some(alive));
        let again = Account { nobody_alive: s(70), ..alive };
        assert_eq!(carried_on(&record(false), &metrics, at(200)), Some(again));
        let ended = Account { training: s(50), highest: Step(5), ..Account::default() };
        assert_eq!(carried_on(&record(true), &metrics, at(200)), Some(ended), "it was launched again later");
        assert_eq!(recorded(&Membership { account: None, ..record(true) }, &[]), None);
    }
}
