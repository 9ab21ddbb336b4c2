//! What `model.recompute` is for. The only test of its program, whose whole memory it looks at.
#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.
#![allow(clippy::disallowed_methods)] // there is no reducer here

use lockstep_job::Gpt;
use lockstep_trainer::{Batch, Running, Setup, Task};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, nn::VarStore};

const CONTEXT: i64 = 256;

/// A field of this process's status, in MiB.
fn memory(field: &str) -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<i64>().unwrap() >> 10
}

/// By how many MiB a forward and a backward pass raise what this process holds.
fn raised_by_a_step(layers: u32, recompute: Option<&str>) -> i64 {
    let gpt = json!({"layers": layers, "heads": 4, "width": 128, "context": CONTEXT, "vocab": 64, "recompute": recompute});
    let gpt: Gpt = serde_json::from_value(gpt).unwrap();
    let tokens = Tensor::ones([24, CONTEXT + 1], (Kind::Int64, Device::Cpu));
    let batch = Batch::new(vec![("tokens".to_owned(), tokens)], (0..24).collect());
    let (vars, running) = (VarStore::new(Device::Cpu), Running::default());
    let setup = Setup {
        config: &Value::Null,
        columns: &batch,
        num_classes: None,
        vocab: None,
        device: Device::Cpu,
        running: &running,
    };
    let model = gpt.build(&setup, &vars.root()).unwrap();
    let before = memory("VmRSS");
    // So that VmHWM is counted from here.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    model.forward(&batch).unwrap().backward();
    memory("VmHWM") - before
}

/// Of the 20 numbers or so that a block keeps for each of its inputs, one is left.
#[test]
fn a_step_that_computes_blocks_again_takes_a_fraction_of_the_memory() {
    tch::set_num_threads(1);
    // What is loaded once for all steps doesn't count. From here on buffers go back when they are freed.
    raised_by_a_step(1, Some("block"));
    let (again, kept) = (raised_by_a_step(12, Some("block")), raised_by_a_step(12, None));
    eprintln!("a step raises memory by {kept} MiB, and by {again} MiB where blocks are computed again");
    assert!(again * 3 < kept, "{again} MiB and {kept} MiB");
}
