//! Stochastic gradient descent with momentum.

use tch::Tensor;

use super::group::{Decay, Order};
use super::{Optimizer, state};
use crate::ffi::{self, LsSgd, check, raw_list, raw_option};
use crate::{Error, Parameters, Result};

/// What SGD is told once. The defaults are PyTorch's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SgdOptions {
    /// Decay of the running sum of gradients; 0 keeps none. Default: 0.
    pub momentum: f64,
    /// Weight decay, added to the gradient. Default: 0.
    pub weight_decay: f64,
    /// Of which parameters. Default: of all.
    pub decay: Decay,
    /// Look ahead by the momentum; needs one. Default: false.
    pub nesterov: bool,
}

/// SGD over libtorch's fused kernel: the results of `torch.optim.SGD(fused=True)` without dampening.
///
/// State: `momentum_buffer` of each parameter, and none without momentum.
///
/// Source: Sutskever and others, On the importance of initialization and momentum in deep learning.
#[derive(Debug)]
pub struct Sgd {
    options: SgdOptions,
    names: Vec<String>,
    order: Order,
    /// In that order; the state's are in the parameters' own.
    params: Vec<Tensor>,
    /// Empty without momentum.
    momentum_buffers: Vec<Tensor>,
}

impl Sgd {
    /// An optimizer that has taken no step.
    pub fn new(params: &Parameters, options: SgdOptions) -> Result<Self> {
        let SgdOptions { momentum, weight_decay, nesterov, decay } = options;
        if !(0.0..1.0).contains(&momentum) || !weight_decay.is_finite() || (nesterov && momentum == 0.0) {
            let problem = format!(
                "{options:?}: momentum is in [0, 1), and above 0 with nesterov; weight decay is finite"
            );
            return Err(Error::invalid("Sgd::new", problem));
        }
        let order = Order::new(params, decay);
        Ok(Self {
            options,
            names: params.names().to_vec(),
            params: order.of(params.tensors()),
            order,
            momentum_buffers: if momentum == 0.0 { Vec::new() } else { state::zeros_like(params)? },
        })
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, lr: f64, skip: Option<&Tensor>) -> Result<()> {
        state::require_skip(skip)?;
        let params = raw_list(&self.params);
        let momenta = self.order.of(&self.momentum_buffers);
        let buffers = raw_list(&momenta);
        let buffers_ptr = if buffers.is_empty() { std::ptr::null() } else { buffers.as_ptr() };
        let SgdOptions { momentum, weight_decay, nesterov, .. } = self.options;
        let options = LsSgd { lr, momentum, weight_decay, nesterov: nesterov.into() };
        // SAFETY: lists of `params.len()` tensors each, the second null without momentum; they live through the call, as
        // does the flag.
        check(unsafe {
            ffi::ls_sgd_step(
                params.as_ptr(),
                buffers_ptr,
                params.len(),
                self.order.num_decaying,
                raw_option(skip),
                options,
            )
        })
        .map_err(|raised| raised.torch("Sgd::step"))
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        state::named(&self.names, "momentum_buffer", &self.momentum_buffers).collect()
    }

    fn load_state(&mut self, from: &[(String, Tensor)]) -> Result<()> {
        state::load(self.state(), from)
    }
}
