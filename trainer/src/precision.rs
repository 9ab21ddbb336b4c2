use crate::Result;
use lockstep_c10d::{Autocast, Exchange, LossScale, LossScaleState};
use lockstep_job::{self as job, Precision};
use tch::{Device, Kind};

/// Until it is dropped, the model computes in the numbers that the job asks for.
pub(crate) fn begin(precision: Precision, device: Device) -> Result<Option<Autocast>> {
    Ok(match precision {
        Precision::Fp32 => None,
        Precision::Bf16 | Precision::Bf16Params => Some(Autocast::begin(device, Kind::BFloat16)?),
        Precision::Fp16 => Some(Autocast::begin(device, Kind::Half)?),
    })
}

/// The kind of the matrices that the model computes with, where it is not that of those which are trained.
pub(crate) fn of_parameters(precision: Precision) -> Option<Kind> {
    match precision {
        Precision::Fp32 | Precision::Bf16 | Precision::Fp16 => None,
        Precision::Bf16Params => Some(Kind::BFloat16),
    }
}

/// What keeps gradients in range, going on from `state`, where the numbers have so little that it is needed.
pub(crate) fn loss_scale(
    precision: Precision,
    state: Option<LossScaleState>,
    device: Device,
) -> Result<Option<LossScale>> {
    Ok(match precision {
        Precision::Fp32 | Precision::Bf16 | Precision::Bf16Params => None,
        Precision::Fp16 => Some(LossScale::new(state.unwrap_or_default(), device)?),
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
