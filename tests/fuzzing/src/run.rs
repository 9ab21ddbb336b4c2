use crate::edit::Edit;
use crate::text::TextEdit;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Rounds of a target, and inputs in a round, where no time is given.
const ROUNDS: u64 = 4;
const INPUTS: u32 = 256;

/// Hands `check` the inputs of the corpus, and then changes of them. It panics where one is answered wrongly.
pub fn fuzz(target: &str, corpus: &[Vec<u8>], check: impl Fn(&[u8])) {
    rounds(target, corpus, Edit::any, Edit::apply, check);
}

/// As [`fuzz`], for texts: lines, words and numbers are changed as well as bytes.
pub fn fuzz_text(target: &str, corpus: &[Vec<u8>], check: impl Fn(&[u8])) {
    rounds(target, corpus, TextEdit::any, TextEdit::apply, check);
}

fn rounds<E: Debug, S: Strategy<Value = E>>(
    target: &str,
    corpus: &[Vec<u8>],
    any_edit: impl Fn() -> S,
    apply: impl Fn(&E, &mut Vec<u8>, &[Vec<u8>]),
    check: impl Fn(&[u8]),
) {
    corpus.iter().for_each(|input| check(input));
    let seconds = std::env::var("LOCKSTEP_FUZZ_SECONDS").ok().map(|text| text.parse().unwrap());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let inputs = (any::<Index>(), prop::collection::vec(any_edit(), 1..6));
    let input = |first: &Index, edits: &[E]| {
        let mut data = corpus[first.index(corpus.len())].clone();
        edits.iter().for_each(|edit| apply(edit, &mut data, corpus));
        data
    };
    let mut rounds = 0_u64;
    while until.map_or(rounds < ROUNDS, |until| Instant::now() < until) {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&rounds.to_le_bytes());
        let config = Config { cases: INPUTS, failure_persistence: None, ..Config::default() };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let ran = TestRunner::new_with_rng(config, rng).run(&inputs, |(first, edits)| {
            check(&input(&first, &edits));
            Ok(())
        });
        match ran {
            Ok(()) => {}
            Err(TestError::Fail(reason, (first, edits))) => {
                let saved = save(target, &input(&first, &edits));
                panic!("{target}, round {rounds}: {reason}; the input is in {saved}");
            }
            Err(broken) => panic!("{target}, round {rounds}: {broken}"),
        }
        rounds += 1;
    }
    println!("fuzz {target}: {} inputs", rounds * u64::from(INPUTS));
}

/// Keeps the input that broke a target.
fn save(target: &str, data: &[u8]) -> String {
    let path = std::env::temp_dir().join(format!("broke-{target}"));
    match std::fs::write(&path, data) {
        Ok(()) => path.display().to_string(),
        Err(_) => format!("no file: {}", data.escape_ascii()),
    }
}
