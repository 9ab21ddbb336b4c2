//! The node's agent: supervision, rendezvous, membership, recovery.
