//! Where a rank computes: decided once, here, and handed down.

use tch::Device;

/// The device of this process.
pub(crate) fn choose() -> Device {
    Device::Cpu
}
