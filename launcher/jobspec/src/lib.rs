//! The job file: one type shared by launcher, agent and worker.
