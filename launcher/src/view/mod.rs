//! What a launch shows: a live line on a terminal, the same facts as plain lines elsewhere. All of it on stderr.

mod facts;
mod follow;
mod text;

use facts::Facts;
pub(crate) use follow::Followed;
pub(crate) use text::{coarse, phase_name, thousands};

use console::{Style, Term};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lockstep_run::segment::EventKind;
use lockstep_run::{Line, NodeId};
use std::io::Write;
use std::time::Duration;

/// Shows one launch.
#[derive(Debug)]
pub(crate) struct View {
    facts: Facts,
    /// None where stderr is no terminal.
    bar: Option<ProgressBar>,
    /// Whether what workers print is shown; `lockstep logs` shows it in any case.
    logs: bool,
    dim: Style,
    bold: Style,
    warn: Style,
}

impl View {
    /// A view on stderr, with or without what workers print: a live line on a terminal, plain lines elsewhere. NO_COLOR is obeyed by the styles themselves.
    pub(crate) fn new(logs: bool) -> Self {
        let live = Term::stderr().is_term();
        let style = Style::new().for_stderr();
        let bar = live.then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
            bar.set_style(spinner());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            facts: Facts::default(),
            bar,
            logs,
            dim: style.clone().dim(),
            bold: style.clone().bold(),
            warn: style.yellow(),
        }
    }

    /// First line: what is launched, with what, and where it lies.
    pub(crate) fn header(&self, name: &str, what: &str, run_dir: &str) {
        self.print(&format!("{}  {what}  {}", self.bold.apply_to(name), self.dim.apply_to(run_dir)));
    }

    /// A status line of an agent, or `raw` where it is none.
    pub(crate) fn on_line(&mut self, line: Option<Line>, raw: &str) {
        match line {
            None => self.print(&format!("  {raw}")),
            Some(Line::Standing { .. }) => {}
            Some(Line::Log { .. }) if !self.logs => {}
            Some(Line::Log { rank, text }) => {
                self.print(&format!("{} {text}", self.dim.apply_to(format!("[rank {rank}]"))))
            }
            Some(Line::Waiting { reason, seconds }) => {
                self.print(&format!("  {}  {seconds}s: {reason}", self.warn.apply_to("waiting")));
            }
            Some(Line::Progress { progress, .. }) => {
                self.facts.on_progress(&progress);
                match &self.bar {
                    Some(bar) => self.draw(bar),
                    None => self.print(&format!("  {}", text::progress(&self.facts))),
                }
            }
            Some(Line::Event(event)) => {
                self.facts.on_event(&event);
                if let Some(line) = text::event(&event) {
                    let style = match event.kind {
                        EventKind::Lost | EventKind::CheckpointProblem | EventKind::Warning => &self.warn,
                        _ => &self.dim,
                    };
                    self.print(&format!("  {}  {}", style.apply_to(line.0), line.1));
                }
                if let Some(bar) = &self.bar {
                    self.draw(bar);
                }
            }
        }
    }

    /// A line that an agent wrote to standard error.
    pub(crate) fn on_agent_error(&self, node: NodeId, line: &str) {
        self.print(&format!("  {}  {line}", self.warn.apply_to(format!("agent {node}"))));
    }

    /// An agent died and comes back.
    pub(crate) fn on_agent_lost(&self, node: NodeId, code: Option<i32>) {
        let how = code.map_or("was killed by a signal".to_owned(), |c| format!("left with exit code {c}"));
        self.print(&format!(
            "  {}  the agent of node {node} {how}; started again",
            self.warn.apply_to("lost")
        ));
    }

    /// An agent stopped answering and is killed.
    pub(crate) fn on_agent_hung(&self, node: NodeId, after: Duration) {
        let text = format!("the agent of node {node} did not answer for {after:?}; killed");
        self.print(&format!("  {}  {text}", self.warn.apply_to("hangs")));
    }

    /// A part of the start is done.
    pub(crate) fn on_phase(&self, phase: &str, text: &str) {
        self.print(&format!("  {}  {text}", self.dim.apply_to(format!("{phase:9}"))));
    }

    /// Something that keeps the run from getting on.
    pub(crate) fn on_trouble(&self, head: &str, text: &str) {
        self.print(&format!("  {}  {text}", self.warn.apply_to(format!("{head:9}"))));
    }

    /// The user asked for a stop; `again` the second time.
    pub(crate) fn on_stop_asked(&self, again: bool) {
        let text = if again { "killing it" } else { "stopping after a checkpoint; once more kills it" };
        self.print(&format!("  {}  {text}", self.warn.apply_to("stop")));
    }

    /// Keeps ages and the time left current.
    pub(crate) fn tick(&self) {
        if let Some(bar) = &self.bar {
            self.draw(bar);
        }
    }

    /// Takes the live line away; what is printed next is the result.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// One line above the live one.
    pub(crate) fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => drop(writeln!(std::io::stderr().lock(), "{line}")),
        }
    }

    fn draw(&self, bar: &ProgressBar) {
        let Some((step, total)) = self.facts.steps() else { return };
        if bar.length() != Some(total) {
            bar.set_length(total);
            bar.set_style(steps());
        }
        bar.set_position(step);
        bar.set_message(text::details(&self.facts));
    }
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
