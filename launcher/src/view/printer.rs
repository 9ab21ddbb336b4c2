//! The thread that writes to stderr. Nobody else waits for whoever reads there.

use super::queue::{Kind, Queue};
use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often the live line moves by itself.
const FRAME: Duration = Duration::from_millis(120);
/// At most so many lines are written in one piece.
const AT_ONCE: usize = 256;

/// What the live line shows: a bar of steps with words behind it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LiveLine {
    pub(super) step: u64,
    pub(super) total: u64,
    pub(super) words: String,
}

/// Hands lines to the thread; never blocks.
#[derive(Debug)]
pub(super) struct Printer {
    shared: Arc<Shared>,
    /// Heard when everything is printed, after [`close`](Self::close).
    printed: Option<oneshot::Receiver<()>>,
    /// Whether there is a live line.
    pub(super) live: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: Queue,
    live: Option<LiveLine>,
    closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Printer {
    /// Starts the thread: with a live line on a terminal, with plain lines elsewhere.
    pub(super) fn start() -> Self {
        let (shared, live) = (Arc::<Shared>::default(), Term::stderr().is_term());
        let (done, printed) = oneshot::channel();
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("printer".to_owned()).spawn(move || {
                print(&shared, live);
                let _ = done.send(());
            })
        };
        // Without a thread nothing is shown, and the run goes on.
        Self { shared, printed: thread.ok().map(|_| printed), live }
    }

    pub(super) fn line(&self, kind: Kind, line: String) {
        self.shared.state().queue.push(kind, line);
        self.shared.changed.notify_one();
    }

    pub(super) fn live(&self, live: LiveLine) {
        self.shared.state().live = Some(live);
    }

    /// Takes the live line away and waits until everything is printed.
    pub(super) async fn close(&mut self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_one();
        if let Some(printed) = self.printed.take() {
            let _ = printed.await;
        }
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_one();
    }
}

fn print(shared: &Shared, live: bool) {
    let bar = live.then(|| {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(spinner());
        bar
    });
    let mut shown = None;
    let mut framed = Instant::now();
    loop {
        let (lines, next, closed) = wait(shared, live);
        if !lines.is_empty() {
            match &bar {
                Some(bar) => bar.println(lines.join("\n")),
                // Who reads may have gone, or a disk be full: that is no reason to end a run.
                None => drop(std::io::stderr().lock().write_all((lines.join("\n") + "\n").as_bytes())),
            }
        }
        if let Some(bar) = &bar {
            if next != shown {
                draw(bar, next.as_ref());
                shown = next;
            }
            if framed.elapsed() >= FRAME {
                framed = Instant::now();
                bar.tick();
            }
        }
        if closed {
            bar.iter().for_each(ProgressBar::finish_and_clear);
            return;
        }
    }
}

/// Waits for lines, for the end, or where there is a live line for its next frame. Returns lines, the live line, and whether
/// that is all.
fn wait(shared: &Shared, live: bool) -> (Vec<String>, Option<LiveLine>, bool) {
    let mut state = shared.state();
    if state.queue.is_empty() && !state.closed {
        state = match live {
            true => shared.changed.wait_timeout(state, FRAME).unwrap_or_else(PoisonError::into_inner).0,
            false => shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
    }
    let lines: Vec<_> = std::iter::from_fn(|| state.queue.pop()).take(AT_ONCE).collect();
    (lines, state.live.clone(), state.closed && state.queue.is_empty())
}

fn draw(bar: &ProgressBar, live: Option<&LiveLine>) {
    let Some(live) = live else { return };
    if bar.length() != Some(live.total) {
        bar.set_length(live.total);
        bar.set_style(steps());
    }
    bar.set_position(live.step);
    bar.set_message(live.words.clone());
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("  {spinner} starting {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn steps() -> ProgressStyle {
    let style =
        ProgressStyle::with_template("  step {pos}/{len} {bar:24.cyan/dim} {percent:>3}%  {wide_msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}
