//! YAML with each scalar as it was written: what it stands for is for the field to say that holds it.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::scalar::value_of;
use crate::{
    Location, Place, Problem,
    tree::{Entry, Node, Value},
};

/// More levels than any job has.
const DEEPEST: usize = 64;
/// More values than any job has, those that aliases repeat included.
const MOST: usize = 100_000;

/// Reads one YAML document.
pub(crate) fn read(text: &str) -> Result<Node, Problem> {
    let mut reader = Reader { events: Parser::new_from_str(text), anchors: BTreeMap::new(), num_nodes: 0 };
    let mut root = None;
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd | Event::StreamEnd => {}
            _ if root.is_some() => {
                return Err(problem(&span, "there is a second document", "keep one job in a file"));
            }
            event => root = Some(reader.node(event, &span, 0)?),
        }
    }
    Ok(root.unwrap_or_else(|| Node::new(Place::File(Location { line: 1, column: 1 }), Value::Null)))
}

struct Reader<'t> {
    events: Parser<'t, granit_parser::StrInput<'t>>,
    anchors: BTreeMap<usize, Node>,
    num_nodes: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Problem> {
        loop {
            match self.events.next_event() {
                None => return Ok(None),
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(found)) => return Ok(Some(found)),
                Some(Err(error)) => {
                    let mark = error.marker();
                    return Err(Problem {
                        place: Place::File(Location { line: mark.line().max(1), column: mark.col() + 1 }),
                        path: String::new(),
                        what: error.info().replace(char::is_control, " "),
                        fix: "check the YAML here and on the line before: indentation, quotes, brackets"
                            .to_owned(),
                    });
                }
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Node, Problem> {
        self.count(span, 1)?;
        if depth > DEEPEST {
            return Err(problem(span, "this is nested too deeply", &format!("use at most {DEEPEST} levels")));
        }
        let place = place(span);
        let (node, anchor) = match event {
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(problem(
                        span,
                        "this alias is inside the value that it stands for",
                        "write it out",
                    ));
                };
                self.count(span, size(&node))?;
                return Ok(Node { place, ..node });
            }
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(place, &text, style, tag.as_deref(), span)?, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                no_tag(tag.as_deref(), "seq", span)?;
                let mut items = Vec::new();
                while let Some((event, span)) = self.until(|event| matches!(event, Event::SequenceEnd))? {
                    items.push(self.node(event, &span, depth + 1)?);
                }
                (Node::new(place, Value::List(items)), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                no_tag(tag.as_deref(), "map", span)?;
                (Node::new(place, Value::Map(self.entries(depth)?)), anchor)
            }
            _ => return Err(problem(span, "there is no value here", "check the YAML here")),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Problem> {
        let (mut entries, mut merged) = (Vec::<Entry>::new(), Vec::new());
        while let Some((event, span)) = self.until(|event| matches!(event, Event::MappingEnd))? {
            let plain = matches!(event, Event::Scalar(_, ScalarStyle::Plain, ..));
            let key = match self.node(event, &span, depth + 1)? {
                Node { typed: Some(text), .. } | Node { value: Value::Text(text), .. } => text,
                _ => return Err(problem(&span, "a key is not text", "write a name before the colon")),
            };
            let Some((event, value_span)) = self.next()? else { break };
            let node = self.node(event, &value_span, depth + 1)?;
            if !plain || key != "<<" {
                entries.push(Entry { key, place: place(&span), node });
                continue;
            }
            match node.value {
                Value::Map(more) => merged.extend(more),
                Value::List(items) if items.iter().all(|item| matches!(item.value, Value::Map(_))) => {
                    merged.extend(items.into_iter().flat_map(|item| match item.value {
                        Value::Map(more) => more,
                        _ => vec![],
                    }));
                }
                _ => {
                    return Err(problem(
                        &span,
                        "`<<` doesn't name a group of fields",
                        "write <<: *name-of-a-group",
                    ));
                }
            }
        }
        for more in merged {
            if !entries.iter().any(|entry| entry.key == more.key) {
                entries.push(more);
            }
        }
        Ok(entries)
    }

    /// The next event, or none where it is the one that ends what is being read.
    fn until(&mut self, is_end: impl Fn(&Event<'t>) -> bool) -> Result<Option<(Event<'t>, Span)>, Problem> {
        Ok(self.next()?.filter(|(event, _)| !is_end(event)))
    }

    fn count(&mut self, span: &Span, nodes: usize) -> Result<(), Problem> {
        self.num_nodes = self.num_nodes.saturating_add(nodes);
        match self.num_nodes > MOST {
            true => Err(problem(
                span,
                "there are too many values",
                &format!("use at most {MOST}, repeats by aliases included"),
            )),
            false => Ok(()),
        }
    }
}

fn scalar(
    place: Place,
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: &Span,
) -> Result<Node, Problem> {
    let core = tag.and_then(Tag::core_suffix);
    let is_text = match (tag, core) {
        (None, _) => style != ScalarStyle::Plain,
        (Some(_), Some("str")) => true,
        (Some(_), Some("null" | "bool" | "int" | "float")) => false,
        // Alone it means the same as quotes.
        (Some(tag), _) if written(tag) == "!" => true,
        (Some(tag), _) => {
            let written = written(tag);
            let fix = format!("write it in quotes: '{written} {}'", text.replace('\'', "''"));
            return Err(problem(span, &format!("the tag {written} has no meaning here"), &fix));
        }
    };
    let value = if is_text { Value::Text(text.to_owned()) } else { value_of(text) };
    Ok(Node { place, typed: (!is_text).then(|| text.to_owned()), value })
}

fn no_tag(tag: Option<&Tag>, allowed: &str, span: &Span) -> Result<(), Problem> {
    match tag {
        Some(tag) if tag.core_suffix() != Some(allowed) => {
            Err(problem(span, &format!("the tag {} has no meaning here", written(tag)), "remove it"))
        }
        _ => Ok(()),
    }
}

fn written(tag: &Tag) -> String {
    format!("{}{}", tag.original_handle(), tag.suffix())
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|entry| size(&entry.node)).sum::<usize>(),
        _ => 0,
    }
}

fn place(span: &Span) -> Place {
    Place::File(Location { line: span.start.line().max(1), column: span.start.col() + 1 })
}

fn problem(span: &Span, what: &str, fix: &str) -> Problem {
    Problem { place: place(span), path: String::new(), what: what.to_owned(), fix: fix.to_owned() }
}
