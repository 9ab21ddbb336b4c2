//! Markdown files of the checkout.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use lockstep_e2e::repository;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// A page by its path in the checkout.
pub(crate) struct Page {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(repository().join(path));
        Self { path: path.to_owned(), text: text.unwrap_or_else(|e| panic!("{}: {e}", path.display())) }
    }

    /// What the page is made of, each with the number of its line.
    pub(crate) fn events(&self) -> impl Iterator<Item = (usize, Event<'_>)> {
        let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH;
        let parser = Parser::new_ext(&self.text, options).into_offset_iter();
        parser.map(|(event, range)| (1 + self.text[..range.start].matches('\n').count(), event))
    }

    /// The anchors of its headings, by the rule that GitHub and mdBook share.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let mut found = Vec::<String>::new();
        let mut heading = None::<String>;
        for (_, event) in self.events() {
            match (&mut heading, event) {
                (_, Event::Start(Tag::Heading { .. })) => heading = Some(String::new()),
                (Some(title), Event::Text(text) | Event::Code(text)) => *title += &text,
                (Some(title), Event::End(TagEnd::Heading(_))) => {
                    let anchor = anchor(title);
                    let same = found.iter().filter(|known| **known == anchor).count();
                    found.push(if same == 0 { anchor } else { format!("{anchor}-{same}") });
                    heading = None;
                }
                _ => {}
            }
        }
        found
    }

    /// A line of it, as an editor takes it.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }
}

fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace() || matches!(c, '-' | '_'));
    kept.map(|c| if c.is_whitespace() { '-' } else { c }).collect::<String>().to_lowercase()
}

/// All pages that git doesn't ignore.
pub(crate) fn all() -> Vec<Page> {
    let root = repository();
    let walk = ignore::WalkBuilder::new(&root).require_git(false).sort_by_file_path(Ord::cmp).build();
    let files = walk.map(|entry| entry.unwrap_or_else(|e| panic!("{e}")).into_path());
    let markdown = files.filter(|path| path.extension() == Some(OsStr::new("md")));
    markdown.map(|path| Page::read(path.strip_prefix(&root).unwrap_or(&path))).collect()
}

/// The README and the pages of the book.
pub(crate) fn for_users() -> Vec<Page> {
    all()
        .into_iter()
        .filter(|page| page.path == Path::new("README.md") || page.path.starts_with("docs/src"))
        .collect()
}
