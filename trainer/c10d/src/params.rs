//! A model's parameters, in the order that everything else goes by.

use std::collections::HashMap;

use tch::{Device, Tensor, nn};

use crate::ffi::{self, check, raw_list};
use crate::{BucketPlan, Error, ParamSize, PlanError, Result};

/// Named trainable parameters in one fixed order. Ranks that build the same model have the same order, which the
/// reducer's buckets, the optimizer's state and the checkpoint depend on.
///
/// The tensors are handles on the model's own storage.
#[derive(Debug)]
pub struct Parameters {
    names: Vec<String>,
    tensors: Vec<Tensor>,
}

/// What [`Parameters::clip_grad_norm`] found, as tensors: reading them is up to the caller, and waits for the device.
#[derive(Debug)]
pub struct GradNorm {
    /// The 2-norm of all gradients together, before clipping. No dimensions.
    pub norm: Tensor,
    /// 1 if the norm is infinite or not a number, else 0. No dimensions, `f32`. After a reducer's backward it is the same
    /// on all ranks, because the gradients are. Optimizers take it and skip the step.
    pub non_finite: Tensor,
}

impl Parameters {
    /// Takes the trainable variables of a model in the order of their creation. (A `VarStore`'s own map of names has
    /// another order in each process.)
    pub fn of(model: &nn::VarStore) -> Result<Self> {
        let names: HashMap<_, _> =
            model.variables().into_iter().map(|(name, tensor)| (tensor.data_ptr(), name)).collect();
        let tensors = model.trainable_variables();
        let named = tensors.into_iter().map(|tensor| match names.get(&tensor.data_ptr()) {
            Some(name) => Ok((name.clone(), tensor)),
            None => Err(Error::invalid("Parameters::of", "a trainable variable has no name")),
        });
        Self::new(named.collect::<Result<_>>()?)
    }

    /// Takes these parameters in this order: at least one, with different names, leaves that require gradients, dense,
    /// contiguous and all on one device.
    pub fn new(named: Vec<(String, Tensor)>) -> Result<Self> {
        let invalid = |problem: String| Err(Error::invalid("Parameters::new", problem));
        let (names, tensors): (Vec<String>, Vec<Tensor>) = named.into_iter().unzip();
        if names.is_empty() {
            return invalid("the model has no trainable parameters".to_owned());
        }
        let mut seen = std::collections::HashSet::new();
        for (name, tensor) in names.iter().zip(&tensors) {
            if !seen.insert(name) {
                return invalid(format!("two parameters are named {name:?}"));
            }
            if name.contains('\0') {
                return invalid(format!("the name {name:?} holds a NUL byte"));
            }
            if !tensor.defined() || tensor.is_sparse() || !tensor.is_contiguous() {
                return invalid(format!("parameter {name:?} is not a dense, contiguous tensor"));
            }
            let is_leaf = tensor.f_is_leaf().map_err(|error| Error::torch("Parameters::new", error))?;
            if !is_leaf || !tensor.requires_grad() {
                return invalid(format!("parameter {name:?} is not a leaf that requires gradients"));
            }
            if tensor.device() != tensors[0].device() {
                let (here, there) = (tensor.device(), tensors[0].device());
                return invalid(format!(
                    "parameter {name:?} is on {here:?}, and {:?} is on {there:?}",
                    names[0]
                ));
            }
        }
        Ok(Self { names, tensors })
    }

    /// The names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The tensors, in order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Names and tensors, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.names.iter().map(String::as_str).zip(&self.tensors)
    }

    /// Where they are.
    pub fn device(&self) -> Device {
        self.tensors[0].device()
    }

    /// What a bucket plan needs to know, in order.
    pub fn sizes(&self) -> Result<Vec<ParamSize>> {
        let size = |tensor: &Tensor| {
            let kind = tensor.f_kind().map_err(|error| Error::torch("Parameters::sizes", error))?;
            Ok(ParamSize { bytes: (tensor.numel() * kind.elt_size_in_bytes()) as u64, kind })
        };
        self.tensors.iter().map(size).collect()
    }

    /// The bucket plan with the default caps.
    pub fn bucket_plan(&self) -> Result<BucketPlan> {
        let plan: Result<_, PlanError> =
            BucketPlan::new(&self.sizes()?, BucketPlan::FIRST_CAP_BYTES, BucketPlan::CAP_BYTES);
        Ok(plan?)
    }

    /// Takes the gradients away, so that the next backward starts afresh. A gradient may be a view of a reducer's bucket,
    /// which tch's own `zero_grad` fails on; and a step that always starts without gradients has the same bits in a
    /// resumed run as in one that was not interrupted.
    pub fn zero_grad(&self) -> Result<()> {
        let list = raw_list(&self.tensors);
        // SAFETY: the list and its tensors live through the call.
        check(unsafe { ffi::ls_zero_grad(list.as_ptr(), list.len()) })
            .map_err(|raised| raised.torch("zero_grad"))
    }

    /// Scales all gradients by one factor so that their common 2-norm is at most `max_norm`, if one is given, and returns
    /// the norm that they had. The same operations as PyTorch's `clip_grad_norm_`, the same bits, and no wait for the device.
    ///
    /// # Errors
    ///
    /// [`Error::Torch`] when a parameter has no gradient, [`Error::Invalid`] when `max_norm` is not a positive number.
    pub fn clip_grad_norm(&self, max_norm: Option<f64>) -> Result<GradNorm> {
        if let Some(max_norm) = max_norm.filter(|max_norm| !(max_norm.is_finite() && *max_norm > 0.0)) {
            return Err(Error::invalid(
                "clip_grad_norm",
                format!("a maximum of {max_norm} is not a positive number"),
            ));
        }
        let list = raw_list(&self.tensors);
        let (mut norm, mut non_finite) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the list and its tensors live through the call; the two places are written on success.
        let code = unsafe {
            ffi::ls_clip_grad_norm(
                list.as_ptr(),
                list.len(),
                max_norm.unwrap_or(-1.0),
                &mut norm,
                &mut non_finite,
            )
        };
        check(code).map_err(|raised| raised.torch("clip_grad_norm"))?;
        // SAFETY: on success both are new tensors that are ours.
        Ok(unsafe { GradNorm { norm: Tensor::from_ptr(norm), non_finite: Tensor::from_ptr(non_finite) } })
    }
}
