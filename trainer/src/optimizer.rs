use crate::{Error, Result};
use lockstep_c10d::{AdamW, AdamWOptions, Decay, Optimizer, Parameters, Sgd, SgdOptions};
use lockstep_job as job;

/// The optimizer that the job asks for, with fresh moments.
pub(crate) fn build(spec: &job::Optimizer, parameters: &Parameters) -> Result<Box<dyn Optimizer>> {
    match *spec {
        job::Optimizer::Adamw { betas: [beta1, beta2], eps, weight_decay, decay, .. } => {
            let options = AdamWOptions { betas: (beta1, beta2), eps, weight_decay, decay: kind(decay) };
            Ok(Box::new(AdamW::new(parameters, options)?))
        }
        job::Optimizer::Sgd { momentum, weight_decay, nesterov, decay, .. } => Ok(Box::new(Sgd::new(
            parameters,
            SgdOptions { momentum, weight_decay, nesterov, decay: kind(decay) },
        )?)),
        _ => Err(Error::Job {
            reason: "this worker does not know its optimizer; use the same version of Lockstep everywhere"
                .into(),
        }),
    }
}

fn kind(decay: job::Decay) -> Decay {
    match decay {
        job::Decay::All => Decay::All,
        job::Decay::Matrices => Decay::Matrices,
    }
}
