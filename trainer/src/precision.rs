use crate::Result;
use lockstep_c10d::{Autocast, Exchange};
use lockstep_job::{self as job, Precision};
use tch::{Device, Kind};

/// Until it is dropped, the model computes in the numbers that the job asks for.
pub(crate) fn begin(precision: Precision, device: Device) -> Result<Option<Autocast>> {
    Ok(match precision {
        Precision::Fp32 => None,
        Precision::Bf16 => Some(Autocast::begin(device, Kind::BFloat16)?),
    })
}

/// In which numbers the gradients go to the other ranks.
pub(crate) fn exchange(exchange: job::Exchange) -> Exchange {
    match exchange {
        job::Exchange::Fp32 => Exchange::Whole,
        job::Exchange::Bf16 => Exchange::BFloat16,
        job::Exchange::Fp16 => Exchange::Half,
    }
}
