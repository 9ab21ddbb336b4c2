//! Every link leads to a file or a heading that is there.

use std::path::{Component, Path, PathBuf};

use lockstep_e2e::repository;
use pulldown_cmark::{Event, Tag};

use crate::page::{Page, all};

const BOOK: &str = "docs/src";

#[test]
fn links_lead_to_files_and_headings_that_are_there() {
    let wrong: Vec<String> = all().iter().flat_map(wrong_links).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn wrong_links(page: &Page) -> Vec<String> {
    let links = page.events().filter_map(|(line, event)| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some((line, dest_url)),
        _ => None,
    });
    let checked = links.filter(|(_, link)| !link.contains("://") && !link.starts_with("mailto:"));
    checked
        .filter_map(|(line, link)| Some(format!("{}: {link} {}", page.at(line), wrong(page, &link)?)))
        .collect()
}

/// What is wrong with a link.
fn wrong(page: &Page, link: &str) -> Option<String> {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => page.path.clone(),
        file => plain(&page.path.with_file_name(file)),
    };
    if !repository().join(&target).exists() {
        return Some(format!("leads to {}, which is not there", target.display()));
    }
    if page.path.starts_with(BOOK) && !target.starts_with(BOOK) {
        return Some(
            "leads out of the book, where its HTML pages have nothing; name the file in `code` instead"
                .to_owned(),
        );
    }
    if anchor.is_empty() || Page::read(&target).anchors().iter().any(|known| known == anchor) {
        return None;
    }
    Some(format!("leads to a heading that {} does not have", target.display()))
}

/// A path without `..`, as a browser follows a link.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut made, component| {
        match component {
            Component::ParentDir => {
                made.pop();
            }
            other => made.push(other),
        }
        made
    })
}

#[test]
fn files_that_pages_name_are_there() {
    let root = repository();
    let mut wrong = Vec::new();
    for page in all().iter().filter(|page| page.path != Path::new("CHANGELOG.md")) {
        for (line, event) in page.events() {
            if let Event::Code(text) = event
                && names_a_file(&text)
                && !root.join(&*text).exists()
            {
                wrong.push(format!("{}: `{text}` is not there", page.at(line)));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Whether a word in code style is a path from the checkout's root: it starts with one of its folders and has nothing that
/// only patterns, commands and places of a user's own have.
fn names_a_file(text: &str) -> bool {
    let folders = ["datasets/", "docs/", "launcher/", "manifests/", "tests/", "trainer/"];
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    folders.iter().any(|folder| text.starts_with(folder)) && text.chars().all(plain)
}

#[test]
fn every_page_of_the_book_is_in_its_summary() {
    let summary = Page::read(Path::new("docs/src/SUMMARY.md"));
    for page in all().iter().filter(|page| page.path.starts_with(BOOK) && page.path != summary.path) {
        let link = page.path.strip_prefix(BOOK).unwrap_or(&page.path).display().to_string();
        assert!(summary.text.contains(&format!("({link})")), "docs/src/SUMMARY.md doesn't list {link}");
    }
}
