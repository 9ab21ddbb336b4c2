//! Asks NVIDIA's driver, and nothing else, whether there is a GPU: opening libtorch's CUDA half takes a second.
//!
//! Source: the CUDA driver API, <https://docs.nvidia.com/cuda/cuda-driver-api/>.

use std::ffi::{c_int, c_uint};
use std::mem::ManuallyDrop;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::CudaMissing;
use super::missing::reason;

/// The CUDA of libtorch's wheel. A driver of any later version runs it.
const NEEDED: c_int = 13_000;
/// `CUDA_ERROR_NO_DEVICE`.
const NO_DEVICE: c_int = 100;

/// How many GPUs this process sees: at least one.
pub(super) fn count_gpus() -> Result<u32, CudaMissing> {
    // SAFETY: the driver's library may be opened at any time; it is never closed, because it starts threads.
    let library = unsafe { Library::open(Some("libcuda.so.1"), RTLD_NOW | RTLD_LOCAL) };
    let library = ManuallyDrop::new(library.map_err(|error| CudaMissing::Driver { reason: reason(&error) })?);
    let start = function::<unsafe extern "C" fn(c_uint) -> c_int>(&library, "cuInit")?;
    // SAFETY: 0 is the one value that its flags may have.
    match unsafe { start(0) } {
        NO_DEVICE => return Err(no_device()),
        code => succeeded("cuInit", code)?,
    }
    let driver = number(&library, "cuDriverGetVersion")?;
    if driver < NEEDED {
        return Err(CudaMissing::DriverTooOld { driver, needed: NEEDED });
    }
    match number(&library, "cuDeviceGetCount")? {
        0 => Err(no_device()),
        count => Ok(count.cast_unsigned()),
    }
}

/// What the driver calls a GPU, or a slice of one, in every process and on every machine; none where it doesn't tell.
pub(super) fn uuid(index: u32) -> Option<[u8; 16]> {
    // SAFETY: as above.
    let library = unsafe { Library::open(Some("libcuda.so.1"), RTLD_NOW | RTLD_LOCAL) };
    let library = ManuallyDrop::new(library.ok()?);
    let start = function::<unsafe extern "C" fn(c_uint) -> c_int>(&library, "cuInit").ok()?;
    let device =
        function::<unsafe extern "C" fn(*mut c_int, c_int) -> c_int>(&library, "cuDeviceGet").ok()?;
    let tell =
        function::<unsafe extern "C" fn(*mut [u8; 16], c_int) -> c_int>(&library, "cuDeviceGetUuid_v2")
            .ok()?;
    let (mut handle, mut uuid) = (0, [0; 16]);
    // SAFETY: 0 is the one value that its flags may have; it may be called again.
    succeeded("cuInit", unsafe { start(0) }).ok()?;
    // SAFETY: it writes one int, to a place that lives through the call.
    succeeded("cuDeviceGet", unsafe { device(&mut handle, index.cast_signed()) }).ok()?;
    // SAFETY: it writes 16 bytes, to a place that lives through the call.
    succeeded("cuDeviceGetUuid_v2", unsafe { tell(&mut uuid, handle) }).ok()?;
    Some(uuid)
}

/// What a function tells that writes one number.
fn number(library: &Library, name: &'static str) -> Result<c_int, CudaMissing> {
    let tell = function::<unsafe extern "C" fn(*mut c_int) -> c_int>(library, name)?;
    let mut number = 0;
    // SAFETY: it writes one int, to a place that lives through the call.
    succeeded(name, unsafe { tell(&mut number) })?;
    Ok(number)
}

fn function<F: Copy>(library: &Library, name: &'static str) -> Result<F, CudaMissing> {
    // SAFETY: the types that this is called with are those of the driver API's functions of these names.
    let found = unsafe { library.get::<F>(name.as_bytes()) };
    found.map(|symbol| *symbol).map_err(|error| CudaMissing::Driver { reason: reason(&error) })
}

fn succeeded(call: &'static str, code: c_int) -> Result<(), CudaMissing> {
    if code == 0 { Ok(()) } else { Err(CudaMissing::DriverBroken { call, code }) }
}

fn no_device() -> CudaMissing {
    CudaMissing::Device { visible: std::env::var("CUDA_VISIBLE_DEVICES").ok() }
}
