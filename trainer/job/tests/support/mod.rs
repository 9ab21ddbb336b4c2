//! What tests of wrong jobs share.
#![allow(dead_code, unreachable_pub)] // Each test binary uses a part of it.

use lockstep_job::{JobSpec, Problems, Source, parse};

/// A job that is right.
pub const HEAD: &str = "name: a\nmodel: { kind: mlp }\ndata: { train: { uri: d } }\ntrain: { steps: 5 }\n";

pub fn problems(file: &str, text: &str, sets: &[&str]) -> Problems {
    let source = Source { path: file.into(), text: text.into() };
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    match parse(&source, &sets) {
        Ok(job) => panic!("no problem in {text}: {job:?}"),
        Err(problems) => problems,
    }
}

/// Each problem as `place | what | fix`.
pub fn lines(problems: &Problems) -> Vec<String> {
    problems.list.iter().map(|p| format!("{} | {} | {}", problems.place(p), p.what, p.fix)).collect()
}

#[track_caller]
pub fn assert_problems(text: &str, expected: &[&str]) {
    assert_eq!(lines(&problems("j.yaml", text, &[])), expected, "in:\n{text}");
}

/// The file is `HEAD` and these lines, the first of which is line 5.
#[track_caller]
pub fn assert_tail(tail: &str, expected: &[&str]) {
    assert_problems(&format!("{HEAD}{tail}"), expected);
}

#[track_caller]
pub fn assert_set(sets: &[&str], expected: &[&str]) {
    assert_eq!(lines(&problems("j.yaml", HEAD, sets)), expected);
}

/// What the file with these lines says.
#[track_caller]
pub fn good_tail(tail: &str) -> JobSpec {
    let source = Source { path: "j.yaml".into(), text: format!("{HEAD}{tail}") };
    parse(&source, &[]).unwrap_or_else(|problems| panic!("in:\n{tail}\n{problems}"))
}
