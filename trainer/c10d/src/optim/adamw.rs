//! AdamW.

use tch::{Kind, Tensor};

use super::group::{Decay, Order};
use super::{Optimizer, state};
use crate::ffi::{self, LsAdamW, check, raw, raw_list, raw_option};
use crate::{Error, Parameters, Result};

/// What AdamW is told once. The defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWOptions {
    /// Decay of the mean of the gradients and of that of their squares. Default: 0.9, 0.999.
    pub betas: (f64, f64),
    /// Added to the denominator. Default: 1e-8.
    pub eps: f64,
    /// Decoupled weight decay, times the learning rate. Default: 0.01.
    pub weight_decay: f64,
    /// Of which parameters. Default: of all.
    pub decay: Decay,
}

impl Default for AdamWOptions {
    fn default() -> Self {
        Self { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.01, decay: Decay::All }
    }
}

/// AdamW over libtorch's fused kernel: the results of `torch.optim.AdamW(fused=True)`.
///
/// State: `step` (one `f32` count for all parameters), then `exp_avg` and `exp_avg_sq` of each parameter.
///
/// Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization.
#[derive(Debug)]
pub struct AdamW {
    options: AdamWOptions,
    names: Vec<String>,
    order: Order,
    /// In that order; the state's are in the parameters' own.
    params: Vec<Tensor>,
    exp_avgs: Vec<Tensor>,
    exp_avg_sqs: Vec<Tensor>,
    step: Tensor,
}

impl AdamW {
    /// An optimizer that has taken no step.
    pub fn new(params: &Parameters, options: AdamWOptions) -> Result<Self> {
        let AdamWOptions { betas, eps, weight_decay, decay } = options;
        let is_beta = |beta: f64| (0.0..1.0).contains(&beta);
        if !is_beta(betas.0) || !is_beta(betas.1) || eps.is_nan() || eps < 0.0 || !weight_decay.is_finite() {
            let problem =
                format!("{options:?}: betas are in [0, 1), eps is not negative, weight decay is finite");
            return Err(Error::invalid("AdamW::new", problem));
        }
        let step = Tensor::f_zeros([], (Kind::Float, params.device()))
            .map_err(|error| Error::torch("AdamW::new", error))?;
        let order = Order::new(params, decay);
        Ok(Self {
            options,
            names: params.names().to_vec(),
            params: order.of(params.tensors()),
            exp_avgs: state::zeros_like(params)?,
            exp_avg_sqs: state::zeros_like(params)?,
            step,
            order,
        })
    }
}

impl Optimizer for AdamW {
    fn step(&mut self, lr: f64, skip: Option<&Tensor>) -> Result<()> {
        state::require_skip(skip)?;
        let params = raw_list(&self.params);
        let (means, squares) = (self.order.of(&self.exp_avgs), self.order.of(&self.exp_avg_sqs));
        let (exp_avgs, exp_avg_sqs) = (raw_list(&means), raw_list(&squares));
        let (beta1, beta2) = self.options.betas;
        let options =
            LsAdamW { lr, beta1, beta2, eps: self.options.eps, weight_decay: self.options.weight_decay };
        // SAFETY: three lists of `params.len()` tensors each, which live through the call, as do the step and the flag.
        check(unsafe {
            ffi::ls_adamw_step(
                params.as_ptr(),
                exp_avgs.as_ptr(),
                exp_avg_sqs.as_ptr(),
                params.len(),
                self.order.num_decaying,
                raw(&self.step),
                raw_option(skip),
                options,
            )
        })
        .map_err(|raised| raised.torch("AdamW::step"))
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let mut all = vec![("step".to_owned(), self.step.shallow_clone())];
        all.extend(state::named(&self.names, "exp_avg", &self.exp_avgs));
        all.extend(state::named(&self.names, "exp_avg_sq", &self.exp_avg_sqs));
        all
    }

    fn load_state(&mut self, from: &[(String, Tensor)]) -> Result<()> {
        state::load(self.state(), from)
    }
}
