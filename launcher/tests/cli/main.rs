//! The built `lockstep` command, from outside: one file per concern.

mod bug;
mod common;
mod data;
mod dry_run;
mod help;
mod new;
mod offline;
mod reference;
mod render;
mod validate;
