//! The key-value store through which the ranks of a group find one another.

mod bridge;
mod memory;
mod prefix;

use std::fmt::Debug;
use std::time::Duration;

pub(crate) use bridge::BridgedStore;
pub use memory::MemoryStore;
pub use prefix::PrefixStore;

/// A small, strongly consistent key-value store shared by the ranks of a group.
///
/// Implementations carry the calls over whatever channel there is. All of them are linearizable: once a call has
/// returned, every rank sees its effect.
///
/// # Blocking
///
/// [`get`](Store::get) and [`wait`](Store::wait) wait for at most `timeout`. The other calls wait for nobody, but they
/// may go over a wire: an implementation gives them a deadline of its own and fails with [`StoreError::Timeout`] after it.
///
/// # Panics
///
/// An implementation should not, but if it does while a group is being formed, that becomes [`StoreError::Panicked`].
pub trait Store: Debug + Send + Sync {
    /// Sets `key` to `value`, whatever it was.
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError>;

    /// The value of `key`, as soon as it has one.
    fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, StoreError>;

    /// Adds to the counter `key`, which starts at 0, and returns the sum. Its value is the sum in decimal digits; a
    /// value that is not a number is [`StoreError::Failed`].
    fn add(&self, key: &str, amount: i64) -> Result<i64, StoreError>;

    /// Sets `key` to `desired` if its value is `expected`, or if it has none and `expected` is empty. Returns the value
    /// afterwards, and `expected` if there is none.
    fn compare_set(&self, key: &str, expected: &[u8], desired: &[u8]) -> Result<Vec<u8>, StoreError>;

    /// Removes `key` and says whether it was there.
    fn delete(&self, key: &str) -> Result<bool, StoreError>;

    /// Whether all of `keys` have values.
    fn check(&self, keys: &[&str]) -> Result<bool, StoreError>;

    /// Returns as soon as all of `keys` have values.
    fn wait(&self, keys: &[&str], timeout: Duration) -> Result<(), StoreError>;
}

/// Why a store call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A key did not come, or an answer did not.
    #[error("store key {key:?} did not come within {waited:?}: a rank is late or gone")]
    Timeout {
        /// The key.
        key: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The call failed.
    #[error("store key {key:?}: {reason}")]
    Failed {
        /// The key.
        key: String,
        /// The implementation's words.
        reason: String,
    },
    /// The implementation panicked.
    #[error("the store panicked on key {key:?}: {message}")]
    Panicked {
        /// The key.
        key: String,
        /// The panic's message.
        message: String,
    },
}
