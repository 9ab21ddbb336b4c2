use super::outbox::Outbox;
use lockstep_c10d::{Store, StoreError};
use lockstep_run::link::{StoreOp, StoreReply, WorkerMsg};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the answer of an operation that waits for nobody may take, and how much longer than its own timeout that of
/// one that waits.
const ROUND_TRIP: Duration = Duration::from_secs(5);

/// Requests whose answers have not come yet.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<HashMap<u64, SyncSender<StoreReply>>>);

impl Pending {
    pub(super) fn answer(&self, id: u64, reply: StoreReply) {
        if let Some(waiter) = self.lock().remove(&id) {
            // A waiter that gave up is no reason to fail.
            let _ = waiter.try_send(reply);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, SyncSender<StoreReply>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The generation's key-value store, reached through the agent.
///
/// Blocking: every call waits for the leader's answer, at most as long as its timeout and five seconds.
#[derive(Debug)]
pub(crate) struct LinkStore {
    outbox: Outbox,
    pending: Arc<Pending>,
    next: AtomicU64,
}

impl LinkStore {
    pub(super) fn new(outbox: Outbox, pending: Arc<Pending>) -> Self {
        Self { outbox, pending, next: AtomicU64::new(0) }
    }

    /// Asks and waits for the answer; `wait` is how long the leader itself may wait for the key.
    fn ask(&self, key: &str, wait: Duration, op: StoreOp) -> Result<StoreReply, StoreError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (waiter, answer) = sync_channel(1);
        self.pending.lock().insert(id, waiter);
        self.outbox.send(WorkerMsg::Store { id, op });
        let waited = wait + ROUND_TRIP;
        match answer.recv_timeout(waited) {
            Ok(StoreReply::Timeout) => Err(StoreError::Timeout { key: key.to_owned(), waited: wait }),
            Ok(StoreReply::Refused(reason)) => Err(StoreError::Failed { key: key.to_owned(), reason }),
            Ok(reply) => Ok(reply),
            Err(_) => {
                self.pending.lock().remove(&id);
                Err(StoreError::Timeout { key: key.to_owned(), waited })
            }
        }
    }

    fn ask_now(&self, key: &str, op: StoreOp) -> Result<StoreReply, StoreError> {
        self.ask(key, Duration::ZERO, op)
    }
}

fn unexpected<T>(key: &str, reply: &StoreReply) -> Result<T, StoreError> {
    Err(StoreError::Failed { key: key.to_owned(), reason: format!("the agent answered {reply:?}") })
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn millis(timeout: Duration) -> u64 {
    timeout.as_millis().try_into().unwrap_or(u64::MAX)
}

impl Store for LinkStore {
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        match self.ask_now(key, StoreOp::Set { key: key.to_owned(), value: value.to_owned() })? {
            StoreReply::Done => Ok(()),
            other => unexpected(key, &other),
        }
    }

    fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, StoreError> {
        match self.ask(key, timeout, StoreOp::Get { key: key.to_owned(), timeout_ms: millis(timeout) })? {
            StoreReply::Value(value) => Ok(value),
            other => unexpected(key, &other),
        }
    }

    fn add(&self, key: &str, amount: i64) -> Result<i64, StoreError> {
        match self.ask_now(key, StoreOp::Add { key: key.to_owned(), delta: amount })? {
            StoreReply::Sum(sum) => Ok(sum),
            other => unexpected(key, &other),
        }
    }

    fn compare_set(&self, key: &str, expected: &[u8], desired: &[u8]) -> Result<Vec<u8>, StoreError> {
        let (expected, desired) = (expected.to_owned(), desired.to_owned());
        match self.ask_now(key, StoreOp::CompareSet { key: key.to_owned(), expected, desired })? {
            StoreReply::Value(value) => Ok(value),
            other => unexpected(key, &other),
        }
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        match self.ask_now(key, StoreOp::Delete { key: key.to_owned() })? {
            StoreReply::Truth(existed) => Ok(existed),
            other => unexpected(key, &other),
        }
    }

    fn check(&self, keys: &[&str]) -> Result<bool, StoreError> {
        let name = keys.join(" ");
        match self.ask_now(&name, StoreOp::Check { keys: owned(keys) })? {
            StoreReply::Truth(all) => Ok(all),
            other => unexpected(&name, &other),
        }
    }

    fn wait(&self, keys: &[&str], timeout: Duration) -> Result<(), StoreError> {
        let name = keys.join(" ");
        match self.ask(&name, timeout, StoreOp::Wait { keys: owned(keys), timeout_ms: millis(timeout) })? {
            StoreReply::Done => Ok(()),
            other => unexpected(&name, &other),
        }
    }
}
