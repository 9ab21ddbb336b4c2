//! The lockstep command.
