//! The blocks of code in README and book, by the words behind their three backticks.

use pulldown_cmark::{CodeBlockKind, Event, Tag, TagEnd};

use crate::page::{Page, for_users};

/// What a test does with a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Commands that are run, with the exit code of the last one: `sh`, `sh,exit=2`.
    Run { exit: i32 },
    /// A whole job file, which must be valid: `yaml`.
    Job,
    /// Part of a job file, with nothing wrong but what is missing: `yaml,fragment`.
    Fragment,
    /// Nothing: commands that are marked as not run (`sh,norun`), transcripts (`console`), output and pictures (`text`), YAML
    /// that is no job file (`yaml,other`), and other languages.
    Show,
}

/// A block of code.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) line: usize,
    pub(crate) text: String,
    /// Whatever else is done with it, it is kept as this file first: `yaml,file=mine.yaml`.
    pub(crate) file: Option<String>,
    pub(crate) what: Use,
}

/// The blocks of a page.
///
/// # Errors
/// In words, the place and what is wrong with a block that no test would know what to do with.
pub(crate) fn blocks(page: &Page) -> Result<Vec<Block>, String> {
    let mut found = Vec::new();
    let mut open = None;
    let mut transcript = false;
    for (line, event) in page.events() {
        match (&mut open, event) {
            (_, Event::Start(Tag::CodeBlock(CodeBlockKind::Indented))) => {
                return Err(format!("{}: an indented block; fence it and say what it is", page.at(line)));
            }
            (_, Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(words)))) => {
                let (what, file) = meaning(&words).map_err(|wrong| format!("{}: {wrong}", page.at(line)))?;
                transcript = words.starts_with("console");
                open = Some(Block { line, text: String::new(), file, what });
            }
            (Some(block), Event::Text(text)) => block.text += &text,
            (Some(block), Event::End(TagEnd::CodeBlock)) => {
                block.text = with_includes(page, &block.text);
                if transcript != has_prompt(&block.text) {
                    return Err(format!(
                        "{}: `console` is for what has a prompt, and for nothing else",
                        page.at(line)
                    ));
                }
                found.extend(open.take());
            }
            _ => {}
        }
    }
    Ok(found)
}

/// What mdBook makes of a line that names another file, relative to the page.
fn with_includes(page: &Page, text: &str) -> String {
    let lines = text.lines().map(|line| {
        match line.strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}")) {
            Some(file) => Page::read(&page.path.with_file_name(file)).text,
            None => format!("{line}\n"),
        }
    });
    lines.collect()
}

fn meaning(words: &str) -> Result<(Use, Option<String>), String> {
    let mut words = words.split(',');
    let language = words.next().unwrap_or_default();
    let (mut file, mut fragment, mut idle, mut exit) = (None, false, false, 0);
    for word in words {
        match word.split_once('=') {
            Some(("file", name)) => file = Some(name.to_owned()),
            Some(("exit", code)) => exit = code.parse().map_err(|e| format!("exit={code}: {e}"))?,
            None if word == "fragment" => fragment = true,
            None if word == "norun" || word == "other" => idle = true,
            _ => return Err(format!("`{word}` says nothing about a block")),
        }
    }
    let what = match language {
        "sh" if !idle => Use::Run { exit },
        "yaml" if idle => Use::Show,
        "yaml" if fragment => Use::Fragment,
        "yaml" => Use::Job,
        "sh" | "console" | "text" | "rust" | "python" | "toml" | "csv" => Use::Show,
        "" => return Err("a block that doesn't say what it is".to_owned()),
        other => return Err(format!("a block of `{other}`, which no test knows")),
    };
    Ok((what, file))
}

/// Whether a block has a prompt, which only transcripts have.
fn has_prompt(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("$ "))
}

#[test]
fn every_block_says_what_it_is() {
    let wrong: Vec<String> = for_users().iter().filter_map(|page| blocks(page).err()).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_is_behind_the_backticks_is_understood() {
    assert_eq!(meaning("sh"), Ok((Use::Run { exit: 0 }, None)));
    assert_eq!(meaning("sh,exit=2"), Ok((Use::Run { exit: 2 }, None)));
    assert_eq!(meaning("sh,norun"), Ok((Use::Show, None)));
    assert_eq!(meaning("yaml,file=mine.yaml"), Ok((Use::Job, Some("mine.yaml".to_owned()))));
    for wrong in ["", "bash", "sh,norum"] {
        assert!(meaning(wrong).is_err(), "{wrong}");
    }
}
