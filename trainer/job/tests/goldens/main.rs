//! Checked-in files that are made from the types: each test prints how to refresh its file.

mod reference;

use std::path::Path;

use lockstep_job::{Place, Source, explain, resolve, schema};

fn current(file: &str, made: &str, refresh: &str) {
    let path = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join(file);
    if std::env::var_os("LOCKSTEP_REFRESH").is_some() {
        assert!(std::fs::write(&path, made).is_ok(), "{} cannot be written", path.display());
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(checked_in == made, "{} is out of date; refresh it with: {refresh}", path.display());
}

const REFRESH: &str = "LOCKSTEP_REFRESH=1 cargo test -p lockstep-job --test goldens";

#[test]
fn the_schema_is_current() {
    let made = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    current("schema/job.schema.json", &made, REFRESH);
}

#[test]
fn the_books_reference_is_current() {
    current("../../docs/src/reference/job.md", &reference::page(&schema()), REFRESH);
}

#[test]
fn the_example_is_explained() {
    current("tests/digits.explained.txt", &explained("digits.yaml", |_| true), REFRESH);
}

#[test]
fn the_kubernetes_section_is_explained() {
    let made = explained("digits-cluster.yaml", |path| path.starts_with("kubernetes."));
    current("tests/digits-cluster.explained.txt", &made, REFRESH);
}

fn explained(example: &str, shown: impl Fn(&str) -> bool) -> String {
    let path = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default())
        .join("../../trainer/examples")
        .join(example);
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{example}: {error}"));
    let source = Source { path: example.into(), text };
    let resolved =
        resolve(&source, &["train.seed=7".to_owned()]).unwrap_or_else(|problems| panic!("{problems}"));
    let mut made = String::new();
    for field in explain(&resolved).into_iter().filter(|field| shown(&field.path)) {
        let value = field.value.map_or("-".to_owned(), |value| value.to_string());
        let unit = field.unit.map_or(String::new(), |unit| format!(" {unit}"));
        let from = match field.place {
            None => "default".to_owned(),
            Some(Place::File(at)) => format!("line {}, column {}", at.line, at.column),
            Some(Place::Set(path)) => format!("--set {path}"),
            Some(Place::Whole) => "whole".to_owned(),
        };
        let default = field.default.map_or(String::new(), |default| format!(" [{default}]"));
        made += &format!("{} = {value}{unit}{default} ({from})\n", field.path);
        assert!(!field.doc.is_empty(), "{} has no documentation", field.path);
    }
    made
}
