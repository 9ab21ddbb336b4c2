//! libtorch's c10d from Rust: stores, process groups, the DDP reducer, fused optimizers.
