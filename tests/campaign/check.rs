//! What holds of a run that was struck, whatever struck it. The numbers are those of the invariants in ARCHITECTURE.md.

use crate::plan::Plan;
use crate::struck::Calm;
use lockstep_e2e::Workspace;
use serde_json::Value;
use std::collections::BTreeMap;

/// What its records tell.
pub struct Told {
    pub generations: u64,
    pub repeated_steps: u64,
    pub goodput: f64,
}

/// Checks them all.
///
/// # Panics
/// Where one is broken.
pub fn promises(plan: &Plan, ws: &Workspace, calm: &Calm) -> Told {
    let status = ws.run("status d --output json").expect_code(0).json();
    assert_eq!((&status["phase"], &status["step"]), (&"done".into(), &plan.job.steps.into()), "{status:#}");
    assert!(ws.model("d") == calm.model, "the bytes differ from an undisturbed run's; {status:#}");
    let found = losses(ws);
    for (step, loss) in &found {
        assert_eq!(
            Some(loss),
            calm.losses.get(step),
            "the loss at step {step}: samples were lost, or used twice"
        );
    }
    let records = records(ws);
    let numbers: Vec<_> = records.iter().map(|record| record["generation"].as_u64().unwrap()).collect();
    let num = numbers.len() as u64;
    assert_eq!(numbers, (1..=num).collect::<Vec<_>>(), "5: generations have no gaps");
    let ends = records.iter().filter(|record| record["kind"] == "ended").count();
    assert!(
        ends == 1 && records.last().is_some_and(|last| last["outcome"]["state"] == "done"),
        "{records:#?}"
    );
    let repeated_steps = status["repeated_steps"].as_u64().unwrap();
    if plan.is_survived() {
        assert_eq!(repeated_steps, 0, "7: a state that a worker held was lost; {status:#}");
        from_memory(ws, num - 1);
    }
    let account = &status["account"];
    let seconds = account
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| !["highest", "repeated_steps"].contains(&name.as_str()));
    let total: f64 = seconds.map(|(_, seconds)| seconds.as_f64().unwrap()).sum();
    let goodput = status["goodput"].as_f64().unwrap();
    assert!((account["training"].as_f64().unwrap() / total - goodput).abs() < 1e-9, "{status:#}");
    Told { generations: num - 1, repeated_steps, goodput }
}

/// Each generation but the first went on with what was in memory, and loaded nothing; of those that came to a step, as one may be
/// lost before.
fn from_memory(ws: &Workspace, last: u64) {
    let events = ws.run("events d --output json").expect_code(0).json();
    let of = |kind: &str, generation: u64| {
        events.as_array().unwrap().iter().any(|e| e["kind"] == kind && e["generation"] == generation)
    };
    for generation in (2..=last).filter(|generation| of("recovered", *generation)) {
        assert!(of("resumed", generation), "9: generation {generation} loaded a checkpoint; {events:#}");
    }
}

/// The loss at each step that a run told of.
pub fn losses(ws: &Workspace) -> BTreeMap<u64, f64> {
    let metrics = ws.run("metrics d --output json").expect_code(0).json();
    let loss = |metric: &Value| Some((metric["step"].as_u64()?, metric["loss"].as_f64()?));
    metrics.as_array().unwrap().iter().filter_map(loss).collect()
}

/// The membership records, in their order.
fn records(ws: &Workspace) -> Vec<Value> {
    let mut paths: Vec<_> =
        std::fs::read_dir(ws.path("d/membership")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "json")).map(read).collect()
}
