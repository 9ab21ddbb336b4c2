//! The examples that train what people train: from a clone alone, through a kill, to the same bytes.

use lockstep_e2e::{Workspace, repository};
use std::path::PathBuf;

/// Short and small, but for what makes each example what it is.
fn shakespeare(run: &str) -> String {
    let example = repository().join("trainer/examples/shakespeare-gpt.yaml");
    format!(
        "launch -f {} --local --run-dir {run} --set model.layers=2 --set model.width=64 --set data.window=64 \
         --set train.steps=60 --set log.every=5steps --set eval.every=60steps --set checkpoint.every=10steps",
        example.display()
    )
}

/// The archive of pictures that tests may use where it is; it may not be part of a clone.
fn cifar() -> Option<PathBuf> {
    let archive = repository().join("../shared/data/cifar10/images.tar");
    if !archive.exists() {
        eprintln!("NOT TESTED: {} is not there", archive.display());
    }
    archive.exists().then_some(archive)
}

/// Kills everything at once after some steps, and carries on.
fn survives_a_kill(ws: &Workspace, launch: impl Fn(&str) -> String, step: &str) {
    ws.run(&launch("undisturbed")).expect_code(0);
    let mut run = ws.start(&launch("killed"));
    run.wait_for_text(step);
    run.kill_everything();
    let again = ws.run(&launch("killed")).expect_code(0);
    assert!(again.stderr.contains("; from checkpoint "), "it carries on: {}", again.stderr);
    assert!(ws.model("killed") == ws.model("undisturbed"), "another way to the end");
}

#[test]
fn a_gpt_learns_shakespeare_through_a_kill_and_writes_text() {
    let ws = Workspace::new();
    survives_a_kill(&ws, shakespeare, "step 20/");
    let losses = ws.run("metrics undisturbed -o json").expect_code(0).json();
    let losses: Vec<f64> = losses.as_array().unwrap().iter().filter_map(|m| m["loss"].as_f64()).collect();
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!((first - 256_f64.ln()).abs() < 0.3 && last < first * 0.75, "it learns: {losses:?}");

    let sample = |run: &str, more: &str| {
        ws.run(&format!("sample {run} --prompt ROMEO: --length 40 {more}")).expect_code(0).stdout
    };
    let text = sample("killed", "");
    assert!(text.starts_with("ROMEO:") && text.chars().count() > 30, "{text}");
    assert_eq!(text, sample("undisturbed", ""), "the same bytes write the same text");
    assert_ne!(text, sample("killed", "--seed 1"));
    assert_ne!(text, sample("killed", "--step 40"));
    let json = ws.run("sample killed --tokens 82,79 --length 3 -o json").expect_code(0).json();
    assert_eq!(json["tokens"].as_array().map(Vec::len), Some(3), "{json:#}");

    let none = ws.run("sample killed --prompt x --step 7").expect_code(2).stderr;
    assert!(none.contains("no checkpoint of step 7") && none.contains("60, 50, 40"), "{none}");
    let wrong = ws.run("sample killed --tokens 256 --length 3").expect_code(1).stderr;
    assert!(wrong.contains("token 256") && wrong.contains("256 tokens"), "{wrong}");
}

/// A text becomes tokens by a file, is learned, and is written by the same file.
#[test]
fn a_gpt_learns_the_tokens_of_a_tokenizer_and_writes_text_with_it() {
    let ws = Workspace::new();
    let fixtures = repository().join("datasets/tests/fixtures");
    let (text, tokenizer) = (fixtures.join("bpe.txt"), fixtures.join("bpe.json"));
    let packed = format!("data pack {} plays --tokens {}", text.display(), tokenizer.display());
    ws.run(&packed).expect_code(0);
    let job = "name: plays\nmodel: { kind: gpt, layers: 1, heads: 2, width: 16, context: 16 }\n\
               data: { format: tokens, window: 16, train: { uri: plays, split: train } }\ntrain: { steps: 4, globalBatch: 8 }\n";
    let job = ws.write("plays.yaml", job);
    ws.run(&format!("launch -f {} --local --run-dir plays-run", job.display())).expect_code(0);

    let sample = |more: &str| ws.run(&format!("sample plays-run --prompt ROMEO: --length 20 {more}"));
    let given = format!("--tokenizer {}", tokenizer.display());
    let written = sample(&given).expect_code(0).stdout;
    assert!(written.starts_with("ROMEO:") && written.len() > 20, "{written}");
    let json = sample(&format!("{given} -o json")).expect_code(0).json();
    // What a terminal would take for an order is not shown.
    let shown: String = json["text"]
        .as_str()
        .unwrap()
        .replace(|c: char| c.is_control() && c != '\n' && c != '\t', "\u{fffd}");
    assert_eq!(format!("ROMEO:{shown}\n"), written);
    let without = sample("").expect_code(2).stderr;
    assert!(without.contains("those of bpe.json sha256:") && without.contains("--tokenizer"), "{without}");
    let other = ws.write(
        "other.json",
        &std::fs::read_to_string(&tokenizer).unwrap().replace("\"version\"", " \"version\""),
    );
    let other = sample(&format!("--tokenizer {}", other.display())).expect_code(2).stderr;
    assert!(other.contains("not of other.json sha256:"), "{other}");
}

/// With dropout, on two ranks, each with its own random numbers.
#[test]
fn a_gpt_that_computes_its_blocks_again_learns_the_same() {
    let ws = Workspace::new();
    let again = |run: &str| format!("{} --set model.recompute=block", shakespeare(run));
    ws.run(&shakespeare("kept")).expect_code(0);
    ws.run(&again("again")).expect_code(0);
    assert!(ws.model("again") == ws.model("kept"), "another way to the end");
    // It is how a run computes, and makes no other run of it.
    let on = ws.run(&format!("{} --set train.steps=62", again("kept"))).expect_code(0);
    assert!(on.stderr.contains("; from checkpoint 60"), "it carries on: {}", on.stderr);
}

/// What bytes mean, and how many tokens there are, is the word of the data; other data has no say.
#[test]
fn text_is_written_with_the_data_that_the_model_was_trained_on() {
    let ws = Workspace::new();
    let pack = |name: &str, text: &str| {
        ws.write("text.txt", &text.repeat(40));
        ws.run(&format!("data pack text.txt {name} --tokens bytes")).expect_code(0);
    };
    pack("data", "to be or not to be ");
    pack("other", "that is the question ");
    ws.write(
        "job.yaml",
        "name: small\nmodel: { kind: gpt, layers: 1, heads: 1, width: 16, context: 16 }\n\
         data: { format: tokens, window: 16, train: { uri: data, split: train } }\ntrain: { steps: 5, globalBatch: 4 }\n",
    );
    ws.run("launch -f job.yaml --local").expect_code(0);
    let sample = || ws.run("sample small --prompt to --length 5");
    sample().expect_code(0);
    std::fs::rename(ws.path("data"), ws.path("before")).unwrap();
    std::fs::rename(ws.path("other"), ws.path("data")).unwrap();
    let refused = sample().expect_code(1).stderr;
    assert!(refused.contains("it was trained on data with digest sha256:"), "{refused}");
}

#[test]
fn a_model_that_writes_no_text_says_so() {
    let ws = Workspace::new();
    let digits = repository().join("trainer/examples/digits.yaml");
    ws.run(&format!("launch -f {} --local --run-dir d --set train.epochs=1", digits.display()))
        .expect_code(0);
    let told = ws.run("sample d --tokens 1 --length 3").expect_code(1).stderr;
    assert!(told.contains("writes no text; only model.kind gpt does"), "{told}");
    let told = ws.run("sample d --prompt x").expect_code(2).stderr;
    assert!(told.contains("doesn't say what its tokens are") && told.contains("--tokens"), "{told}");
}

#[test]
fn a_residual_network_learns_pictures_through_a_kill() {
    let Some(archive) = cifar() else { return };
    let ws = Workspace::new();
    let pack = format!("data pack {} cifar10 --split train=0.8,test=0.2", archive.display());
    let packed = ws.run(&pack).expect_code(0).stdout;
    assert!(packed.contains("8000") && packed.contains("2000"), "{packed}");
    let example = repository().join("trainer/examples/cifar-resnet20.yaml");
    let data = ws.path("cifar10").display().to_string();
    let launch = |run: &str| {
        format!(
            "launch -f {} --local --run-dir {run} --set data.train.uri={data} --set data.eval.uri={data} \
             --set train.epochs=1 --set log.every=5steps --set checkpoint.every=15steps",
            example.display()
        )
    };
    survives_a_kill(&ws, launch, "step 20/");
    let status = ws.run("status killed -o json").expect_code(0).json();
    let accuracy = status["eval"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.2, "ten classes, one epoch: {status:#}");
}
