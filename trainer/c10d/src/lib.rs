//! libtorch's c10d from Rust: stores, process groups, the DDP reducer, fused optimizers.

#[cfg(test)]
mod tests {
    #[test]
    fn libtorch_runs() {
        assert_eq!(tch::Tensor::from_slice(&[1f32, 2.0]).sum(tch::Kind::Float).double_value(&[]), 3.0);
    }
}
