//! Wrong input: each ends soon, with one error that names the thing and the fix, and nothing left.

use lockstep_e2e::{Finished, Launched, Workspace, repository};

/// A job on data that may be bad, in the workspace.
fn job(ws: &Workspace, data: &str, more: &str) -> String {
    let text = format!(
        "name: bad\nnodes: 2\nmodel: {{ kind: mlp, hidden: [16] }}\n\
         data: {{ train: {{ uri: {data}, split: train }} }}\n\
         train: {{ steps: 20, globalBatch: 8 }}\n\
         optimizer: {{ kind: sgd, lr: 0.1 }}\n{more}"
    );
    format!("launch -f {} --local --run-dir d", ws.write("job.yaml", &text).display())
}

fn digits() -> String {
    repository().join("datasets/digits").display().to_string()
}

/// Runs it, and checks the code, the words, and that no process and no panic is left.
fn expect(ws: &Workspace, launch: &str, code: i32, words: &[&str]) -> Finished {
    expect_end(ws.start(launch), code, words)
}

fn expect_end(run: Launched, code: i32, words: &[&str]) -> Finished {
    let marker = run.marker.clone();
    let ended = run.finish().expect_code(code);
    for word in words {
        assert!(ended.stderr.contains(word), "«{word}» is not in:\n{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    marker.expect_none_left();
    ended
}

fn copy_digits(ws: &Workspace) -> std::path::PathBuf {
    let to = ws.path("data");
    let done = std::process::Command::new("cp").arg("-r").arg(digits()).arg(&to).status().unwrap();
    assert!(done.success());
    to
}

fn shard(data: &std::path::Path) -> std::path::PathBuf {
    let entries = std::fs::read_dir(data.join("train")).unwrap().map(|e| e.unwrap().path());
    entries.filter(|p| p.to_string_lossy().contains("shard")).min().unwrap()
}

#[test]
fn spec_errors_are_told_at_once() {
    let ws = Workspace::new();
    let unknown = job(&ws, &digits(), "nodess: 3\nrecovery: { dead: 3 parsecs }\n");
    expect(&ws, &unknown, 2, &["nodess", "did you mean", "parsecs"]);
    let odd = job(&ws, &digits(), "");
    expect(&ws, &format!("{odd} --set train.globalBatch=9"), 2, &["globalBatch", "9"]);
}

#[test]
fn a_gpu_that_is_not_there_is_said_before_anything_is_trained() {
    if std::path::Path::new("/proc/driver/nvidia").exists() {
        eprintln!("NOT TESTED: this machine has NVIDIA's driver");
        return;
    }
    let ws = Workspace::new();
    let ended = expect(
        &ws,
        &job(&ws, &digits(), "device: cuda\n"),
        1,
        &["has no GPU to compute on (device: cuda)", "there is no NVIDIA driver: libcuda.so.1"],
    );
    assert!(!ended.stderr.contains("generation 2"), "trying again can't help: {}", ended.stderr);
    // The same file without that line trains on CPUs.
    expect(&ws, &job(&ws, &digits(), ""), 0, &["cpu, gloo"]);
}

/// A driver that knows one GPU and computes nothing: what is said of it is what is tested. Two nodes share the machine.
#[test]
fn a_gpu_that_can_not_be_used_is_told_and_cpus_train() {
    let mut ws = Workspace::new();
    let source = ws.write(
        "driver.c",
        "int cuInit(unsigned flags) { return flags != 0; }\nint cuDriverGetVersion(int* out) { *out = 13000; return 0; }\n\
         int cuDeviceGetCount(int* out) { *out = 1; return 0; }\n",
    );
    let library = ws.path("libcuda.so.1");
    let built =
        std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(library).arg(source).status();
    assert!(built.unwrap().success());
    ws.set_env("LD_LIBRARY_PATH", &ws.path("").display().to_string());
    expect(
        &ws,
        &job(&ws, &digits(), ""),
        0,
        &[
            "rank 0 computes on the CPU: libtorch's CUDA half can't be opened: libtorch_cuda.so",
            "rank 1 computes on the CPU: local rank 0 needs GPU 1, and this node shows 1",
        ],
    );
}

#[test]
fn data_errors_name_the_file() {
    let ws = Workspace::new();
    expect(&ws, &job(&ws, "./nowhere", ""), 1, &["nowhere"]);

    let empty = ws.path("empty/train");
    std::fs::create_dir_all(&empty).unwrap();
    std::fs::write(empty.join("index.json"), r#"{"version": 2, "shards": []}"#).unwrap();
    expect(&ws, &format!("{} --fresh", job(&ws, "./empty", "")), 1, &["empty"]);

    let data = copy_digits(&ws);
    let shard = shard(&data);
    let bytes = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &bytes[..bytes.len() / 2]).unwrap();
    let name = shard.file_name().unwrap().to_str().unwrap();
    expect(&ws, &format!("{} --fresh", job(&ws, "./data", "")), 1, &[name]);
}

#[test]
fn a_loss_that_is_not_finite_stops_by_policy() {
    let ws = Workspace::new();
    let launch = format!("{} --set optimizer.lr=1e30 --set train.steps=200", job(&ws, &digits(), ""));
    expect(&ws, &launch, 1, &["not finite", "train.nonFinite"]);
}

#[test]
fn a_worker_that_exits_at_once_is_tried_three_times() {
    let ws = Workspace::new();
    let worker = ws.write("worker.sh", "#!/bin/sh\necho no good >&2\nexit 7\n");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&worker, std::fs::Permissions::from_mode(0o755)).unwrap();
    let launch = job(&ws, &digits(), &format!("worker: {}\n", worker.display()));
    expect(&ws, &launch, 1, &["exit code 7", "3 times", "no good"]);
    let missing = job(&ws, &digits(), "worker: ./not-there\n");
    expect(&ws, &format!("{missing} --fresh"), 1, &["not-there"]);
}

#[test]
fn a_folder_that_cant_be_written_is_named() {
    let ws = Workspace::new();
    // Even root can't make a folder below a file.
    ws.write("file", "");
    let launch = job(&ws, &digits(), "").replace("--run-dir d", "--run-dir file/run");
    expect(&ws, &launch, 1, &["file/run"]);
}

#[test]
fn a_full_disk_ends_the_run_and_the_last_checkpoint_stays_good() {
    let ws = Workspace::new();
    std::fs::create_dir(ws.path("small")).unwrap();
    let more = "checkpoint: { every: 20 steps }\n";
    let launch = job(&ws, &digits(), more).replace("--run-dir d", "--run-dir small/run")
        + " --set model.hidden=[1024] --set train.steps=2000 --set optimizer.momentum=0.9";
    // The disk is gone with the command, so the checkpoints are looked at before that.
    let inside = "mount -t tmpfs -o size=1200k tmpfs small && \"$0\" \"$@\"; code=$?; \
                  \"$0\" checkpoint verify small/run && exit $code";
    let around = ["unshare", "--map-root-user", "--mount", "sh", "-c", inside];
    let words = ["no space left", "small/run/checkpoints/", "checkpoint.maxFailures", "free some space"];
    let ended = expect_end(ws.start_in(&around, "lockstep", &launch), 1, &words);
    assert!(
        ended.stdout.contains(" good, 0 damaged") && !ended.stdout.contains("0 good"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_port_that_is_taken_is_not_tried_again() {
    let ws = Workspace::new();
    // What a program does whose MASTER_PORT somebody took: it fails. In its next life it gets another port.
    let script = "port=port-$TORCHELASTIC_RESTART_COUNT; echo $MASTER_PORT > $port; \
                  [ $TORCHELASTIC_RESTART_COUNT != 0 ] || exit 1; ! cmp port-0 $port";
    let text = format!("name: port\nnodes: 1\ncommand: [sh, -c, {script:?}]\n");
    let job = ws.write("job.yaml", &text);
    expect(&ws, &format!("launch -f {} --local --run-dir d", job.display()), 0, &[]);
}

#[test]
fn input_that_never_ends_is_refused() {
    let ws = Workspace::new();
    let large = ws.path("large");
    std::fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    std::os::unix::fs::symlink("/dev/zero", ws.path("zeros")).unwrap();
    for file in ["large", "zeros"] {
        let refused = ws.run(&format!("validate -f {file}"));
        assert!(
            refused.code == Some(2) && refused.stderr.contains("which no job file has"),
            "{}",
            refused.stderr
        );
        let refused = ws.run(&format!("data pack {file} out"));
        assert_ne!(refused.code, Some(0), "{file}");
    }
    std::fs::create_dir(ws.path("data")).unwrap();
    ws.write("data/index.json", "{}");
    std::fs::rename(large, ws.path("data/large")).unwrap();
    let refused = ws.run("data copy data there").expect_code(2);
    assert!(refused.stderr.contains("which no file of a dataset has"), "{}", refused.stderr);
    assert!(!ws.path("there").exists());
}

#[test]
fn places_that_keep_nothing_are_refused() {
    let ws = Workspace::new();
    ws.write("job.yaml", "name: p\ncommand: ['true']\n");
    ws.write("rows.csv", "1,2,0\n3,4,1\n");
    for (place, word) in [("s3://", "the bucket is missing"), ("memory://here", "ends with the process")] {
        for command in [
            "launch -f job.yaml --local --run-dir",
            "data pack rows.csv",
            "launch -f job.yaml --local --storage",
        ] {
            let refused = ws.run(&format!("{command} {place}"));
            assert!(
                refused.code != Some(0) && refused.stderr.contains(word),
                "{command} {place}: {}",
                refused.stderr
            );
        }
    }
    let names: Vec<_> = std::fs::read_dir(ws.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| name != "s3:"), "{names:?}");
}

#[test]
fn a_folder_whose_name_records_cannot_hold_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let ws = Workspace::new();
    ws.write("job.yaml", "name: p\ncommand: ['true']\n");
    std::fs::create_dir(ws.path("").join(std::ffi::OsStr::from_bytes(b"b\xff"))).unwrap();
    let script = r#"cd "$(printf 'b\377')" && exec "$0" "$@""#;
    let refused = ws.start_in(&["sh", "-c", script], "lockstep", "launch -f ../job.yaml --local").finish();
    let told = refused.expect_code(2).stderr;
    assert!(told.contains("is not UTF-8"), "{told}");
}
