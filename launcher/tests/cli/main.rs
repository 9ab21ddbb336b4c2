//! The built `lockstep` command, from outside: one file per concern.

mod bug;
mod common;
mod data;
mod dry_run;
mod help;
mod offline;
mod reference;
mod render;
mod validate;
