//! Data that isn't what it was, as a user meets it: by default MDSWriter writes no hashes, so the index tells nothing.

use lockstep_datasets::{ColumnSpec, Value, Writer, WriterOptions};
use lockstep_e2e::Workspace;
use serde_json::Value as Json;

const CLASSES: i64 = 4;

/// Samples whose class shows in their pixels; each label is the class moved by `shift`.
fn make(ws: &Workspace, name: &str, shift: i64) -> String {
    let folder = ws.path(name);
    let _ = std::fs::remove_dir_all(&folder);
    let uri = folder.to_str().unwrap().to_owned();
    let column =
        |name: &str, encoding: &str| ColumnSpec { name: name.into(), encoding: encoding.parse().unwrap() };
    let columns = vec![column("label", "int"), column("x", "ndarray:uint8:16")];
    let options = WriterOptions { hashes: Vec::new(), shard_bytes: 4 << 10, ..WriterOptions::default() };
    let mut writer = Writer::create(&uri, "", columns, options).unwrap();
    for i in 0..512_i64 {
        let class = i % CLASSES;
        let pixel = |j: i64| ((i * 7 + j * 3) % 8 + if j / 4 == class { 60 } else { 0 }) as f64;
        let pixels: Vec<f64> = (0..16).map(pixel).collect();
        writer.write(&[Value::Int((class + shift) % CLASSES), Value::Array(&pixels)]).unwrap();
    }
    writer.finish().unwrap();
    let index = folder.join("index.json");
    let mut json: Json = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    json["lockstep"] = serde_json::json!({"ranges": {"label": {"min": 0, "max": CLASSES - 1}}});
    std::fs::write(index, json.to_string()).unwrap();
    uri
}

fn launch(ws: &Workspace, more: &str) -> String {
    let job = "name: relabelled\nnodes: 2\nmodel: { kind: mlp, hidden: [32] }\n\
               data: { train: { uri: data }, eval: { uri: held-out } }\n\
               train: { epochs: 20, globalBatch: 64 }\noptimizer: { kind: adamw, lr: 1e-2 }\n\
               checkpoint: { every: 40 steps }\n";
    format!("launch -f {} --local {more}", ws.write("job.yaml", job).display())
}

fn accuracy(ws: &Workspace) -> f64 {
    let status = ws.run("status relabelled --output json").expect_code(0).json();
    status["eval"]["accuracy"].as_f64().unwrap()
}

#[test]
fn a_dataset_that_is_replaced_in_place_is_never_taken_for_the_old_one() {
    let ws = Workspace::new();
    let data = make(&ws, "data", 0);
    make(&ws, "held-out", 1);
    // Same index, other labels: each label of the held-out data is another than what was learnt.
    ws.run(&launch(&ws, "")).expect_code(0);
    assert!(accuracy(&ws) < 0.05, "{}", accuracy(&ws));
    let good = |words: &str| ws.run(words).expect_code(0).stdout;
    assert!(good(&format!("data verify {data} --run relabelled")).contains("is good: 512 good samples"));

    make(&ws, "data", 1);
    let told = good(&format!("data verify {data}"));
    assert!(!told.contains("is good") && told.contains("512 of 512 samples can't be checked"), "{told}");
    let compared = ws.run(&format!("data verify {data} --run relabelled")).expect_code(1);
    assert!(compared.stderr.contains("is not what it was"), "{}", compared.stderr);
    let resumed = ws.run(&launch(&ws, "--set train.epochs=30")).expect_code(1);
    for word in ["is not what it was", "shard.", "--fresh"] {
        assert!(resumed.stderr.contains(word), "«{word}» is not in:\n{}", resumed.stderr);
    }
    ws.run(&launch(&ws, "--fresh")).expect_code(0);
    assert!(accuracy(&ws) > 0.95, "{}", accuracy(&ws));
}

#[test]
fn a_copy_with_the_same_content_carries_on_and_so_does_a_sealed_one() {
    let ws = Workspace::new();
    let data = make(&ws, "data", 0);
    make(&ws, "held-out", 0);
    ws.run(&launch(&ws, "")).expect_code(0);
    // Written anew: the same bytes under other times.
    make(&ws, "data", 0);
    let resumed = ws.run(&launch(&ws, "--set train.epochs=25")).expect_code(0);
    assert!(resumed.stderr.contains("from checkpoint 160"), "{}", resumed.stderr);
    let sealed = ws.run(&format!("data seal {data}")).expect_code(0);
    assert!(sealed.stdout.contains("sealed"), "{}", sealed.stdout);
    let resumed = ws.run(&launch(&ws, "--set train.epochs=30")).expect_code(0);
    assert!(resumed.stderr.contains("from checkpoint 200"), "{}", resumed.stderr);
    assert!(accuracy(&ws) > 0.95, "{}", accuracy(&ws));
    let verified = ws.run(&format!("data verify {data}")).expect_code(0);
    assert!(verified.stdout.contains("is good: 512 good samples"), "{}", verified.stdout);
}

/// The job on another dataset, without evaluation.
fn launch_on(ws: &Workspace, data: &str) -> String {
    launch(ws, &format!(r#"--set data={{"train":{{"uri":"{data}"}}}} --set train.epochs=2 --fresh"#))
}

fn edit_index(ws: &Workspace, name: &str, edit: impl FnOnce(&mut Json)) {
    let index = ws.path(name).join("index.json");
    let mut json: Json = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    edit(&mut json);
    std::fs::write(index, json.to_string()).unwrap();
}

#[test]
fn columns_that_the_model_does_not_read_may_hold_anything() {
    let ws = Workspace::new();
    for encoding in ["pkl", "ndarray:float32", "str", "list[jpeg]"] {
        let folder = ws.path("odd");
        let _ = std::fs::remove_dir_all(&folder);
        let column = |name: &str, encoding: &str| ColumnSpec {
            name: name.into(),
            encoding: encoding.parse().unwrap(),
        };
        let columns = vec![column("label", "int"), column("note", "bytes"), column("x", "uint8")];
        let mut writer =
            Writer::create(folder.to_str().unwrap(), "", columns, WriterOptions::default()).unwrap();
        for i in 0..64_i64 {
            let note = vec![0x80; 3 + i as usize % 5];
            writer.write(&[Value::Int(i % CLASSES), Value::Bytes(&note), Value::Int(i)]).unwrap();
        }
        writer.finish().unwrap();
        edit_index(&ws, "odd", |index| {
            index["shards"][0]["column_encodings"][1] = encoding.into();
            index["lockstep"] = serde_json::json!({"ranges": {"label": {"min": 0, "max": CLASSES - 1}}});
        });
        ws.run(&launch_on(&ws, "odd")).expect_code(0);
    }
    // One that it reads is named, with the sample.
    edit_index(&ws, "odd", |index| {
        index["shards"][0]["column_names"] = serde_json::json!(["label", "x", "y"]);
        index["shards"][0]["column_encodings"][1] = "ndarray:float32".into();
    });
    let failed = ws.run(&launch_on(&ws, "odd")).expect_code(1);
    assert!(failed.stderr.contains("sample ") && failed.stderr.contains("column \"x\""), "{}", failed.stderr);
}

#[test]
fn more_classes_than_any_classifier_has_are_refused() {
    let ws = Workspace::new();
    make(&ws, "data", 0);
    edit_index(&ws, "data", |index| index["lockstep"]["ranges"]["label"]["max"] = 3e7.into());
    let failed = ws.run(&launch_on(&ws, "data")).expect_code(1);
    for word in ["30000001 classes", "1048576", "ranges.label"] {
        assert!(failed.stderr.contains(word), "«{word}» is not in:\n{}", failed.stderr);
    }
}

#[test]
fn without_a_home_no_folder_of_others_is_used() {
    let ws = Workspace::new();
    make(&ws, "data", 0);
    make(&ws, "held-out", 0);
    let words = launch(&ws, "");
    let around = ["env", "-u", "HOME", "-u", "XDG_CACHE_HOME", "-u", "LOCKSTEP_CACHE"];
    let refused = ws.start_in(&around, "lockstep", &words).finish().expect_code(2);
    assert!(refused.stderr.contains("LOCKSTEP_CACHE"), "{}", refused.stderr);
}

#[test]
fn a_full_cache_disk_does_not_stop_the_run() {
    let ws = Workspace::new();
    make(&ws, "data", 0);
    make(&ws, "held-out", 0);
    std::fs::create_dir(ws.path("small")).unwrap();
    let inside = "mount -t tmpfs -o size=16k tmpfs small && \"$0\" \"$@\"";
    let around = ["unshare", "--map-root-user", "--mount", "sh", "-c", inside];
    let words = launch(&ws, &format!("--set data.cache.dir={}", ws.path("small").display()));
    ws.start_in(&around, "lockstep", &words).finish().expect_code(0);
    assert!(accuracy(&ws) > 0.95, "{}", accuracy(&ws));
}
