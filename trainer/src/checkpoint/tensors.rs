//! Tensors to and from the bytes of a safetensors file.
//!
//! The same tensors give the same bytes: the format's writer orders them by kind and name, and no metadata is added.

use crate::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};
use std::borrow::{Borrow, Cow};
use tch::{Kind, Tensor};

/// A copy of one tensor in host memory: it can cross threads while training changes the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl HostTensor {
    /// Copies a tensor. Waits for the device that it is on.
    pub(crate) fn copy_of(tensor: &Tensor) -> Result<Self> {
        let kind = tensor.f_kind()?;
        let mut data = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut data, tensor.numel())?;
        let shape = tensor.size().iter().map(|&n| n as usize).collect();
        Ok(Self { dtype: dtype(kind)?, shape, data })
    }

    /// Copies named tensors.
    pub(crate) fn copy_all<T: Borrow<Tensor>>(
        tensors: impl IntoIterator<Item = (String, T)>,
    ) -> Result<HostTensors> {
        tensors.into_iter().map(|(name, tensor)| Ok((name, Self::copy_of(tensor.borrow())?))).collect()
    }
}

impl View for &HostTensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

/// Named copies, as one file of a checkpoint holds them.
pub(crate) type HostTensors = Vec<(String, HostTensor)>;

/// The bytes of a safetensors file.
pub(crate) fn encode(tensors: &HostTensors) -> Result<Vec<u8>> {
    let views = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    safetensors::serialize(views, None).map_err(|e| Error::Encode { reason: e.to_string() })
}

/// A safetensors file of a checkpoint whose hash was right.
#[derive(Debug)]
pub(crate) struct TensorFile<'a> {
    name: &'static str,
    tensors: SafeTensors<'a>,
}

impl<'a> TensorFile<'a> {
    /// Parses the bytes of the file `name`.
    pub(crate) fn parse(name: &'static str, bytes: &'a [u8]) -> Result<Self> {
        let bad = |e: safetensors::SafeTensorError| Error::state(name, format!("it does not parse: {e}"));
        Ok(Self { name, tensors: SafeTensors::deserialize(bytes).map_err(bad)? })
    }

    /// Copies the file's tensors into `targets`: the same names, shapes and kinds on both sides, or nothing is copied.
    pub(crate) fn restore_all<T: Borrow<Tensor>>(
        &self,
        targets: impl IntoIterator<Item = (String, T)>,
    ) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let mut extra = self.tensors.names();
        let mut pairs = Vec::new();
        for (name, target) in targets {
            let target = target.borrow().shallow_clone();
            let found = self.read(&name)?;
            if found.size() != target.size() || found.f_kind()? != target.f_kind()? {
                let describe = |t: &Tensor| format!("{:?}{:?}", t.kind(), t.size());
                let (found, wanted) = (describe(&found), describe(&target));
                return Err(Error::state(
                    self.name,
                    format!("tensor {name} is {found}, but this job needs {wanted}"),
                ));
            }
            extra.retain(|other| *other != name);
            pairs.push((found, target));
        }
        if let Some(name) = extra.iter().min() {
            return Err(Error::state(
                self.name,
                format!("it holds tensor {name}, which this job does not have"),
            ));
        }
        for (found, mut target) in pairs {
            target.f_copy_(&found)?;
        }
        Ok(())
    }

    /// A tensor of the file.
    pub(crate) fn read(&self, tensor: &str) -> Result<Tensor> {
        let view = self.view(tensor)?;
        let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        Ok(Tensor::f_from_data_size(view.data(), &shape, kind(view.dtype())?)?)
    }

    /// Names of all its tensors.
    pub(super) fn names(&self) -> Vec<&str> {
        self.tensors.names()
    }

    /// Type and shape of a tensor, whether or not libtorch knows that type.
    pub(super) fn describe(&self, tensor: &str) -> Result<(Dtype, Vec<i64>)> {
        let view = self.view(tensor)?;
        Ok((view.dtype(), view.shape().iter().map(|&n| n as i64).collect()))
    }

    fn view(&self, tensor: &str) -> Result<TensorView<'_>> {
        self.tensors.tensor(tensor).map_err(|_| Error::state(self.name, format!("it lacks tensor {tensor}")))
    }
}

const KINDS: [(Kind, Dtype); 10] = [
    (Kind::Bool, Dtype::BOOL),
    (Kind::Uint8, Dtype::U8),
    (Kind::Int8, Dtype::I8),
    (Kind::Int16, Dtype::I16),
    (Kind::Int, Dtype::I32),
    (Kind::Int64, Dtype::I64),
    (Kind::Half, Dtype::F16),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
];

fn dtype(kind: Kind) -> Result<Dtype> {
    (KINDS.iter().find(|(k, _)| *k == kind).map(|(_, d)| *d))
        .ok_or_else(|| Error::Encode { reason: format!("tensors of kind {kind:?} can't be saved") })
}

pub(super) fn kind(dtype: Dtype) -> Result<Kind> {
    (KINDS.iter().find(|(_, d)| *d == dtype).map(|(k, _)| *k))
        .ok_or_else(|| Error::Encode { reason: format!("tensors of type {dtype:?} can't be loaded") })
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn every_kind_comes_back_and_the_bytes_do_not_depend_on_the_order() {
        let mut tensors = HostTensors::new();
        for (i, (kind, _)) in KINDS.iter().enumerate() {
            let t = Tensor::arange(6, (Kind::Int64, Device::Cpu)).view([2, 3]).to_kind(*kind);
            tensors.push((format!("t{i}"), HostTensor::copy_of(&t).unwrap()));
        }
        tensors.push(("scalar".into(), HostTensor::copy_of(&Tensor::from(1.5f32)).unwrap()));
        let bytes = encode(&tensors).unwrap();
        let file = TensorFile::parse("model.safetensors", &bytes).unwrap();
        for (name, host) in &tensors {
            assert_eq!(HostTensor::copy_of(&file.read(name).unwrap()).unwrap(), *host);
        }
        tensors.reverse();
        assert_eq!(encode(&tensors).unwrap(), bytes);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let one =
            |name: &str| (name.to_owned(), HostTensor::copy_of(&Tensor::from_slice(&[1f32, 2.0])).unwrap());
        let bytes = encode(&vec![one("a"), one("b")]).unwrap();
        let file = TensorFile::parse("model.safetensors", &bytes).unwrap();
        let zeros = |n: i64| Tensor::zeros([n], (Kind::Float, Device::Cpu));
        let (a, b, c, wide) = (zeros(2), zeros(2), zeros(2), zeros(3));
        let restore = |targets: &[(&str, &Tensor)]| {
            let targets = targets.iter().map(|(name, t)| ((*name).to_owned(), *t));
            file.restore_all(targets).map_err(|e| e.to_string())
        };
        let is =
            |r: Result<(), String>, text: &str| assert!(r.as_ref().is_err_and(|e| e.contains(text)), "{r:?}");
        is(restore(&[("a", &a), ("b", &wide)]), "tensor b is Float[2], but this job needs Float[3]");
        is(restore(&[("a", &a), ("b", &b), ("c", &c)]), "lacks tensor c");
        is(restore(&[("a", &a)]), "holds tensor b");
        assert_eq!(
            f64::try_from(a.sum(Kind::Double)).unwrap(),
            0.0,
            "nothing is copied where something is wrong"
        );
        restore(&[("a", &a), ("b", &b)]).unwrap();
        assert_eq!(f64::try_from((a + b).sum(Kind::Double)).unwrap(), 6.0);
        assert!(TensorFile::parse("model.safetensors", &bytes[..bytes.len() - 1]).is_err());
    }
}
