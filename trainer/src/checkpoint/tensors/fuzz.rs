//! Checkpoint files that nobody wrote: they are refused, or each tensor is what lies in the file.

use super::*;
use std::path::PathBuf;
use tch::Device;

const REFRESH: &str = "LOCKSTEP_REFRESH=1 cargo test -p lockstep-trainer --lib fuzz";

/// A tensor of every kind, one number, and none.
fn of_every_kind() -> HostTensors {
    let of = |tensor: Tensor| HostTensor::copy_of(&tensor).unwrap();
    let kinds = KINDS.iter().map(|(kind, _)| {
        let tensor = Tensor::arange(6, (Kind::Int64, Device::Cpu)).view([2, 3]).to_kind(*kind);
        (format!("{kind:?}"), of(tensor))
    });
    let some =
        [("scalar", Tensor::from(1.5f32)), ("none", Tensor::zeros([0, 4], (Kind::Float, Device::Cpu)))];
    kinds.chain(some.map(|(name, tensor)| (name.to_owned(), of(tensor)))).collect()
}

#[test]
fn safetensors() {
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap());
    let folder = here.join("tests/corpus/safetensors");
    let written = [("kinds", encode(&of_every_kind()).unwrap()), ("empty", encode(&Vec::new()).unwrap())];
    lockstep_fuzzing::current(&folder, &written, REFRESH);
    lockstep_fuzzing::fuzz("safetensors", &lockstep_fuzzing::corpus(&folder), |bytes| {
        let Ok(file) = TensorFile::parse("model.safetensors", bytes) else { return };
        let mut read = HostTensors::new();
        let mut num_bytes = 0;
        for name in file.tensors.names() {
            let lies_there = file.tensors.tensor(name).unwrap().data().len();
            num_bytes += lies_there;
            if let Ok(tensor) = file.read(name) {
                let tensor = HostTensor::copy_of(&tensor).unwrap();
                assert_eq!(tensor.data.len(), lies_there, "{name} has another size than its place");
                read.push((name.to_owned(), tensor));
            }
        }
        assert!(num_bytes <= bytes.len(), "tensors of {num_bytes} bytes in a file of {}", bytes.len());
        let again = encode(&read).unwrap();
        let file = TensorFile::parse("model.safetensors", &again).unwrap();
        for (name, tensor) in &read {
            assert_eq!(HostTensor::copy_of(&file.read(name).unwrap()).unwrap(), *tensor, "{name}");
        }
        // Into a model of other tensors nothing is copied.
        let target = Tensor::zeros([7], (Kind::Float, Device::Cpu));
        assert!(file.restore_all([("other".to_owned(), &target)]).is_err());
    });
}
