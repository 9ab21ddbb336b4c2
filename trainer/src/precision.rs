use crate::Result;
use lockstep_c10d::Autocast;
use lockstep_job::Precision;
use tch::{Device, Kind};

/// Until it is dropped, the model computes in the numbers that the job asks for.
pub(crate) fn begin(precision: Precision, device: Device) -> Result<Option<Autocast>> {
    Ok(match precision {
        Precision::Fp32 => None,
        Precision::Bf16 => Some(Autocast::begin(device, Kind::BFloat16)?),
    })
}
