//! The resolved job: defaults, derived values, and the way through JSON.

use lockstep_job::{Exchange, JobSpec, Model, Source, WarmStart, Warmup, resolve};
use serde_json::json;

fn digits() -> serde_json::Value {
    json!({
        "name": "digits",
        "nodes": 2,
        "model": { "kind": "mlp", "hidden": [128] },
        "data": { "train": { "uri": "../d", "split": "train" }, "eval": { "uri": "s3://b/d" } },
        "train": { "epochs": 30, "globalBatch": 64, "seed": 7 },
        "optimizer": { "kind": "adamw", "lr": 2e-3, "schedule": { "kind": "cosine", "warmup": "5%" } },
    })
}

#[test]
fn defaults_are_filled_in() {
    let job = JobSpec::from_json(digits()).unwrap();
    assert!(matches!(&job.model, Some(Model::Mlp(mlp)) if mlp.hidden == [128]));
    assert_eq!(job.train.micro_batch, Some(32));
    assert_eq!(job.eval.micro_batch, Some(32));
    assert_eq!(job.data.as_ref().unwrap().seed, Some(7));
    assert_eq!(job.recovery.collective, Some(job.recovery.step_budget * 2));
    assert_eq!(job.recovery.min_nodes, Some(2));
    assert_eq!((job.world_size(), job.accumulation()), (2, 1));
}

#[test]
fn the_resolved_job_reads_back_as_itself() {
    let job = JobSpec::from_json(digits()).unwrap();
    let value = serde_json::to_value(&job).unwrap();
    assert_eq!(JobSpec::from_json(&value).unwrap(), job);
}

#[test]
fn a_job_that_an_earlier_version_resolved_still_reads() {
    let job = JobSpec::from_json(digits()).unwrap();
    let mut then = serde_json::to_value(&job).unwrap();
    then["recovery"]["suspect"] = json!("1s");
    assert_eq!(JobSpec::from_json(&then).unwrap(), job);
}

#[test]
fn gradients_are_exchanged_in_32_bits_unless_a_job_says_otherwise() {
    let mut value = digits();
    let job = JobSpec::from_json(&value).unwrap();
    assert_eq!(job.train.exchange, Exchange::Fp32);
    assert!(
        serde_json::to_value(&job).unwrap()["train"].get("exchange").is_none(),
        "records stay as they were"
    );
    value["train"]["exchange"] = json!("bf16");
    let job = JobSpec::from_json(&value).unwrap();
    assert_eq!(job.train.exchange, Exchange::Bf16);
    assert_eq!(serde_json::to_value(&job).unwrap()["train"]["exchange"], json!("bf16"));
}

#[test]
fn an_average_is_there_where_a_job_asks_for_one() {
    let mut value = digits();
    let job = JobSpec::from_json(&value).unwrap();
    assert!(job.train.ema.is_none());
    assert!(serde_json::to_value(&job).unwrap()["train"].get("ema").is_none(), "records stay as they were");
    value["train"]["ema"] = json!({});
    assert_eq!(JobSpec::from_json(&value).unwrap().train.ema.unwrap().decay, 0.999);
    value["train"]["ema"] = json!({ "decay": 1 });
    let error = JobSpec::from_json(&value).unwrap_err().to_string();
    assert!(error.contains("train.ema.decay is 1, but must be below 1"), "{error}");
}

#[test]
fn steps_follow_from_epochs_and_the_tail() {
    let mut value = digits();
    assert_eq!(JobSpec::from_json(&value).unwrap().total_steps(1000), 30 * 15);
    value["data"]["tail"] = json!("pad");
    assert_eq!(JobSpec::from_json(&value).unwrap().total_steps(1000), 30 * 16);
    value["train"] = json!({ "steps": 5, "globalBatch": 64 });
    assert_eq!(JobSpec::from_json(&value).unwrap().total_steps(1000), 5);
}

#[test]
fn warmup_is_a_share_or_a_count() {
    assert_eq!(Warmup::Percent(5.0).steps(750), 38);
    assert_eq!(Warmup::Steps(7).steps(750), 7);
}

#[test]
fn relative_paths_start_at_the_job_file() {
    let mut job = JobSpec::from_json(digits()).unwrap();
    job.resolve_paths(std::path::Path::new("/jobs/a")).unwrap();
    let data = job.data.unwrap();
    assert_eq!(data.train.uri, "/jobs/d");
    assert_eq!(data.eval.unwrap().uri, "s3://b/d");
}

#[test]
fn a_path_starts_where_it_is_written() {
    let file = "name: a\nmodel: { kind: mlp }\ntrain: { steps: 5 }\nstorage: kept/\nworker: bin/w\n\
                data: { train: { uri: ../d }, eval: { uri: /abs } }\n\
                warmStart: { kind: weights, uri: w/x.safetensors }\n";
    let here = |sets: &[&str]| {
        let source = Source { path: "jobs/j.yaml".into(), text: file.to_owned() };
        let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
        resolve(&source, &sets).unwrap().on_this_machine("/jobs".as_ref(), "/here".as_ref()).unwrap()
    };
    let told = here(&[]);
    assert_eq!((told.storage.as_str(), told.folder), ("/jobs/kept", None));
    assert_eq!((told.job.storage.as_str(), told.job.worker.as_deref()), ("kept/", Some("/jobs/bin/w")));
    let weights = |job: &JobSpec| job.warm_start.as_ref().and_then(WarmStart::uri).cloned();
    assert_eq!(weights(&told.job).as_deref(), Some("/jobs/w/x.safetensors"));
    let data = told.job.data.unwrap();
    assert_eq!((data.train.uri.as_str(), data.eval.unwrap().uri.as_str()), ("/d", "/abs"));

    let told = here(&[
        "storage=mine",
        "worker=../w",
        "data.train.uri=d",
        "data.eval.uri=s3://b/d",
        "warmStart.uri=w",
    ]);
    assert_eq!(weights(&told.job).as_deref(), Some("/here/w"));
    assert_eq!((told.storage.as_str(), told.job.worker.as_deref()), ("/here/mine", Some("/w")));
    let data = told.job.data.unwrap();
    assert_eq!((data.train.uri.as_str(), data.eval.unwrap().uri.as_str()), ("/here/d", "s3://b/d"));
}

#[test]
fn a_command_runs_where_it_is_written() {
    let folder = |text: &str, sets: &[String]| {
        let source = Source { path: "j.yaml".into(), text: text.to_owned() };
        let told =
            resolve(&source, sets).unwrap().on_this_machine("/jobs".as_ref(), "/here".as_ref()).unwrap();
        (told.folder.unwrap(), told.storage)
    };
    let default = "/here/runs".to_owned();
    assert_eq!(folder("name: a\ncommand: [./t.sh]\n", &[]), ("/jobs".to_owned(), default.clone()));
    let set = ["command=[./t.sh]".to_owned()];
    assert_eq!(folder("name: a\ncommand: [x]\n", &set), ("/here".to_owned(), default));
}
