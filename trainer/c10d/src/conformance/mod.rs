//! The checks that every implementation of this crate's traits must pass, whatever it runs on.
//!
//! A broken rule is a panic that names it. The test that calls a check bounds its time.

mod group;
mod store;

pub use group::{Form, process_group};
pub use store::store;
