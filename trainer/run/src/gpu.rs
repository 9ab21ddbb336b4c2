//! What NVIDIA's driver tells of the GPUs that a run computes on.

use crate::segment::Metric;
use crate::{Membership, NodeId, RunDir};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What the driver calls a GPU, or a slice of one, on every machine and in every process. It reads as the driver's own name of it
/// without `GPU-` or `MIG-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GpuUuid(pub [u8; 16]);

impl fmt::Display for GpuUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for GpuUuid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 16];
        let digits = text.replace('-', "");
        match hex::decode_to_slice(&digits, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(_) => Err(format!("{text:?} is not the 32 hexadecimal digits of a GPU's UUID")),
        }
    }
}

/// One GPU at one moment. None stands for what the driver doesn't tell of this one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// The driver's number; of a slice, that of the GPU which it is a part of.
    pub index: Option<u32>,
    /// The driver's name for exactly this one: `GPU-…`, or `MIG-…` for a slice.
    pub uuid: String,
    /// What it is, for people: `NVIDIA H200`.
    pub name: String,
    /// Memory that all processes hold. Unit: bytes.
    pub memory_used: Option<u64>,
    /// All its memory. Unit: bytes.
    pub memory_total: Option<u64>,
    /// Share of the time in which some kernel ran, however small. Unit: percent. Of a slice none.
    pub utilization: Option<u32>,
    /// Clock of its multiprocessors; of a slice the whole GPU's, as all below. Unit: MHz.
    pub sm_clock: Option<u32>,
    /// What it draws. Unit: watts.
    pub power: Option<u32>,
    /// Its temperature. Unit: degrees Celsius.
    pub temperature: Option<u32>,
    /// Errors of its memory that could not be corrected, since the driver was loaded.
    pub ecc_uncorrected: Option<u64>,
    /// The driver's error codes (XID) that were seen since this run's workers started here, each once, in that order.
    pub xids: Vec<u64>,
    /// Why its clocks are lower than they might be.
    pub slowed_by: Vec<Slowdown>,
}

/// What holds a GPU's clocks down, beside having nothing to do and clocks that somebody set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slowdown {
    /// It draws as much power as it may. Usual under full load.
    PowerCap,
    /// Another GPU of its group is slowed down.
    SyncBoost,
    /// The driver found it, or its memory, too hot.
    SoftwareThermal,
    /// Its hardware halved the clocks, for temperature or power.
    Hardware,
    /// Its hardware halved the clocks because it is too hot.
    HardwareThermal,
    /// The machine's power supply asked for less.
    PowerBrake,
}

impl Slowdown {
    /// Whether somebody should look at the machine.
    pub fn is_trouble(self) -> bool {
        !matches!(self, Self::PowerCap | Self::SyncBoost)
    }
}

impl fmt::Display for Slowdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PowerCap => "power cap",
            Self::SyncBoost => "sync boost",
            Self::SoftwareThermal => "thermal slowdown",
            Self::Hardware => "hardware slowdown",
            Self::HardwareThermal => "hardware thermal slowdown",
            Self::PowerBrake => "power brake",
        })
    }
}

/// A GPU and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuOfNode {
    /// The node.
    pub node: NodeId,
    /// The GPU.
    #[serde(flatten)]
    pub gpu: Gpu,
}

impl GpuOfNode {
    /// All, in node order.
    pub fn all(by_node: &BTreeMap<NodeId, Vec<Gpu>>) -> Vec<Self> {
        let of = |(node, gpus): (&NodeId, &Vec<Gpu>)| {
            let node = *node;
            gpus.iter().cloned().map(move |gpu| Self { node, gpu }).collect::<Vec<_>>()
        };
        by_node.iter().flat_map(of).collect()
    }
}

/// One line of `lockstep-gpu`, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuLine {
    /// The GPUs that were asked for.
    Gpus(Vec<Gpu>),
    /// Nothing can be told, and why; the last line.
    Missing(String),
}

impl RunDir {
    /// GPU-seconds that the run has used, as far as its records tell; none where it has used none. Of a generation whose agents all
    /// died, what came after its last metrics is not counted.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn gpu_seconds(&self, newest: &Membership) -> crate::Result<Option<f64>> {
        match newest.outcome() {
            Some(_) => Ok(newest.gpu_seconds),
            None => Ok(recorded(newest, &self.last_metrics(newest.root.unwrap_or_default()).await?)),
        }
    }
}

/// The same, of the last metrics.
pub(crate) fn recorded(newest: &Membership, metrics: &[Metric]) -> Option<f64> {
    metrics.iter().map(|metric| metric.gpu_seconds).chain([newest.gpu_seconds]).flatten().reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generation, Report};

    #[test]
    fn a_uuid_reads_as_the_driver_writes_it() {
        let text = "5a1b9c00-0102-0304-0506-0708090a0b0c";
        let uuid: GpuUuid = text.parse().unwrap();
        assert_eq!((uuid.0[0], uuid.0[15], uuid.to_string().as_str()), (0x5a, 0x0c, text));
        for bad in ["", "5a1b", "GPU-5a1b9c00-0102-0304-0506-0708090a0b0c"] {
            assert!(bad.parse::<GpuUuid>().unwrap_err().contains("32 hexadecimal digits"), "{bad}");
        }
    }

    #[test]
    fn gpu_seconds_are_those_of_the_record_or_of_later_metrics() {
        let record = |gpu_seconds: Option<f64>| -> Membership {
            let writer = serde_json::json!({ "node": 0, "incarnation": 1, "nonce": 0 });
            serde_json::from_value(serde_json::json!({
                "runUid": "r", "generation": 2, "writer": writer, "launch": "a", "at": "1970-01-01T00:00:00Z", "reason": "",
                "gpuSeconds": gpu_seconds, "kind": "ended", "outcome": { "state": "done" }, "previous": 1,
            }))
            .unwrap()
        };
        let metric = |gpu_seconds| Metric {
            report: Report::default(),
            generation: Generation(1),
            at: jiff::Timestamp::UNIX_EPOCH,
            gpu_seconds,
        };
        for (of_record, of_metrics, expected) in [
            (None, &[None, None][..], None),
            (None, &[Some(1.0), Some(2.0)], Some(2.0)),
            (Some(8.0), &[], Some(8.0)),
            (Some(8.0), &[Some(7.0), None], Some(8.0)),
            (Some(8.0), &[Some(7.0), Some(9.0)], Some(9.0)),
        ] {
            let metrics: Vec<_> = of_metrics.iter().copied().map(metric).collect();
            assert_eq!(recorded(&record(of_record), &metrics), expected, "{of_record:?} {of_metrics:?}");
        }
    }
}
