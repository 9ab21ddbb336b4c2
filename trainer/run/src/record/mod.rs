//! The records of a run: created once, never changed.

pub(crate) mod commit;
pub(crate) mod join;
pub(crate) mod membership;
pub(crate) mod run;
