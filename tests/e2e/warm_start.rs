//! A run that begins with another's parameters: with just those, the same after a fault, or a word why not.

use lockstep_e2e::{Launched, Workspace, repository};
use rustix::process::Signal;
use serde_json::Value;

/// The digits job in the folder `runs/NAME`.
fn launch(name: &str, steps: u32, more: &str) -> String {
    let digits = repository().join("trainer/examples/digits.yaml");
    format!(
        "launch -f {} --local --set train.steps={steps} --set model.hidden=[16] --set train.globalBatch=16 --set checkpoint.every=1000steps --set log.every=20steps --run-dir runs/{name} {more}",
        digits.display()
    )
}

fn from(run: &str) -> String {
    format!(r#"--set warmStart={{"kind":"run","name":"{run}"}}"#)
}

/// As a schedule's runs are called and launched.
fn nightly(minute: u32, more: &str) -> String {
    let schedule = r#"--set kubernetes={"image":"i","schedule":{"cron":"@daily"}}"#;
    let name = format!("nightly-{minute}");
    launch(
        &name,
        200,
        &format!(r#"--set name=nightly --set warmStart={{"kind":"previous"}} {schedule} {more}"#),
    )
}

/// What each generation of a run started from, in order.
fn starts(ws: &Workspace, run: &str) -> Vec<Value> {
    let mut records: Vec<_> = std::fs::read_dir(ws.path(&format!("runs/{run}/membership")))
        .unwrap()
        .map(|entry| serde_json::from_slice::<Value>(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap())
        .collect();
    records.sort_by_key(|record| record["generation"].as_u64());
    records.into_iter().filter_map(|record| record.get("startFrom").cloned()).collect()
}

#[test]
fn it_takes_the_parameters_and_nothing_else() {
    let ws = Workspace::new();
    ws.run(&launch("first", 100, "")).expect_code(0);
    // A rate of almost nothing leaves the parameters as they came.
    let still = r#"--set optimizer={"kind":"sgd","lr":1e-30}"#;
    let second = ws.run(&launch("second", 20, &format!("{} {still}", from("first")))).expect_code(0);
    assert!(second.stderr.contains("with the parameters of first at step 100"), "{}", second.stderr);
    assert!(ws.model("runs/second") == ws.model("runs/first"));
    let status = ws.run("status runs/second -o json").expect_code(0).json();
    assert_eq!(status["step"], 20, "{status:#}");
}

/// Kills both workers: one that lives would hand its state on.
fn lose_both(run: &Launched) {
    for worker in run.processes("lockstep-worker", 2) {
        run.signal_descendant(worker, Signal::KILL);
    }
}

#[test]
fn a_fault_before_the_first_checkpoint_changes_nothing() {
    let ws = Workspace::new();
    ws.run(&launch("first", 100, "")).expect_code(0);
    let unsaved =
        format!("--set checkpoint.every=1000000steps --set eval.every=1000000steps {}", from("first"));
    let job = |name| launch(name, 6000, &unsaved);
    ws.run(&job("undisturbed")).expect_code(0);
    let mut run = ws.start(&job("killed"));
    run.wait_for_text("step 100/");
    // Meanwhile the other run goes on: whoever chose anew would take its newer checkpoint.
    ws.run(&launch("first", 200, "")).expect_code(0);
    lose_both(&run);
    run.finish().expect_code(0);
    assert!(ws.model("runs/killed") == ws.model("runs/undisturbed"), "another way to the end");
    assert!(ws.model("runs/killed") != ws.model("runs/first"));
    let starts = starts(&ws, "killed");
    assert!(starts.len() > 1 && starts.iter().all(|start| *start == starts[0]), "{starts:#?}");
    assert_eq!(starts[0]["warm"]["checkpoint"]["step"], 100);
}

#[test]
fn the_runs_of_a_schedule_follow_one_another() {
    let ws = Workspace::new();
    let first = ws.run(&nightly(100, "")).expect_code(0);
    assert!(first.stderr.contains("from step 0;"), "{}", first.stderr);
    // One that fails is no start for the next.
    let broken = ws.run(&nightly(101, "--set optimizer.lr=1e30")).code;
    assert_eq!(broken, Some(1));
    ws.run(&nightly(102, "")).expect_code(0);
    assert_eq!(starts(&ws, "nightly-102")[0]["warm"]["run"], "nightly-100");
    // One that is launched again, late, doesn't begin with what came after it.
    ws.run(&nightly(103, "")).expect_code(0);
    ws.run(&nightly(102, "--fresh")).expect_code(0);
    let again = starts(&ws, "nightly-102");
    assert_eq!(again.last().unwrap()["warm"]["run"], "nightly-100", "{again:#?}");
    assert_eq!(starts(&ws, "nightly-103")[0]["warm"]["run"], "nightly-102");
}

#[test]
fn what_cant_be_begun_with_is_named() {
    let ws = Workspace::new();
    ws.run(&launch("first", 20, "")).expect_code(0);
    let refused = |name: &str, more: &str, code: i32, words: &[&str]| {
        let ended = ws.run(&launch(name, 20, more)).expect_code(code);
        words.iter().for_each(|word| assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr));
    };
    refused("unknown", &from("frist"), 1, &["no checkpoint of a run frist", "runs/frist"]);
    let step = r#"--set warmStart={"kind":"run","name":"first","step":7}"#;
    refused("step", step, 1, &["run first has no checkpoint of step 7; choose one of these steps: 20"]);
    let wider = format!("{} --set model.hidden=[7]", from("first"));
    refused(
        "wider",
        &wider,
        1,
        &["the parameters of run first at step 20 don't fit this job", "same `model`"],
    );
    refused("itself", &from("digits"), 2, &["warmStart.name is `digits`, which is this run itself"]);
    let alone = r#"--set warmStart={"kind":"previous"}"#;
    refused("alone", alone, 2, &["a job without a schedule has no previous run", "kubernetes.schedule"]);
    let flip = |path: std::path::PathBuf| {
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    let list = ws.run("checkpoint list runs/first --output json").expect_code(0).json();
    let folder = list[0]["uri"].as_str().unwrap().trim_start_matches("file://").to_owned();
    flip(std::path::Path::new(&folder).join("model.safetensors"));
    refused("damaged", &from("first"), 1, &["checkpoint 20 of run first", "model.safetensors has blake3"]);
}

/// A run's parameters, as if somebody had published them.
fn publish(ws: &Workspace, run: &str, path: &str) {
    std::fs::create_dir_all(ws.path(path).parent().unwrap()).unwrap();
    std::fs::write(ws.path(path), ws.model(&format!("runs/{run}"))).unwrap();
}

fn published(uri: &str) -> String {
    format!(r#"--set warmStart={{"kind":"weights","uri":"{uri}"}}"#)
}

#[test]
fn published_weights_are_begun_with_and_recorded() {
    let ws = Workspace::new();
    ws.run(&launch("first", 100, "")).expect_code(0);
    publish(&ws, "first", "w/model.safetensors");
    let still = r#"--set optimizer={"kind":"sgd","lr":1e-30}"#;
    let second = ws.run(&launch("second", 20, &format!("{} {still}", published("w")))).expect_code(0);
    let file = ws.path("w/model.safetensors");
    let words = format!("from step 0, with the weights of {}", file.display());
    assert!(second.stderr.contains(&words), "{words} in {}", second.stderr);
    assert!(ws.model("runs/second") == ws.model("runs/first"));
    let recorded = &starts(&ws, "second")[0]["weights"]["files"]["model.safetensors"];
    assert_eq!(recorded["bytes"], std::fs::metadata(&file).unwrap().len());
    // What a launch said once holds; what the file holds since then is another run's business.
    std::fs::write(&file, "no weights").unwrap();
    ws.run(&launch("second", 30, &format!("{} {still}", published("w")))).expect_code(0);
    assert!(ws.model("runs/second") == ws.model("runs/first"));

    let refused = |name: &str, more: &str, words: &[&str]| {
        let ended = ws.run(&launch(name, 20, more)).expect_code(1);
        words.iter().for_each(|word| assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr));
    };
    refused("nothing", &published("v"), &["warmStart.uri: ", "holds neither model.safetensors nor"]);
    refused("damaged", &published("w"), &["model.safetensors: it does not parse"]);
    publish(&ws, "first", "w/model.safetensors");
    let deeper = format!("{} --set model.hidden=[7,16]", published("w/model.safetensors"));
    refused(
        "deeper",
        &deeper,
        &["don't fit this model", "is missing", "but this model needs Float[7", "give `model` the kind"],
    );
}

#[test]
fn a_fault_before_the_first_checkpoint_begins_with_the_same_weights_or_ends_the_run() {
    let ws = Workspace::new();
    ws.run(&launch("first", 100, "")).expect_code(0);
    publish(&ws, "first", "w/model.safetensors");
    let unsaved = format!(
        "--set checkpoint.every=1000000steps --set eval.every=1000000steps {}",
        published("w/model.safetensors")
    );
    let job = |name| launch(name, 6000, &unsaved);
    ws.run(&job("undisturbed")).expect_code(0);
    let killed = |name: &'static str, meanwhile: &dyn Fn()| {
        let mut run = ws.start(&job(name));
        run.wait_for_text("step 100/");
        meanwhile();
        lose_both(&run);
        run.finish()
    };
    killed("same", &|| ()).expect_code(0);
    assert!(ws.model("runs/same") == ws.model("runs/undisturbed"), "another way to the end");
    let starts = starts(&ws, "same");
    assert!(starts.len() > 1 && starts.iter().all(|start| *start == starts[0]), "{starts:#?}");
    // Weights that would fit as well.
    let ended = killed("other", &|| publish(&ws, "undisturbed", "w/model.safetensors")).expect_code(1);
    let words = "is not the file with which this run began: its BLAKE3 is";
    assert!(ended.stderr.contains(words) && ended.stderr.contains("--fresh"), "{}", ended.stderr);
}
