//! The messages that the book explains are ones that the programs say.

use std::ffi::OsStr;
use std::path::Path;

use lockstep_e2e::repository;
use pulldown_cmark::{Event, Tag, TagEnd};

use crate::page::Page;

#[test]
fn messages_that_are_explained_are_said() {
    let sources = sources();
    let page = Page::read(Path::new("docs/src/troubleshooting.md"));
    let (mut messages, mut column, mut wrong) = (0, 0, Vec::new());
    for (line, event) in page.events() {
        match event {
            Event::Start(Tag::TableRow) => column = 0,
            Event::End(TagEnd::TableCell) => column += 1,
            Event::Code(text) if column == 0 && !text.starts_with("lockstep ") => {
                messages += 1;
                let parts = text.split('…').map(str::trim).filter(|part| !part.is_empty());
                let unknown = parts.filter(|part| !sources.contains(part));
                wrong.extend(unknown.map(|part| format!("{}: nothing says «{part}»", page.at(line))));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(messages > 10, "where are the messages? {messages}");
}

/// All source code of the programs, without that of whole-system tests.
fn sources() -> String {
    let folders = ["launcher", "trainer", "datasets"].map(|folder| repository().join(folder));
    let mut walk = ignore::WalkBuilder::new(&folders[0]);
    for folder in &folders[1..] {
        walk.add(folder);
    }
    let files = walk.build().map(|entry| entry.unwrap_or_else(|e| panic!("{e}")).into_path());
    let rust = files.filter(|path| path.extension() == Some(OsStr::new("rs")));
    rust.map(|path| std::fs::read_to_string(&path).unwrap_or_default()).collect()
}
