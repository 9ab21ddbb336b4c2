//! Object storage: set-up, deadlines, retries and conditional creates.
