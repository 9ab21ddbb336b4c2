//! One rank: where it computes, whom it computes with, and what it holds.

mod device;
pub(crate) mod group;
pub(crate) mod hardware;
mod peak;
mod peers;
mod replica;
pub(crate) mod replicas;
mod running;
mod variables;
mod world;

pub(crate) use device::Compute;
pub use device::Found;
pub(crate) use peak::peak_flops;
pub(crate) use peers::Peers;
pub(crate) use replica::{Replica, Seed};
pub(crate) use running::{AVERAGING, RunningBuffers};
pub use running::{Running, Tracked};
pub(crate) use variables::Variables;
pub(crate) use world::World;
