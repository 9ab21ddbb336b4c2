//! Finds the GPUs, and tells of them until nobody reads.

use crate::look::look;
use anyhow::{Context, anyhow};
use lockstep_run::{GpuLine, GpuUuid};
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, EventSet, Nvml};
use std::ffi::OsStr;
use std::io::Write;
use std::time::{Duration, Instant};

/// The driver's library; the crate's own default is a name that only development packages bring.
const LIBRARY: &str = "libnvidia-ml.so.1";
/// Different error codes that are kept of one GPU.
const MOST_XIDS: usize = 16;
/// What the driver calls an error whose code it doesn't know.
const UNKNOWN_XID: u64 = 999;

/// A GPU, or a slice of one.
struct Watched<'a> {
    device: Device<'a>,
    /// Of a slice the GPU that it is a part of.
    whole: Option<Device<'a>>,
    xids: Vec<u64>,
}

/// Prints a line every `every`, and one at each error that the driver tells of. Blocks until nobody reads.
///
/// # Errors
/// What is missing: the driver's library, the driver, or a GPU of `wanted`.
pub(crate) fn run(wanted: &[GpuUuid], every: Duration, out: &mut impl Write) -> anyhow::Result<()> {
    let nvml = Nvml::builder().lib_path(OsStr::new(LIBRARY)).init();
    let nvml = nvml.map_err(|error| anyhow!("{LIBRARY} of NVIDIA's driver can't be used: {error}"))?;
    let mut gpus = find(&nvml, wanted)?;
    let events = listen(&nvml, &gpus);
    loop {
        let seen = gpus.iter().map(|gpu| look(&gpu.device, gpu.whole.as_ref(), &gpu.xids)).collect();
        if print(out, &GpuLine::Gpus(seen)).is_err() {
            return Ok(());
        }
        wait(events.as_ref(), every, &mut gpus);
    }
}

/// Writes one line.
///
/// # Errors
/// Nobody reads any more.
pub(crate) fn print(out: &mut impl Write, line: &GpuLine) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")?;
    out.flush()
}

fn find<'a>(nvml: &'a Nvml, wanted: &[GpuUuid]) -> anyhow::Result<Vec<Watched<'a>>> {
    let devices: Vec<_> = match wanted {
        [] => {
            let count = nvml.device_count().context("the driver doesn't count its GPUs")?;
            let all: Result<Vec<_>, _> = (0..count).map(|index| nvml.device_by_index(index)).collect();
            all.context("the driver doesn't show a GPU that it counts")?
        }
        wanted => {
            let by_uuid = |uuid: &GpuUuid| {
                let found = nvml.device_by_uuid(format!("GPU-{uuid}"));
                let found = found.or_else(|_| nvml.device_by_uuid(format!("MIG-{uuid}")));
                found.with_context(|| format!("the driver doesn't show the GPU {uuid}"))
            };
            wanted.iter().map(by_uuid).collect::<anyhow::Result<_>>()?
        }
    };
    let watched = |device: Device<'a>| {
        let is_slice = device.mig_is_mig_device_handle().unwrap_or(false);
        let whole = is_slice.then(|| device.mig_parent_device().ok()).flatten();
        Watched { device, whole, xids: Vec::new() }
    };
    Ok(devices.into_iter().map(watched).collect())
}

/// Asks the driver to tell of errors; not every GPU and system can.
fn listen<'a>(nvml: &'a Nvml, gpus: &[Watched<'a>]) -> Option<EventSet<'a>> {
    let register = |set: EventSet<'a>, gpu: &Watched<'a>| {
        let device = gpu.whole.as_ref().unwrap_or(&gpu.device);
        device.register_events(EventTypes::CRITICAL_XID_ERROR, set).ok()
    };
    gpus.iter().try_fold(nvml.create_event_set().ok()?, register)
}

/// Waits for `every`, or less where the driver tells of an error meanwhile, which is kept.
fn wait(events: Option<&EventSet<'_>>, every: Duration, gpus: &mut [Watched<'_>]) {
    let until = Instant::now() + every;
    let Some(events) = events else { return std::thread::sleep(every) };
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        match events.wait(left.as_millis().try_into().unwrap_or(u32::MAX)) {
            Ok(event) => {
                let code = match event.event_data {
                    Some(XidError::Value(code)) => code,
                    Some(XidError::Unknown) => UNKNOWN_XID,
                    None => continue,
                };
                if keep(code, &event.device, gpus) {
                    return;
                }
            }
            Err(NvmlError::Timeout) => {}
            // A GPU that is lost: its figures tell what is left of it.
            Err(_) => return std::thread::sleep(left),
        }
    }
}

/// Whether the code is a new one of a GPU that is watched. Slices of one GPU share its errors.
fn keep(code: u64, of: &Device<'_>, gpus: &mut [Watched<'_>]) -> bool {
    let Ok(uuid) = of.uuid() else { return false };
    let mut is_new = false;
    for gpu in gpus.iter_mut() {
        let own = gpu.whole.as_ref().unwrap_or(&gpu.device).uuid();
        if own.is_ok_and(|own| own == uuid) && !gpu.xids.contains(&code) && gpu.xids.len() < MOST_XIDS {
            gpu.xids.push(code);
            is_new = true;
        }
    }
    is_new
}
