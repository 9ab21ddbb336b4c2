//! What a run's GPUs do, as a table.

use crate::output;
use crate::plain::plain_line;
use lockstep_run::GpuOfNode;
use lockstep_run::status::RunStatus;

/// One line for each GPU; none where nobody told of any.
pub(crate) fn gpus(status: &RunStatus) -> Option<String> {
    let heading =
        ["NODE", "GPU", "NAME", "MEMORY", "BUSY", "SM CLOCK", "POWER", "TEMP", "ECC", "XID", "SLOWED BY"];
    (!status.gpus.is_empty()).then(|| output::columns(&heading, status.gpus.iter().map(row)))
}

fn row(GpuOfNode { node, gpu }: &GpuOfNode) -> Vec<String> {
    let number = |value: Option<u32>, unit: &str| value.map_or_else(dash, |value| format!("{value}{unit}"));
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let memory = gpu.memory_used.zip(gpu.memory_total);
    vec![
        node.to_string(),
        gpu.index.map_or_else(|| plain_line(&gpu.uuid).into_owned(), |index| index.to_string()),
        plain_line(&gpu.name).into_owned(),
        memory.map_or_else(dash, |(used, total)| format!("{:.1}/{:.0}GiB", gib(used), gib(total))),
        number(gpu.utilization, "%"),
        number(gpu.sm_clock, "MHz"),
        number(gpu.power, "W"),
        number(gpu.temperature, "°C"),
        gpu.ecc_uncorrected.map_or_else(dash, |errors| errors.to_string()),
        listed(&gpu.xids),
        listed(&gpu.slowed_by),
    ]
}

fn listed<T: ToString>(all: &[T]) -> String {
    let words: Vec<_> = all.iter().map(T::to_string).collect();
    if words.is_empty() { dash() } else { words.join(", ") }
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_gpu_has_a_line() {
        let status = json!({
            "name": "gpt", "run_dir": "runs/gpt", "phase": "running", "step": 1, "total_steps": 9, "loss": null, "eval": {},
            "samples_per_second": null, "tokens_per_second": null, "mfu": null, "step_seconds": null, "slowest_rank": null,
            "eta_seconds": null, "generation": 1, "restarts": 0, "nodes": [2, 2], "last_checkpoint": null,
            "time_to_first_step_seconds": null, "why": null, "gpu_seconds": 7.5,
            "gpus": [
                { "node": 0, "index": 3, "uuid": "GPU-1", "name": "NVIDIA H200", "memory_used": 104_152_956_928_u64,
                  "memory_total": 151_397_597_184_u64, "utilization": 97, "sm_clock": 1830, "power": 613,
                  "temperature": 88, "ecc_uncorrected": 0, "xids": [79, 48], "slowed_by": ["power_cap", "hardware_thermal"] },
                { "node": 1, "index": null, "uuid": "MIG-2", "name": "a\u{1b}", "xids": [], "slowed_by": [] },
            ],
        });
        let mut status: RunStatus = serde_json::from_value(status).unwrap();
        let text = gpus(&status).unwrap();
        let lines: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0].join(" "), "NODE GPU NAME MEMORY BUSY SM CLOCK POWER TEMP ECC XID SLOWED BY");
        let first =
            "0 3 NVIDIA H200 97.0/141GiB 97% 1830MHz 613W 88°C 0 79, 48 power cap, hardware thermal slowdown";
        assert_eq!(lines[1].join(" "), first);
        assert!(lines[2].join(" ").starts_with("1 MIG-2 a") && !text.contains('\u{1b}'), "{text}");
        assert!(lines[2].join(" ").ends_with("- - - - - - - -"), "{text}");
        status.gpus.clear();
        assert_eq!(gpus(&status), None);
    }
}
