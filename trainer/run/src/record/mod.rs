//! The records of a run: created once, never changed.

pub(crate) mod commit;
pub(crate) mod format;
pub(crate) mod join;
pub(crate) mod launch;
pub(crate) mod membership;
pub(crate) mod provenance;
pub(crate) mod request;
pub(crate) mod run;
pub(crate) mod trace;
