//! Whole-system tests, fault injection and benchmarks.
