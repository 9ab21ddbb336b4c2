//! The whole path on one machine: launch, checkpoints, status, resume, damage.

use lockstep_e2e::{Workspace, repository};
use std::path::{Path, PathBuf};

fn digits() -> String {
    repository().join("trainer/examples/digits.yaml").display().to_string()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn the_example_reaches_97_percent_and_says_so() {
    let ws = Workspace::new();
    let run = ws.start(&format!("launch -f {} --local --run-dir d --output json", digits()));
    let marker = run.marker.clone();
    let status = run.finish().expect_code(0).json();
    assert!(status["eval"]["accuracy"].as_f64().unwrap() >= 0.97, "{status:#}");
    assert_eq!(
        (&status["phase"], &status["restarts"], &status["generation"]),
        (&"done".into(), &0.into(), &1.into())
    );
    assert_eq!(status["step"], status["total_steps"]);
    assert_eq!(status["last_checkpoint"]["step"], status["step"]);
    assert!(status["time_to_first_step_seconds"].as_f64().unwrap() > 0.0);
    marker.expect_none_left();
}

#[test]
fn the_same_launch_again_resumes_or_says_that_it_is_done() {
    let ws = Workspace::new();
    let launch = |steps: u32| format!("launch -f {} --local --set train.steps={steps} --run-dir d", digits());
    ws.run(&launch(200)).expect_code(0);
    let again = ws.run(&launch(200)).expect_code(0);
    assert!(again.stderr.contains("has already finished"), "{}", again.stderr);
    let status = ws.run("status d --output json").expect_code(0).json();
    assert_eq!(
        (&status["phase"], &status["step"], &status["generation"]),
        (&"done".into(), &200.into(), &1.into())
    );
    let more = ws.run(&launch(300)).expect_code(0);
    assert!(more.stderr.contains("from checkpoint 200"), "{}", more.stderr);
    let status = ws.run("status d --output json").expect_code(0).json();
    assert_eq!((&status["step"], &status["generation"]), (&300.into(), &3.into()));
    let before = ws.model("d");
    let once_more = ws.run(&format!("{} --resume 200", launch(300))).expect_code(0);
    assert!(once_more.stderr.contains("from checkpoint 200"), "{}", once_more.stderr);
    assert!(ws.model("d") == before, "the same steps, the same bytes");
    let other = ws.run(&format!("{} --set train.seed=9", launch(300))).expect_code(2);
    assert!(other.stderr.contains("train.seed") && other.stderr.contains("--fresh"), "{}", other.stderr);
    let fresh = ws.run(&format!("{} --set train.seed=9 --fresh", launch(100))).expect_code(0);
    assert!(fresh.stderr.contains("from step 0"), "{}", fresh.stderr);
    let status = ws.run("status d --output json").expect_code(0).json();
    assert_eq!((&status["step"], &status["total_steps"]), (&100.into(), &100.into()), "{status:#}");
    let metrics = ws.run("metrics d --output json").expect_code(0).json();
    let of_the_branch = |metric: &serde_json::Value| metric["total_steps"] == 100;
    assert!(metrics.as_array().unwrap().iter().all(of_the_branch), "what was left is not shown: {metrics:#}");
    let list = ws.run("checkpoint list d --output json").expect_code(0).json();
    assert_eq!(list[0]["step"], 100, "the branch that was left is not the newest: {list:#}");
}

#[test]
fn where_a_launch_begins_is_never_passed_over_in_silence() {
    let ws = Workspace::new();
    let launch = |more: &str| format!("launch -f {} --local --run-dir d {more}", digits());
    let missing = ws.run(&launch("--resume must")).expect_code(2);
    assert!(missing.stderr.contains("there is no checkpoint to resume from"), "{}", missing.stderr);
    assert!(!ws.path("d").join("generations").exists(), "nothing began");
    ws.run(&launch("--set train.steps=40")).expect_code(0);
    for more in ["", "--dry-run"] {
        let absent = ws.run(&launch(&format!("--set train.steps=40 --resume 21 {more}"))).expect_code(2);
        assert!(absent.stderr.contains("no checkpoint of step 21"), "{}", absent.stderr);
    }
    let status = ws.run("status d --output json").expect_code(0).json();
    assert_eq!((&status["phase"], &status["generation"]), (&"done".into(), &1.into()), "{status:#}");

    let endless = launch("--set train.steps=5000000");
    let mut run = ws.start(&endless);
    run.wait_for_text("first step");
    for option in ["--fresh", "--resume 40"] {
        let refused = ws.run(&format!("{endless} {option}")).expect_code(2);
        assert!(refused.stderr.contains("run digits is running, so it can't begin"), "{}", refused.stderr);
    }
    run.kill_everything();
}

#[test]
fn a_flipped_byte_anywhere_in_a_checkpoint_is_found() {
    let ws = Workspace::new();
    ws.run(&format!("launch -f {} --local --set train.steps=200 --run-dir d", digits())).expect_code(0);
    ws.run("checkpoint verify d").expect_code(0);
    let mut all = files(&ws.path("d/checkpoints"));
    all.extend(files(&ws.path("d/commits")));
    assert!(all.len() >= 6, "{all:?}");
    for path in all {
        let good = std::fs::read(&path).unwrap();
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, bad).unwrap();
            let verdict = ws.run("checkpoint verify d").expect_code(1);
            assert!(verdict.stdout.contains("1 damaged"), "{}: {}", path.display(), verdict.stdout);
        }
        std::fs::write(&path, good).unwrap();
    }
    ws.run("checkpoint verify d").expect_code(0);
}

#[test]
fn a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used() {
    let ws = Workspace::new();
    let launch = |steps: u32| {
        format!(
            "launch -f {} --local --set train.steps={steps} --set checkpoint.every=100steps --run-dir d",
            digits()
        )
    };
    ws.run(&launch(200)).expect_code(0);
    let model = files(&ws.path("d/checkpoints")).into_iter().find(|p| {
        let text = p.display().to_string();
        text.contains("0000000200-") && text.ends_with("/model.safetensors")
    });
    let model = model.unwrap();
    let mut bytes = std::fs::read(&model).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&model, bytes).unwrap();
    let more = ws.run(&launch(250)).expect_code(0);
    assert!(
        more.stderr.contains("0000000200-1") && more.stderr.contains("model.safetensors"),
        "{}",
        more.stderr
    );
    let status = ws.run("status d --output json").expect_code(0).json();
    assert_eq!(status["step"], 250);
}

#[test]
fn what_happened_can_be_read_afterwards() {
    let ws = Workspace::new();
    ws.run(&format!("launch -f {} --local --set train.steps=120 --set log.every=20steps", digits()))
        .expect_code(0);
    let listed = ws.run("status").expect_code(0).stdout;
    assert!(listed.contains("digits") && listed.contains("120/120"), "{listed}");
    let csv = ws.run("metrics digits --csv").expect_code(0).stdout;
    let steps: Vec<_> = csv.lines().skip(1).filter_map(|l| l.split(',').next()).collect();
    assert!(["20", "40", "60", "80", "100", "120"].iter().all(|s| steps.contains(s)), "{csv}");
    what_time_goes_to_is_told(&ws, &csv);
    let events = ws.run("events digits --output json").expect_code(0).json();
    let kinds: Vec<_> = events.as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    for kind in ["joined", "formed", "first_step", "checkpoint", "ended"] {
        assert!(kinds.contains(&kind), "{kind} is not in {kinds:?}");
    }
    let unknown = ws.run("status digist").expect_code(2).stderr;
    assert!(unknown.contains("runs in ./runs: digits"), "{unknown}");
}

/// In every output the same.
fn what_time_goes_to_is_told(ws: &Workspace, csv: &str) {
    let parts = ["data", "forward", "backward", "communication", "optimizer", "other"];
    let head: Vec<_> = csv.lines().next().unwrap().split(',').collect();
    let metrics = ws.run("metrics digits --output json").expect_code(0).json();
    let last = metrics.as_array().unwrap().last().unwrap();
    let row: Vec<_> = csv.lines().last().unwrap().split(',').collect();
    for part in parts {
        let column = head.iter().position(|name| *name == format!("step_seconds.{part}")).unwrap();
        let seconds = last["step_seconds"][part].as_f64().unwrap();
        assert!(seconds >= 0.0 && row[column] == seconds.to_string(), "{part}: {row:?} {last:#}");
    }
    let status = ws.run("status digits --output json").expect_code(0).json();
    for name in ["step_seconds", "slowest_rank"] {
        assert!(!status[name].is_null() && status[name] == last[name], "{name}: {status:#} {last:#}");
    }
    let seconds = |part: &&str| status["step_seconds"][part].as_f64().unwrap();
    let largest = parts.iter().max_by(|a, b| seconds(a).total_cmp(&seconds(b))).unwrap();
    let is_computing = ["forward", "backward", "optimizer"].contains(largest);
    let text = ws.run("status digits").expect_code(0).stdout;
    assert_eq!(text.contains("% of the time of its steps"), !is_computing, "{largest}: {text}");
}

#[test]
fn tensorboard_reads_the_event_files() {
    let Ok(python) = std::env::var("LOCKSTEP_PYTHON") else {
        panic!("LOCKSTEP_PYTHON is not set; use `make test`")
    };
    let ws = Workspace::new();
    ws.run(&format!(
        "launch -f {} --local --set train.steps=60 --set log.every=20steps --run-dir d",
        digits()
    ))
    .expect_code(0);
    let script = "import sys\n\
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n\
        from tensorboard.backend.event_processing.directory_watcher import DirectoryWatcher\n\
        a = EventAccumulator(sys.argv[1]); a.Reload()\n\
        print([e.step for e in a.Scalars('train/loss')], a.Tags()['scalars'])";
    let script = ws.write("read.py", script);
    let out = std::process::Command::new(python).arg(script).arg(ws.path("d/tensorboard")).output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(
        text.contains("[1, 20, 40, 60]") && text.contains("train/lr") && text.contains("eval/accuracy"),
        "{text}\n{errors}"
    );
}
