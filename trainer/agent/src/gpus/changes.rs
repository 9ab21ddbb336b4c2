//! Which of what GPUs tell is worth an event: errors, and clocks that trouble holds down. Each once.

use crate::machine::Time;
use lockstep_run::{Gpu, NodeId, Slowdown};
use std::collections::BTreeMap;
use std::time::Duration;

/// What was away for so long is told again; a hot GPU comes and goes every few seconds.
const QUIET: Duration = Duration::from_secs(600);

/// What was told of a node's GPUs.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The errors that were there last.
    xids: BTreeMap<String, Vec<u64>>,
    /// When each was last there.
    slowed: BTreeMap<(String, Slowdown), Time>,
}

impl Changes {
    /// Takes in what the GPUs of `node` tell; returns what is new of it, in words.
    pub(crate) fn take(&mut self, now: Time, node: NodeId, gpus: &[Gpu]) -> Vec<String> {
        let mut told = Vec::new();
        for gpu in gpus {
            let before = self.xids.insert(gpu.uuid.clone(), gpu.xids.clone()).unwrap_or_default();
            let new = gpu.xids.iter().filter(|code| !before.contains(code));
            told.extend(new.map(|code| format!("{} reported XID {code}{}", of(node, gpu), meaning(*code))));
            let troubles = gpu.slowed_by.iter().filter(|why| why.is_trouble());
            let new: Vec<_> =
                troubles.filter(|why| self.is_new(now, gpu, **why)).map(ToString::to_string).collect();
            if !new.is_empty() {
                let at = gpu.temperature.map_or(String::new(), |degrees| format!(", at {degrees} °C"));
                told.push(format!("{} is slowed down by {}{at}", of(node, gpu), new.join(", ")));
            }
        }
        told
    }

    fn is_new(&mut self, now: Time, gpu: &Gpu, why: Slowdown) -> bool {
        let before = self.slowed.insert((gpu.uuid.clone(), why), now);
        before.is_none_or(|before| now.saturating_sub(before) >= QUIET)
    }
}

fn of(node: NodeId, gpu: &Gpu) -> String {
    let number = gpu.index.map_or_else(|| gpu.uuid.clone(), |index| index.to_string());
    format!("GPU {number} of node {node} ({})", gpu.name)
}

/// What the commonest codes mean, and whom to suspect. Source: NVIDIA's XID catalogue.
fn meaning(code: u64) -> &'static str {
    match code {
        13 | 31 | 43 => ": a kernel went wrong there; suspect the program before the machine",
        48 | 94 => ": memory that ECC could not correct; have the machine looked at if it comes again",
        63 | 64 => ": faulty memory is taken out of use; reset the GPU when the run is over",
        74 => ": a fault of NVLink; have the machine looked at",
        79 => ": it fell off the bus; take the machine out of service and restart it",
        95 => ": memory that ECC could not correct, with more harm than to one program; reset the GPU",
        119 | 120 => ": the GPU's own processor doesn't answer; reset the GPU",
        _ => "; the kernel log of its machine (dmesg) says more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(xids: &[u64], slowed_by: &[Slowdown]) -> [Gpu; 1] {
        let (index, name, temperature) = (Some(3), "NVIDIA H200".to_owned(), Some(88));
        let (uuid, xids, slowed_by) = ("GPU-1".to_owned(), xids.to_vec(), slowed_by.to_vec());
        [Gpu { index, name, temperature, uuid, xids, slowed_by, ..Gpu::default() }]
    }

    #[test]
    fn each_change_is_told_once() {
        use Slowdown::{HardwareThermal, PowerCap, SyncBoost};
        let mut changes = Changes::default();
        let mut at = |seconds, xids: &[u64], slowed_by: &[Slowdown]| {
            changes.take(Duration::from_secs(seconds), NodeId(1), &gpu(xids, slowed_by)).join("; ")
        };
        assert_eq!(at(0, &[], &[PowerCap, SyncBoost]), "", "full load is no trouble");
        let hot = at(5, &[], &[PowerCap, HardwareThermal]);
        assert_eq!(
            hot,
            "GPU 3 of node 1 (NVIDIA H200) is slowed down by hardware thermal slowdown, at 88 °C"
        );
        assert_eq!(at(10, &[], &[HardwareThermal]), "");
        let lost = at(15, &[79], &[]);
        assert_eq!(lost, "GPU 3 of node 1 (NVIDIA H200) reported XID 79".to_owned() + meaning(79));
        assert_eq!(at(20, &[79], &[HardwareThermal]), "", "it comes and goes");
        assert!(at(25, &[79, 1], &[]).contains("reported XID 1; the kernel log"));
        assert!(at(620, &[79, 1], &[HardwareThermal]).contains("is slowed down"), "after a long quiet");
        // A new helper has heard of nothing.
        assert_eq!(at(625, &[], &[]), "");
        assert!(at(630, &[79], &[]).contains("XID 79"));
    }
}
