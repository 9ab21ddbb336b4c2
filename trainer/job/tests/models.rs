//! What is wrong within the configuration of a built-in model.

use lockstep_job::{Source, parse};

const HEAD: &str = "name: a\ndata: { train: { uri: d } }\ntrain: { steps: 5 }\n";

/// The problems of a job with that model, as `what | fix`.
#[track_caller]
fn problems(model: &str) -> Vec<String> {
    let text = format!("{HEAD}model: {model}\n");
    match parse(&Source { path: "j.yaml".into(), text }, &[]) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.list.iter().map(|p| format!("{} | {}", p.what, p.fix)).collect(),
    }
}

#[test]
fn a_residual_network_has_one_of_the_known_depths() {
    assert!(problems("{ kind: resnet, depth: 50 }").is_empty());
    assert_eq!(
        problems("{ kind: resnet, depth: 19 }"),
        ["model.depth is 19, and there is no such network | \
          18, 34 and 50 are for large pictures, 20, 32, 44 and 56 for those of 32 x 32 or so"]
    );
}
