//! Which sample each slot of each step holds: pure functions of seed, epoch and dataset, never of the world size.

mod epoch;
mod feistel;
mod options;

pub use epoch::EpochOrder;
pub(crate) use feistel::{Permutation, key};
pub use options::{Order, OrderOptions, Shuffle, Tail};
