//! YAML, JSON and TOML say the same thing, overrides are typed by the field, and no text makes the reader panic.

use lockstep_job::{Env, EnvError, JobSpec, Optimizer, Source, parse, resolve};
use proptest::prelude::*;

const YAML: &str = "
name: digits
nodes: 2
model: { kind: mlp, hidden: [128], activation: gelu }
data: { train: { uri: d, split: train }, cache: { size: 1GiB } }
train: { epochs: 30, globalBatch: 64, clipGradNorm: 1.0 }
optimizer: { kind: adamw, lr: 2e-3, schedule: { kind: cosine, warmup: 5%, final: 0.1 } }
checkpoint: { every: 5m }
env: { OMP_PROC_BIND: 'true' }
";

const JSON: &str = r#"{
    "name": "digits", "nodes": 2,
    "model": { "kind": "mlp", "hidden": [128], "activation": "gelu" },
    "data": { "train": { "uri": "\u0064", "split": "train" }, "cache": { "size": "1GiB" } },
    "train": { "epochs": 30, "globalBatch": 64, "clipGradNorm": 1.0 },
    "optimizer": { "kind": "adamw", "lr": 2e-3, "schedule": { "kind": "cosine", "warmup": "5%", "final": 0.1 } },
    "checkpoint": { "every": "5m" },
    "env": { "OMP_PROC_BIND": "true" }
}"#;

const TOML: &str = r#"
name = "digits"
nodes = 2
checkpoint.every = "5m"
env.OMP_PROC_BIND = "true"
model = { kind = "mlp", hidden = [128], activation = "gelu" }
[data]
train = { uri = "d", split = "train" }
cache.size = "1GiB"
[train]
epochs = 30
globalBatch = 64
clipGradNorm = 1.0
[optimizer]
kind = "adamw"
lr = 2e-3
schedule = { kind = "cosine", warmup = "5%", final = 0.1 }
"#;

fn source(file: &str, text: &str) -> Source {
    Source { path: file.into(), text: text.into() }
}

fn with(sets: &[&str]) -> JobSpec {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    parse(&source("j.yaml", YAML), &sets).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn three_syntaxes_one_job() {
    let yaml = parse(&source("j.yaml", YAML), &[]).unwrap();
    assert_eq!(parse(&source("j.json", JSON), &[]).unwrap(), yaml);
    assert_eq!(parse(&source("j.toml", TOML), &[]).unwrap(), yaml);
}

#[test]
fn the_resolved_job_is_a_job_file() {
    let job = with(&[]);
    let text = serde_json::to_string_pretty(&job).unwrap();
    assert_eq!(parse(&source("job.json", &text), &[]).unwrap(), job);
    assert_eq!(parse(&source("job.yaml", &text), &[]).unwrap(), job);
}

#[test]
fn overrides_take_the_type_of_their_field() {
    let job = with(&[
        "nodes=4",
        "name=n2",
        "storage=7",
        "model.hidden=[64, 32]",
        "model.hidden.1=16",
        "optimizer.lr=1e-4",
        "data.eval.uri=s3://b/x: y",
        "data.eval.split=@odd",
        "env.FLAG=true",
        "env.QUOTED='1'",
        "limits.maxRunTime=2h",
    ]);
    assert_eq!((job.nodes, job.train.micro_batch), (4, Some(16)));
    assert_eq!(job.storage, "7");
    assert_eq!(serde_json::to_value(&job).unwrap()["model"]["hidden"], serde_json::json!([64, 16]));
    assert!(matches!(job.optimizer, Optimizer::Adamw { lr, .. } if lr == 1e-4));
    let eval = job.data.unwrap().eval.unwrap();
    assert_eq!((eval.uri.as_str(), eval.split.as_deref()), ("s3://b/x: y", Some("@odd")));
    assert!(job.env.iter().any(|pair| pair == ("FLAG", "true")));
    assert!(job.env.iter().any(|pair| pair == ("QUOTED", "'1'")));
    assert_eq!(job.limits.max_run_time.unwrap().to_string(), "2h");
}

#[test]
fn an_override_replaces_its_alternative() {
    let job = with(&["train.steps=200"]);
    assert_eq!((job.train.steps, job.train.epochs), (Some(200), None));
    assert_eq!(with(&["train.steps=200", "train.epochs="]).train.steps, Some(200));
    assert_eq!(with(&["train.steps="]).train.epochs, Some(30));
    let problems = parse(&source("j.yaml", YAML), &["train.epochs=".to_owned()]).unwrap_err();
    assert!(problems.to_string().contains("neither `steps` nor `epochs`"), "{problems}");
    let sets = ["train.steps=1", "train.epochs=1"].map(str::to_owned);
    let problems = parse(&source("j.yaml", YAML), &sets).unwrap_err();
    assert!(problems.to_string().contains("both `steps` and `epochs`"), "{problems}");
}

#[test]
fn env_expands_at_the_start_only() {
    let env: Env = [("A", "x-${B}-$$"), ("C", "plain")].into_iter().collect();
    let expanded = env.expand(|name| (name == "B").then(|| "secret".to_owned())).unwrap();
    assert_eq!((expanded.get("A"), expanded.get("C")), (Some("x-secret-$"), Some("plain")));
    assert_eq!(format!("{expanded:?}"), r#"{"A": ***, "C": ***}"#);
    let errors = env.expand(|_| None).unwrap_err();
    assert_eq!(errors, [EnvError::Unset { key: "A".into(), variable: "B".into() }]);
    assert_eq!(
        errors[0].to_string(),
        "env.A needs the variable B, which is not set; export B before the launch"
    );
}

#[test]
fn debug_hides_the_values_of_env() {
    let job = with(&["env.NAME=hunter2", "env.OTHER=${HUNTER}"]);
    let debug = format!("{job:?}");
    assert!(debug.contains("NAME") && !debug.contains("hunter2") && !debug.contains("HUNTER"), "{debug}");
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*", file in "j\\.(yaml|json|toml)", set in "\\PC{0,20}") {
        let _ = resolve(&source(&file, &text), &[set]);
    }

    /// Damage in a good file: one stretch of it is cut, doubled or replaced.
    #[test]
    fn no_damage_panics(
        which in 0..3usize,
        from in any::<prop::sample::Index>(),
        length in 0..40usize,
        put in "[-{}\\[\\]:,\"'&*!|>%@`#\\n a-z0-9.]{0,8}",
    ) {
        let (file, text) = [("j.yaml", YAML), ("j.json", JSON), ("j.toml", TOML)][which];
        let mut chars: Vec<char> = text.chars().collect();
        let from = from.index(chars.len());
        let to = (from + length).min(chars.len());
        chars.splice(from..to, put.chars());
        let text: String = chars.into_iter().collect();
        if let Err(problems) = resolve(&source(file, &text), &[]) {
            prop_assert!(!problems.list.is_empty());
            prop_assert!(problems.list.iter().all(|p| !p.what.is_empty() && !p.fix.is_empty()));
        }
    }

    #[test]
    fn any_override_of_any_field_ends_well(
        field in any::<prop::sample::Index>(),
        value in prop_oneof!["[0-9]{1,20}", "-?[0-9.e]{1,6}", "[a-z0-9 %]{0,10}", "[\\[\\]{}:, a-z0-9]{0,8}"],
    ) {
        let fields = lockstep_job::explain(&resolve(&source("j.yaml", YAML), &[]).unwrap());
        let set = format!("{}={value}", fields[field.index(fields.len())].path);
        if let Ok(resolved) = resolve(&source("j.yaml", YAML), &[set]) {
            let json = serde_json::to_value(&resolved.job).unwrap();
            prop_assert_eq!(&JobSpec::from_json(&json).unwrap(), &resolved.job);
            prop_assert!(resolved.job.accumulation() >= 1);
        }
    }
}
