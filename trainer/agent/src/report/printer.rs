//! Standard output, from a thread of its own: a reader that stands still stops that thread and nothing else.

use lockstep_run::{Line, Rank};
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Workers' lines that may wait for the reader. Unit: bytes.
const MOST_BYTES: usize = 4 << 20;
/// About so much is written at once.
const WRITE_BYTES: usize = 64 << 10;
/// Reports of progress that may wait; the newest of them is the one that counts.
const MOST_REPORTS: usize = 256;

/// Queues lines for standard output. Never blocks.
#[derive(Debug, Clone)]
pub(super) struct Printer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Line>,
    /// Size of the workers' lines among them.
    log_bytes: usize,
    /// Reports of progress among them.
    reports: usize,
    /// What was left out before the first of them, by rank: lines and bytes.
    dropped: BTreeMap<Rank, (u64, u64)>,
    /// The thread writes a line that is no longer in the queue.
    writing: bool,
    /// Nobody reads any more.
    broken: bool,
}

/// Whether a later line of the kind tells the same, and more.
fn is_report(line: &Line) -> bool {
    matches!(line, Line::Progress { .. } | Line::Standing { .. } | Line::Gpus { .. } | Line::Account { .. })
}

impl Printer {
    /// Starts the thread.
    pub(super) fn start(to: impl Write + Send + 'static) -> std::io::Result<Self> {
        let printer = Self(Arc::default());
        let shared = printer.0.clone();
        std::thread::Builder::new().name("print".to_owned()).spawn(move || shared.print(to))?;
        Ok(printer)
    }

    /// Queues a line. While too much waits, the oldest of what workers printed and of reports of progress is left out: what
    /// a worker prints last says why it ended. Events never are.
    pub(super) fn print(&self, line: Line) {
        let mut queue = self.0.lock();
        if queue.broken {
            return;
        }
        let was_empty = queue.lines.is_empty();
        match &line {
            Line::Log { text, .. } => {
                if queue.log_bytes + text.len() > MOST_BYTES {
                    queue.make_room();
                }
                queue.log_bytes += text.len();
            }
            line if is_report(line) => {
                if queue.reports >= MOST_REPORTS
                    && let Some(oldest) = queue.lines.iter().position(is_report)
                {
                    queue.lines.remove(oldest);
                    queue.reports -= 1;
                }
                queue.reports += 1;
            }
            _ => {}
        }
        queue.lines.push_back(line);
        // Who prints waits only where there is nothing.
        if was_empty {
            self.0.changed.notify_all();
        }
    }

    /// Waits until everything is written, nobody reads any more, or the time is over.
    pub(super) fn drain(&self, deadline: Duration) {
        let queue = self.0.lock();
        let waits = |q: &mut Queue| !q.broken && (q.writing || !q.lines.is_empty());
        drop(self.0.changed.wait_timeout_while(queue, deadline, waits));
    }
}

fn told(lines: u64, bytes: u64) -> String {
    format!("({lines} lines, {bytes} bytes, were left out here: they came faster than they were read)")
}

impl Shared {
    // Nothing panics while the lock is held.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print(&self, mut to: impl Write) {
        let mut text = Vec::new();
        loop {
            let waiting = self.changed.wait_while(self.lock(), |queue| queue.lines.is_empty());
            let mut queue = waiting.unwrap_or_else(PoisonError::into_inner);
            let lines = queue.take();
            queue.writing = true;
            drop(queue);
            text.clear();
            for line in lines {
                text.extend_from_slice(line.to_text().as_bytes());
                text.push(b'\n');
            }
            let written = to.write_all(&text).and_then(|()| to.flush());
            let mut queue = self.lock();
            queue.writing = false;
            // A reader that went away must not end the agent; and what it never reads need not be kept.
            if written.is_err() {
                queue.broken = true;
                queue.lines.clear();
            }
            self.changed.notify_all();
        }
    }
}

impl Queue {
    /// Leaves the older half of the workers' lines out.
    fn make_room(&mut self) {
        let Self { lines, log_bytes, dropped, .. } = self;
        lines.retain(|line| match line {
            Line::Log { rank, text } if *log_bytes > MOST_BYTES / 2 => {
                *log_bytes -= text.len();
                let (lines, bytes) = dropped.entry(*rank).or_default();
                (*lines, *bytes) = (*lines + 1, *bytes + text.len() as u64);
                false
            }
            _ => true,
        });
    }

    /// The lines for one write.
    fn take(&mut self) -> Vec<Line> {
        let dropped = std::mem::take(&mut self.dropped).into_iter();
        let mut taken: Vec<_> =
            dropped.map(|(rank, (lines, bytes))| Line::Log { rank, text: told(lines, bytes) }).collect();
        let mut bytes = 0;
        while bytes < WRITE_BYTES
            && let Some(line) = self.lines.pop_front()
        {
            match &line {
                Line::Log { text, .. } => {
                    bytes += text.len();
                    self.log_bytes = self.log_bytes.saturating_sub(text.len());
                }
                line if is_report(line) => self.reports = self.reports.saturating_sub(1),
                _ => {}
            }
            bytes += 1;
            taken.push(line);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn log(text: String) -> Line {
        Line::Log { rank: Rank(1), text }
    }

    fn event() -> Line {
        Line::Waiting { reason: "storage".to_owned(), seconds: 1 }
    }

    #[test]
    fn a_reader_that_stands_still_costs_workers_lines_and_never_events() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let printer = Printer::start(writer).unwrap();
        let text = "x".repeat(1000);
        for i in 0..20_000 {
            printer.print(log(text.clone()));
            if i % 100 == 0 {
                printer.print(event());
            }
        }
        assert!(printer.0.lock().log_bytes <= MOST_BYTES, "memory is bounded");
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        printer.drain(Duration::from_secs(60));
        // The thread and its end of the pipe live as long as the process, so the pipe is closed by breaking it.
        assert!(printer.0.lock().lines.is_empty());
        drop(printer);
        assert!(!reading.is_finished());
    }

    #[test]
    fn what_was_left_out_is_counted_and_told() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let printer = Printer::start(writer).unwrap();
        let text = "x".repeat(1 << 20);
        (0..10).for_each(|_| printer.print(log(text.clone())));
        (0..3).for_each(|_| printer.print(event()));
        printer.print(log("the last words".to_owned()));
        let reading = std::thread::spawn(move || {
            let (mut all, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
            while !String::from_utf8_lossy(&all).contains("the last words") {
                let n = reader.read(&mut buffer).unwrap();
                all.extend_from_slice(&buffer[..n]);
            }
            String::from_utf8(all).unwrap()
        });
        printer.drain(Duration::from_secs(60));
        let lines: Vec<_> = reading.join().unwrap().lines().map(|l| Line::parse(l).unwrap()).collect();
        let texts = lines.iter().filter_map(|l| match l {
            Line::Log { text, .. } => Some(text.as_str()),
            _ => None,
        });
        let (whole, others): (Vec<_>, Vec<_>) = texts.partition(|text| text.len() == 1 << 20);
        let told =
            others.iter().filter_map(|text| text.strip_prefix('(')?.split(' ').next()?.parse::<usize>().ok());
        let left_out: usize = told.sum();
        assert!(left_out > 0);
        assert_eq!(whole.len() + left_out, 10);
        assert_eq!(others.last(), Some(&"the last words"));
        assert_eq!(lines.iter().filter(|l| **l == event()).count(), 3);
    }

    #[test]
    fn nobody_waits_for_a_reader_that_went_away() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let printer = Printer::start(writer).unwrap();
        printer.print(event());
        printer.drain(Duration::from_secs(60));
        printer.print(event());
        assert!(printer.0.lock().lines.is_empty());
    }
}
