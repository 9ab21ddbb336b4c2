//! `lockstep validate`.

use crate::common::{lockstep, outcome, run};
use serde_json::Value;

const DIGITS: &str = "trainer/examples/digits.yaml";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

#[test]
fn a_good_job_is_summed_up() {
    let (code, stdout, stderr) = run(&["validate", "-f", DIGITS]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(
        stdout,
        format!("{DIGITS} is valid: digits, 2 nodes x 1 rank, 30 epochs, 64 samples a step (32 per rank)\n")
    );
}

#[test]
fn overrides_apply() {
    let set = ["--set", "train.microBatch=8", "--set", "train.steps=1"];
    let (code, stdout, _) = run(&[["validate", "-f", DIGITS].as_slice(), &set].concat());
    assert_eq!(code, 0);
    assert!(stdout.ends_with("1 step, 64 samples a step (8 per rank x 4 accumulated)\n"), "{stdout}");
}

#[test]
fn all_problems_go_to_stderr_with_exit_code_2() {
    let text = "name: digits\nnodess: 2\nmodel: { kind: mlp }\ndata: { train: { uri: d } }\n\
                train: { epochs: 30, globalBatch: 65, microBatch: 32 }\n";
    let (code, stdout, stderr) = outcome(lockstep(&["validate", "-f", "-"]).write_stdin(text));
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert_eq!(
        stderr,
        "error: 2 problems in stdin\n\
         \x20 stdin:2:1    unknown field `nodess`\n\
         \x20              did you mean `nodes`?\n\
         \x20 stdin:5:35   train.globalBatch is 65, which is not a multiple of 2 nodes x 1 rank x microBatch 32 = 64\n\
         \x20              use 64 or 128\n"
    );
}

#[test]
fn scripts_get_the_same_as_json() {
    let (code, stdout, _) = run(&["validate", "-f", DIGITS, "--output", "json"]);
    let good = json(&stdout);
    assert_eq!((code, &good["ok"], &good["job"]["train"]["microBatch"]), (0, &true.into(), &32.into()));
    let (code, stdout, stderr) = run(&["validate", "-f", DIGITS, "--output=json", "--set", "nodes=x"]);
    assert_eq!((code, stderr.as_str()), (2, ""));
    let problem = &json(&stdout)["problems"][0];
    assert_eq!((&problem["place"], &problem["path"]), (&"--set nodes".into(), &"nodes".into()));
}

#[test]
fn explain_says_where_each_value_comes_from() {
    let (code, stdout, _) = run(&["validate", "-f", DIGITS, "--explain", "--set", "train.seed=7"]);
    assert_eq!(code, 0);
    let row = |field: &str| -> Vec<String> {
        let line = stdout.lines().find(|line| line.split_whitespace().next() == Some(field));
        line.unwrap_or_else(|| panic!("no {field} in {stdout}"))
            .split("  ")
            .map(|c| c.trim().to_owned())
            .collect()
    };
    let cells = |field: &str| row(field).into_iter().filter(|cell| !cell.is_empty()).collect::<Vec<_>>();
    assert_eq!(cells("FIELD"), ["FIELD", "VALUE", "DEFAULT", "FROM"]);
    assert_eq!(cells("nodes"), ["nodes", "2 nodes", "1", "line 3, column 8"]);
    assert_eq!(cells("train.seed"), ["train.seed", "7", "0", "--set train.seed"]);
    assert_eq!(cells("recovery.dead"), ["recovery.dead", "3s", "3s", "default"]);
    let (_, stdout, _) = run(&["validate", "-f", DIGITS, "--explain", "--output", "json"]);
    let fields = json(&stdout)["fields"].as_array().map_or(0, Vec::len);
    assert!(fields > 50, "{fields} fields");
}

#[test]
fn a_missing_file_is_named() {
    let (code, _, stderr) = run(&["validate", "-f", "nowhere.yaml"]);
    assert_eq!(code, 2);
    assert_eq!(
        stderr,
        "error: can't read the job file nowhere.yaml: No such file or directory (os error 2)\n  \
         fix   check the path after -f\n"
    );
}
