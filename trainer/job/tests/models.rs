//! What is wrong within the configuration of a built-in model, and of what it reads.

mod support;

use lockstep_job::{Source, parse};
use support::{HEAD, assert_problems};

/// The problems of a job with these lines, as `what | fix`.
#[track_caller]
fn problems_of(lines: &str) -> Vec<String> {
    let text = format!("name: a\ntrain: {{ steps: 5 }}\n{lines}\n");
    match parse(&Source { path: "j.yaml".into(), text }, &[]) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.list.iter().map(|p| format!("{} | {}", p.what, p.fix)).collect(),
    }
}

/// Those of a job with that model.
#[track_caller]
fn problems(model: &str) -> Vec<String> {
    problems_of(&format!("data: {{ train: {{ uri: d }} }}\nmodel: {model}"))
}

#[test]
fn what_says_how_pictures_are_read_must_fit_together() {
    let of = |image: &str| {
        problems_of(&format!("model: {{ kind: resnet }}\ndata: {{ train: {{ uri: d }}, image: {image} }}"))
    };
    assert!(of("{ size: 32, mean: [0.5, 0.5, 0.5], crop: { kind: shift } }").is_empty());
    assert_eq!(
        of("{ size: 4, colours: grey, std: [1, 1], resize: 3, crop: { kind: shift } }"),
        [
            "data.image.std has 2 numbers, and a pixel has 1 | write as many, one for each channel",
            "data.image.resize is 3, less than data.image.size, 4 | use at least 4",
            "data.image.crop moves pictures of 4 pixels by 4: nothing is left | use fewer pixels, such as an eighth of the size",
        ]
    );
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

#[test]
fn a_job_that_says_nothing_of_normalisations_is_recorded_as_before() {
    let of = |more: &str| {
        let text = HEAD.replace("kind: mlp", &format!("kind: resnet{more}"));
        let job = parse(&Source { path: "j.yaml".into(), text }, &[]).unwrap();
        serde_json::to_value(job.model).unwrap().get("batchNorm").cloned()
    };
    assert_eq!((of(""), of(", batchNorm: perRank")), (None, None));
    assert_eq!(of(", batchNorm: synced"), Some("synced".into()));
    assert_eq!(
        problems("{ kind: resnet, batchNorm: global }"),
        ["model.batchNorm is `global`, but must be perRank or synced | write perRank or synced"]
    );
}

#[test]
fn a_transformer_can_read_the_windows_of_the_data() {
    let of = |context: u32| {
        let data = "data: { format: tokens, window: 64, train: { uri: d } }";
        problems_of(&format!("model: {{ kind: gpt, context: {context} }}\n{data}"))
    };
    assert!(of(64).is_empty());
    assert_eq!(
        of(63),
        [
            "data.window is 64, but the model reads at most 63 tokens | lower data.window, or raise model.context"
        ]
    );
}

#[test]
fn heads_share_the_width_of_a_transformer() {
    let of = |fields: &str| problems(&format!("{{ kind: gpt, {fields} }}"));
    assert!(of("heads: 25, width: 1600, kvHeads: 5, positions: rotary").is_empty());
    assert_eq!(
        of("width: 100"),
        ["model.width is 100, which is not a multiple of model.heads 12 | use 96 or 108"]
    );
    assert_eq!(
        of("width: 8, heads: 12"),
        ["model.width is 8, which is not a multiple of model.heads 12 | use 12"]
    );
    assert_eq!(
        of("kvHeads: 5"),
        ["model.heads is 12, which is not a multiple of model.kvHeads 5 | use a number that divides 12"]
    );
    assert_eq!(
        of("heads: 4, width: 12, positions: rotary"),
        ["model.positions is rotary, but heads of 3 features have no pairs to turn | \
          make model.width a multiple of 8, or use positions: learned"]
    );
    assert_eq!(of("heads: 0, kvHeads: 0").len(), 2, "what is out of its range is told once");
}

#[test]
fn tokens_need_a_window_and_nothing_else_has_one() {
    let data = |rest: &str| HEAD.replace("uri: d }", &format!("uri: d }}{rest}"));
    let source = Source { path: "j.yaml".into(), text: data(", format: tokens, window: 256") };
    assert!(parse(&source, &[]).is_ok());
    assert_problems(
        &data(", format: tokens"),
        &["j.yaml:3:36 | data.format is tokens, but `data.window` is missing | \
           add window: 256, the number of tokens that a sample predicts"],
    );
    assert_problems(
        &data(", window: 256"),
        &["j.yaml:3:36 | data.window has no effect: samples of the format mds are as stored | \
           remove it, or add format: tokens"],
    );
    assert_problems(
        &data(", format: tokens, window: 0"),
        &["j.yaml:3:52 | data.window is 0, but must be at least 1 | use 1 or more"],
    );
}
