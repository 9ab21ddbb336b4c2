//! The same training in PyTorch, on the same batches from the same initial weights.

use super::World;
use lockstep_job::JobSpec;
use lockstep_run::Step;
use lockstep_trainer::{Data, Stop};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use tch::Tensor;

/// What the twin is told beside what the job says.
pub struct Twin {
    /// Which model of `pytorch_twin.py`, with what it is built from.
    pub model: Value,
    /// The column that it reads.
    pub input: &'static str,
    /// The column of what it is to say of it; none where that is what comes next in the input.
    pub target: Option<&'static str>,
    /// Name and options of PyTorch's optimizer, without the learning rate.
    pub optimizer: Value,
    /// How far losses may differ, relative to them where they are above 1.
    pub losses_within: f64,
    /// How far any parameter or buffer may differ in the end, relative to the largest of its tensor where that is above 1.
    pub parameters_within: f64,
}

/// The interpreter of an environment with PyTorch, which is made where it is missing.
pub fn python() -> String {
    let script =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../tests/scripts/pytorch-venv.sh");
    let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "see above");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Whether Python has a module. An environment of the user's own may lack what only some tests need; then this says so.
pub fn has(module: &str) -> bool {
    let find = format!("import importlib.util, sys; sys.exit(importlib.util.find_spec({module:?}) is None)");
    let found = Command::new(python()).args(["-c", &find]).status().unwrap().success();
    if !found {
        eprintln!("NOT TESTED: LOCKSTEP_PYTHON has no {module}; install it there, or unset LOCKSTEP_PYTHON");
    }
    found
}

/// Runs a script of this crate's tests, and returns what it printed as JSON.
pub fn run_python(script: &str, folder: &Path) -> Value {
    let script = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("tests").join(script);
    let output = Command::new(python())
        .arg(script)
        .arg(folder)
        .env("OMP_NUM_THREADS", "1")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the script failed, see above");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// All batches of all ranks.
///
/// Shapes: each column `[steps, world, rows, ...]`
fn batches(
    world: &World,
    job: &JobSpec,
    columns: &[&'static str],
    steps: u64,
) -> Vec<(&'static str, Tensor)> {
    let data: Vec<_> = (0..job.world_size()).map(|rank| world.data.rank(rank, job)).collect();
    let mut sources: Vec<_> = data.iter().map(|d| d.train(&d.start()).unwrap()).collect();
    let mut all: Vec<Vec<Tensor>> = columns.iter().map(|_| Vec::new()).collect();
    for _ in 0..steps {
        for source in &mut sources {
            let batch = source.next().unwrap().batch;
            for (all, name) in all.iter_mut().zip(columns) {
                all.push(batch.column(name).unwrap().shallow_clone());
            }
        }
    }
    let rows = i64::from(job.train.global_batch / job.world_size());
    let shape = [steps as i64, i64::from(job.world_size()), rows];
    let stack = |tensors: &Vec<Tensor>| {
        let mut shape = shape.to_vec();
        shape.extend(&tensors[0].size()[1..]);
        Tensor::cat(tensors, 0).view(shape.as_slice())
    };
    columns.iter().copied().zip(all.iter().map(stack)).collect()
}

/// Trains both, and compares the losses of all steps and what comes out. Returns the last scale of the loss.
pub fn learns_the_same(spec: impl Fn() -> JobSpec, twin: &Twin) -> Option<f64> {
    let untrained = World::new(spec());
    untrained.train_with(|_, control| {
        control.stop_at(Stop { step: Step(0), reason: "test".into(), ends_run: true })
    });
    let world = World::new(spec());
    let steps = world.job.train.steps.unwrap();
    let ours = world.train().done(steps);
    let learning_rates: Vec<f64> = ours.reports().iter().filter_map(|p| p.lr).collect();

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("initial.safetensors"), &untrained.checkpoint(0)["model.safetensors"]).unwrap();
    std::fs::write(at("final.safetensors"), &world.checkpoint(steps)["model.safetensors"]).unwrap();
    let columns: Vec<_> = [twin.input].into_iter().chain(twin.target).collect();
    let batches = batches(&world, &world.job, &columns, steps);
    Tensor::write_safetensors(&batches, at("batches.safetensors")).unwrap();
    let told = json!({
        "worldSize": world.job.world_size(), "accumulation": world.job.accumulation(), "model": twin.model,
        "input": twin.input, "target": twin.target, "clipGradNorm": world.job.train.clip_grad_norm, "optimizer": twin.optimizer,
        "learningRates": learning_rates, "precision": serde_json::to_value(world.job.train.precision).unwrap(),
        "exchange": serde_json::to_value(world.job.train.exchange).unwrap(),
    });
    std::fs::write(at("twin.json"), told.to_string()).unwrap();
    let theirs = run_python("pytorch_twin.py", folder.path());

    let losses: Vec<f64> = serde_json::from_value(theirs["losses"].clone()).unwrap();
    let ours_scale = ours.reports().last().and_then(|report| report.loss_scale);
    let ours = ours.losses();
    assert_eq!(losses.len() as u64, steps);
    assert!(ours[steps as usize - 1] < ours[0] / 2.0, "it learns: {ours:?}");
    let apart = ours.iter().zip(&losses).map(|(a, b)| (a - b).abs() / a.max(1.0)).fold(0.0, f64::max);
    eprintln!("losses are at most {apart:.1e} apart, parameters {}", theirs["difference"]);
    for (step, (a, b)) in ours.iter().zip(&losses).enumerate() {
        let difference = (a - b).abs();
        assert!(difference <= twin.losses_within * a.max(1.0), "step {}: {a} here, {b} in PyTorch", step + 1);
    }
    // Which steps were left out, it tells.
    let scale = ours_scale.unwrap_or(1.0);
    assert_eq!(theirs["scale"].as_f64(), Some(scale), "the scale of the loss");
    let difference = theirs["difference"].as_f64().unwrap();
    assert!(difference <= twin.parameters_within, "parameters differ by {difference}");
    ours_scale
}
