//! What waits to be printed: bounded, so that a reader that stands still costs neither memory nor time.

use std::collections::VecDeque;

/// More lines than this don't wait.
const MOST_LINES: usize = 4096;
/// Nor more bytes.
const MOST_BYTES: usize = 4 << 20;

/// What a line tells decides whether it may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What workers print and what is told again and again: left out, and counted, where too much waits.
    Log,
    /// What happened: always printed.
    Event,
}

/// Lines in their order, and where some of them were left out.
#[derive(Debug, Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    num_lines: usize,
    num_bytes: usize,
}

#[derive(Debug)]
enum Item {
    Line(String),
    LeftOut(u64),
}

impl Queue {
    /// Puts a line at the end, or counts it there.
    pub(super) fn push(&mut self, kind: Kind, line: String) {
        let full = self.num_lines >= MOST_LINES || self.num_bytes + line.len() > MOST_BYTES;
        match (kind, full, self.items.back_mut()) {
            (Kind::Log, true, Some(Item::LeftOut(count))) => *count += 1,
            (Kind::Log, true, _) => self.items.push_back(Item::LeftOut(1)),
            _ => {
                self.num_lines += 1;
                self.num_bytes += line.len();
                self.items.push_back(Item::Line(line));
            }
        }
    }

    /// The next line to print.
    pub(super) fn pop(&mut self) -> Option<String> {
        Some(match self.items.pop_front()? {
            Item::Line(line) => {
                self.num_lines -= 1;
                self.num_bytes -= line.len();
                line
            }
            Item::LeftOut(count) => {
                let lines = if count == 1 { "line was" } else { "lines were" };
                format!(
                    "  … {count} {lines} not shown: nobody read them; the logs of the run have what workers printed"
                )
            }
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn events_stay_and_lines_that_are_left_out_are_counted_where_they_were() {
        let mut queue = Queue::default();
        for n in 0..MOST_LINES + 3 {
            queue.push(Kind::Log, n.to_string());
        }
        queue.push(Kind::Event, "lost".to_owned());
        queue.push(Kind::Log, "after".to_owned());
        let lines = all(&mut queue);
        assert_eq!(lines.len(), MOST_LINES + 3);
        assert_eq!(lines[MOST_LINES - 1], (MOST_LINES - 1).to_string());
        assert!(lines[MOST_LINES].starts_with("  … 3 lines were not shown"), "{}", lines[MOST_LINES]);
        assert_eq!(lines[MOST_LINES + 1], "lost");
        assert!(lines[MOST_LINES + 2].starts_with("  … 1 line was not shown"), "{}", lines[MOST_LINES + 2]);
        queue.push(Kind::Log, "again".to_owned());
        assert_eq!(all(&mut queue), ["again"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn few_long_lines_fill_it_too() {
        let mut queue = Queue::default();
        let long = "x".repeat(MOST_BYTES / 2);
        for _ in 0..10 {
            queue.push(Kind::Log, long.clone());
        }
        assert_eq!(all(&mut queue).iter().map(String::len).filter(|len| *len == long.len()).count(), 2);
    }
}
