//! A field that holds text takes what was written, whatever YAML or TOML would take it for.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_job::{JobSpec, Source, parse};

/// Plain words that some YAML reads as something else.
const WORDS: [&str; 42] = [
    "61e9540",
    "1e9540",
    "5e41234",
    "1.10",
    "1.0",
    "0123",
    "0o17",
    "0x1F",
    "1_000",
    "12:30:45",
    "2026-11-29",
    "1e-3",
    "+1",
    "-0",
    ".5",
    "5.",
    ".inf",
    "-.Inf",
    ".nan",
    "12345678901234567890123",
    "-99999999999999999999",
    "0.1000000000000000055511",
    "no",
    "No",
    "yes",
    "on",
    "off",
    "y",
    "n",
    "true",
    "True",
    "FALSE",
    "null",
    "Null",
    "~",
    "=",
    "<<",
    "1,000",
    "1e999",
    "18446744073709551616",
    "00",
    "1e+05",
];

fn job(file: &str, text: &str, sets: &[String]) -> JobSpec {
    let source = Source { path: file.into(), text: text.to_owned() };
    parse(&source, sets).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

fn variable<'j>(job: &'j JobSpec, name: &str) -> &'j str {
    job.env.iter().find(|(key, _)| *key == name).unwrap().1
}

/// The command's second word, the variable V, and the split.
fn texts(job: &JobSpec) -> [&str; 2] {
    [&job.command.as_ref().unwrap()[1], variable(job, "V")]
}

#[test]
fn yaml_takes_plain_words_as_they_are() {
    for word in WORDS {
        let inline = format!("name: a\ncommand: [echo, {word}]\nenv: {{ V: {word} }}\n");
        if word != "1,000" {
            assert_eq!(texts(&job("j.yaml", &inline, &[])), [word; 2], "{inline}");
        }
        let block =
            format!("name: a\ncommand:\n- echo\n- {word} # a comment\nenv:\n  V: {word}  # a comment\n");
        assert_eq!(texts(&job("j.yaml", &block, &[])), [word; 2], "{block}");
        let quoted = format!("name: a\ncommand: [echo, \"{word}\"]\nenv: {{ V: '{word}' }}\n");
        assert_eq!(texts(&job("j.yaml", &quoted, &[])), [word; 2], "{quoted}");
        let tagged = format!("name: a\ncommand:\n- echo\n- !!str {word}\nenv:\n  V: ! {word}\n");
        assert_eq!(texts(&job("j.yaml", &tagged, &[])), [word; 2], "{tagged}");
        let storage = format!("name: a\ncommand: [echo]\nstorage: {word}\n");
        if !matches!(word, "~" | "null" | "Null") {
            assert_eq!(job("j.yaml", &storage, &[]).storage, word);
        }
    }
}

#[test]
fn keys_and_aliases_are_text_too() {
    let text = "name: a\ncommand: [echo, &sha 61e9540]\nenv: { V: *sha, no: 1_0, Y: on }\n";
    let job = job("j.yaml", text, &[]);
    assert_eq!(texts(&job), ["61e9540"; 2]);
    assert_eq!((variable(&job, "no"), variable(&job, "Y")), ("1_0", "on"));
}

#[test]
fn json_and_toml_take_numbers_and_truth_as_they_were_written() {
    for word in ["1.10", "1e-3", "-0", "0.1000000000000000055511", "true", "12345678901234567890123"] {
        let json = format!(r#"{{ "name": "a", "command": ["echo", {word}], "env": {{ "V": {word} }} }}"#);
        assert_eq!(texts(&job("j.json", &json, &[])), [word; 2], "{json}");
    }
    for word in ["1.10", "1e-3", "0x1F", "1_000", "0o17", "true", "+1", "inf", "2026-11-29", "12:30:45"] {
        let toml = format!("name = 'a'\ncommand = ['echo', {word}]\nenv.V = {word}\n");
        assert_eq!(texts(&job("j.toml", &toml, &[])), [word; 2], "{toml}");
    }
}

#[test]
fn an_override_is_taken_as_it_was_typed() {
    let typed = [
        "exp #3", "# x", "!t v", "!!str x", "|", ">", "\"q\"", "'q'", "\"", "", " ", " x ", "[a", "[a, b]",
        "{a: b}", "- a", "a: b", "*x", "&x y", "@x", "`x`", "%x", "a\nb", "a=b", "?", ":", "-", "--",
        "\u{1b}", "ä",
    ];
    let file = "name: a\ncommand: [echo, before]\nenv: { V: before }\n";
    for word in typed.into_iter().chain(WORDS) {
        let sets = [format!("env.V={word}"), format!("command.1={word}"), format!("storage={word}")];
        let sets = if word.is_empty() { &sets[..2] } else { &sets };
        let job = job("j.yaml", file, sets);
        assert_eq!(texts(&job), [word; 2], "{word:?}");
        assert!(word.is_empty() || job.storage == word, "{word:?}");
    }
}

#[test]
fn items_of_a_list_that_is_set_are_texts_as_well() {
    let sets = ["command=[echo, 61e9540, 1.10, no, 'q', \"a\\tb\"]".to_owned()];
    let job = job("j.yaml", "name: a\nenv: {}\n", &sets);
    assert_eq!(job.command.unwrap(), ["echo", "61e9540", "1.10", "no", "q", "a\tb"]);
}

#[test]
fn what_has_a_unit_may_be_quoted_on_a_command_line() {
    let sets = ["recovery.grace='90s'".to_owned(), "name=\"b\"".to_owned()];
    let job = job("j.yaml", "name: a\ncommand: [echo]\n", &sets);
    assert_eq!((job.recovery.grace.to_string().as_str(), &*job.name), ("1m 30s", "b"));
}

#[test]
fn a_tag_without_a_meaning_is_told_with_what_keeps_the_text() {
    let source = Source { path: "j.yaml".into(), text: "name: a\ncommand: [echo, !t it's]\n".to_owned() };
    let problems = parse(&source, &[]).unwrap_err();
    let told = &problems.list[0];
    assert_eq!(told.what, "the tag !t has no meaning here");
    let fixed = told.fix.strip_prefix("write it in quotes: ").unwrap();
    let again = format!("name: a\ncommand: [echo, {fixed}]\n");
    assert_eq!(job("j.yaml", &again, &[]).command.unwrap()[1], "!t it's");
}

#[test]
fn no_file_makes_the_reader_run_out_of_memory_or_stack() {
    let mut bomb = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}, ", level - 1).repeat(10);
        bomb += &format!("b{level}: &a{level} [{alias}]\n");
    }
    let deep = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let circle = "a: &a [*a]\n".to_owned();
    for text in [bomb, deep, circle] {
        let source = Source { path: "j.yaml".into(), text };
        assert!(parse(&source, &[]).is_err());
    }
}
