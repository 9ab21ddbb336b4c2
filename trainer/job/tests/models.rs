//! What is wrong within the configuration of a built-in model, and of what it reads.

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
fn what_says_how_pictures_are_read_must_fit_together() {
    let of = |image: &str| {
        let text = format!(
            "name: a\nmodel: {{ kind: resnet }}\ntrain: {{ steps: 5 }}\ndata: {{ train: {{ uri: d }}, image: {image} }}\n"
        );
        match parse(&Source { path: "j.yaml".into(), text }, &[]) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.list.iter().map(|p| format!("{} | {}", p.what, p.fix)).collect(),
        }
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
