//! One GPU at one moment. What the driver doesn't tell of it is left out: each kind of GPU tells something else.

use lockstep_run::{Gpu, Slowdown};
use nvml_wrapper::Device;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, TemperatureSensor};

const SLOWDOWNS: [(ThrottleReasons, Slowdown); 6] = [
    (ThrottleReasons::SW_POWER_CAP, Slowdown::PowerCap),
    (ThrottleReasons::SYNC_BOOST, Slowdown::SyncBoost),
    (ThrottleReasons::SW_THERMAL_SLOWDOWN, Slowdown::SoftwareThermal),
    (ThrottleReasons::HW_SLOWDOWN, Slowdown::Hardware),
    (ThrottleReasons::HW_THERMAL_SLOWDOWN, Slowdown::HardwareThermal),
    (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, Slowdown::PowerBrake),
];

/// What is known of `device`. Of a slice the driver tells memory alone; the rest is told of `whole`, the GPU that it is a part of.
pub(crate) fn look(device: &Device<'_>, whole: Option<&Device<'_>>, xids: &[u64]) -> Gpu {
    let memory = device.memory_info().ok();
    let of_all = whole.unwrap_or(device);
    let reasons = of_all.current_throttle_reasons().unwrap_or(ThrottleReasons::NONE);
    Gpu {
        index: of_all.index().ok(),
        uuid: device.uuid().unwrap_or_default(),
        name: device.name().unwrap_or_default(),
        memory_used: memory.as_ref().map(|memory| memory.used),
        memory_total: memory.as_ref().map(|memory| memory.total),
        utilization: device.utilization_rates().ok().filter(|_| whole.is_none()).map(|rates| rates.gpu),
        sm_clock: of_all.clock_info(Clock::SM).ok(),
        power: of_all.power_usage().ok().map(|milliwatts| (milliwatts + 500) / 1000),
        temperature: of_all.temperature(TemperatureSensor::Gpu).ok(),
        ecc_uncorrected: of_all.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile).ok(),
        xids: xids.to_vec(),
        slowed_by: SLOWDOWNS.iter().filter(|(bit, _)| reasons.contains(*bit)).map(|(_, why)| *why).collect(),
    }
}
