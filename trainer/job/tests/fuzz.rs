//! Texts that nobody meant as job files: a refusal says what, where and what to do; what is taken is the same job again.
//!
//! Targets start from `tests/corpus` and from the repository's own job files; how long they go on is in `lockstep-fuzzing`.

#![allow(clippy::unwrap_used, reason = "a panic is a test's verdict")]

use std::{fmt::Display, path::Path, str::FromStr};

use lockstep_fuzzing::{corpus, fuzz_text};
use lockstep_job::{
    ByteSize, Cadence, Cpu, Interval, JobSpec, Location, Place, Problem, Problems, Resolved, RunName, Source,
    Span, UnitError, Warmup, explain, meaning, resolve,
};

/// The repository's job files.
const EXAMPLES: [&str; 9] = [
    "trainer/examples/digits.yaml",
    "trainer/examples/digits-cluster.yaml",
    "trainer/examples/custom-task/job.yaml",
    "launcher/render/tests/jobs/minimal.yaml",
    "launcher/render/tests/jobs/nightly.yaml",
    "launcher/render/tests/jobs/everything.yaml",
    "tests/benches/digits.yaml",
    "tests/benches/digits-cluster.yaml",
    "tests/fixtures/format-0.job.yaml",
];

fn inputs(target: &str) -> Vec<Vec<u8>> {
    corpus(Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("tests/corpus").join(target))
}

fn examples() -> Vec<Vec<u8>> {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../..");
    EXAMPLES.iter().map(|file| std::fs::read(root.join(file)).unwrap()).collect()
}

fn source(file: &str, text: &str) -> Source {
    Source { path: file.into(), text: text.into() }
}

/// Reads a text as a job file, and checks what comes of it.
fn check(file: &str, text: &str, sets: &[String]) {
    match resolve(&source(file, text), sets) {
        Ok(resolved) => accepted(&resolved),
        Err(problems) => refused(&problems, text, sets),
    }
}

fn accepted(resolved: &Resolved) {
    let job = &resolved.job;
    let value = serde_json::to_value(job).unwrap();
    assert_eq!(&JobSpec::from_json(&value).unwrap(), job);
    let text = value.to_string();
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(meaning::differences(&read, &value), [""; 0], "as text it is another job: {text}");
    // YAML has no characters that can't be printed, JSON has them in strings.
    let is_yaml = text.chars().all(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}'));
    for file in ["job.json", "job.yaml"].into_iter().take(1 + usize::from(is_yaml)) {
        let again =
            resolve(&source(file, &text), &[]).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        assert_eq!(&again.job, job, "as {file} it is another job: {text}");
    }
    assert!(job.world_size() >= 1 && job.micro_batch() >= 1 && job.eval_micro_batch() >= 1);
    assert!(job.accumulation() >= 1);
    let _ = (job.total_steps(u64::MAX), job.steps_per_epoch(1), job.cache_volume(), explain(resolved));
    let _ = job.env.expand(|_| None);
    if let Err(problems) = resolved.check_for_cluster() {
        assert!(!problems.list.is_empty());
    }
    let mut scaled = job.clone();
    scaled.forget_shape();
}

fn refused(problems: &Problems, text: &str, sets: &[String]) {
    assert!(!problems.list.is_empty());
    for Problem { place, path, what, fix } in &problems.list {
        assert!(!what.is_empty() && !fix.is_empty(), "{path}: {what:?}, {fix:?}");
        match place {
            Place::File(at) => assert!(is_in(text, *at), "{at:?} is not in the file: {what}"),
            Place::Set(path) => {
                assert!(
                    sets.iter().any(|set| set.trim_start().starts_with(path.as_str())),
                    "{path} is not set"
                );
            }
            Place::Whole => panic!("nobody knows where: {what}"),
        }
    }
    assert!(problems.to_string().lines().count() > problems.list.len());
}

/// Whether a text has this line, and the line this column or ends before it. In YAML a carriage return alone ends a line too.
fn is_in(text: &str, at: Location) -> bool {
    let in_yaml = text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'));
    has(text.split('\n'), at) || has(in_yaml, at)
}

fn has<'t>(mut lines: impl Iterator<Item = &'t str> + Clone, at: Location) -> bool {
    // Behind the last line's end there is one more.
    let after = at == Location { line: lines.clone().count() + 1, column: 1 };
    let line = at.line.checked_sub(1).and_then(|line| lines.nth(line));
    after || line.is_some_and(|line| (1..=line.chars().count() + 1).contains(&at.column))
}

#[test]
fn yaml() {
    let inputs = [inputs("yaml"), examples()].concat();
    fuzz_text("yaml", &inputs, |data| check("job.yaml", &String::from_utf8_lossy(data), &[]));
}

#[test]
fn json() {
    let mut inputs = inputs("json");
    for example in examples() {
        let example = source("job.yaml", std::str::from_utf8(&example).unwrap());
        let job = resolve(&example, &[]).unwrap().job;
        inputs.push(serde_json::to_vec_pretty(&job).unwrap());
    }
    fuzz_text("json", &inputs, |data| check("job.json", &String::from_utf8_lossy(data), &[]));
}

#[test]
fn toml() {
    fuzz_text("toml", &inputs("toml"), |data| check("job.toml", &String::from_utf8_lossy(data), &[]));
}

#[test]
fn overrides() {
    let job = examples().swap_remove(0);
    let job = String::from_utf8(job).unwrap();
    fuzz_text("set", &inputs("set"), |data| {
        let text = String::from_utf8_lossy(data);
        let sets: Vec<_> = text.lines().map(str::to_owned).collect();
        check("job.yaml", &job, &sets);
    });
}

/// What is taken is printed as what reads as the same.
fn unit<T: FromStr<Err = UnitError> + Display + PartialEq + std::fmt::Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string().parse::<T>().as_ref(), Ok(&value), "{text:?} is {value}"),
        Err(error) => assert!(!error.to_string().is_empty() && !error.fix.is_empty()),
    }
}

#[test]
fn units() {
    fuzz_text("unit", &inputs("unit"), |data| {
        let text = &String::from_utf8_lossy(data);
        unit::<ByteSize>(text);
        unit::<Cadence>(text);
        unit::<Cpu>(text);
        unit::<Interval>(text);
        unit::<RunName>(text);
        unit::<Span>(text);
        unit::<Warmup>(text);
    });
}
