//! What a launch shows: a live line on a terminal, the same facts as plain lines elsewhere. All of it on stderr.

mod facts;
mod follow;
mod gpus;
mod pace;
mod printer;
mod queue;
mod spent;
mod text;

use facts::Facts;
pub(crate) use follow::Followed;
pub(crate) use gpus::gpus;
pub(crate) use pace::pace;
pub(crate) use spent::spent;
pub(crate) use text::{coarse, phase_name, thousands};

use crate::plain::{plain, plain_line};
use crate::signals::Signals;
use console::Style;
use lockstep_run::segment::EventKind;
use lockstep_run::{Line, NodeId};
use printer::{LiveLine, Printer};
use queue::Kind;
use std::time::Duration;

/// Shows one launch. Nothing here waits for whoever reads, but [`finish`](Self::finish).
#[derive(Debug)]
pub(crate) struct View {
    facts: Facts,
    printer: Printer,
    /// Whether what workers print is shown; `lockstep logs` shows it in any case.
    logs: bool,
    dim: Style,
    bold: Style,
    warn: Style,
}

impl View {
    /// A view on stderr, with or without what workers print: a live line on a terminal, plain lines elsewhere. NO_COLOR is obeyed by the styles themselves.
    pub(crate) fn new(logs: bool) -> Self {
        let style = Style::new().for_stderr();
        Self {
            facts: Facts::default(),
            printer: Printer::start(),
            logs,
            dim: style.clone().dim(),
            bold: style.clone().bold(),
            warn: style.yellow(),
        }
    }

    /// First line: what is launched, with what, and where it lies.
    pub(crate) fn header(&self, name: &str, what: &str, run_dir: &str) {
        let (what, run_dir) = (plain_line(what), plain_line(run_dir));
        self.event(format!("{}  {what}  {}", self.bold.apply_to(name), self.dim.apply_to(run_dir)));
    }

    /// A status line of an agent, or `raw` where it is none.
    pub(crate) fn on_line(&mut self, line: Option<Line>, raw: &str) {
        match line {
            None => self.log(format!("  {}", plain_line(raw))),
            Some(Line::Standing { .. } | Line::Gpus { .. } | Line::Account { .. }) => {}
            Some(Line::Log { .. }) if !self.logs => {}
            Some(Line::Log { rank, text }) => {
                self.log(format!("{} {}", self.dim.apply_to(format!("[rank {rank}]")), plain_line(&text)));
            }
            Some(Line::Waiting { reason, seconds }) => {
                let reason = plain_line(&reason);
                self.event(format!("  {}  {seconds}s: {reason}", self.warn.apply_to("waiting")));
            }
            Some(Line::Progress { report, .. }) => {
                self.facts.on_report(report);
                match self.printer.live {
                    true => self.tick(),
                    false => self.log(format!("  {}", text::progress(&self.facts))),
                }
            }
            Some(Line::Event(event)) => {
                self.facts.on_event(&event);
                if let Some((head, text)) = text::event(&event) {
                    let style = match event.kind {
                        EventKind::Lost
                        | EventKind::CheckpointProblem
                        | EventKind::Warning
                        | EventKind::Gpu => &self.warn,
                        _ => &self.dim,
                    };
                    self.event(format!("  {}  {}", style.apply_to(head), plain_line(&text)));
                }
                self.tick();
            }
        }
    }

    /// A line that an agent wrote to standard error.
    pub(crate) fn on_agent_error(&self, node: NodeId, line: &str) {
        self.log(format!("  {}  {}", self.warn.apply_to(format!("agent {node}")), plain_line(line)));
    }

    /// An agent died and comes back.
    pub(crate) fn on_agent_lost(&self, node: NodeId, how: &str, again: Duration) {
        let again = match again.is_zero() {
            true => "started again".to_owned(),
            false => format!("starts again in {}", coarse(again)),
        };
        self.event(format!("  {}  the agent of node {node} {how}; {again}", self.warn.apply_to("lost")));
    }

    /// An agent stopped answering and is killed.
    pub(crate) fn on_agent_hung(&self, node: NodeId, after: Duration) {
        let text = format!("the agent of node {node} did not answer for {after:?}; killed");
        self.event(format!("  {}  {text}", self.warn.apply_to("hangs")));
    }

    /// A part of the start is done.
    pub(crate) fn on_phase(&self, phase: &str, text: &str) {
        self.event(format!("  {}  {}", self.dim.apply_to(format!("{phase:9}")), plain(text)));
    }

    /// Something that keeps the run from getting on.
    pub(crate) fn on_trouble(&self, head: &str, text: &str) {
        self.event(format!("  {}  {}", self.warn.apply_to(format!("{head:9}")), plain(text)));
    }

    /// The user asked for a stop; `again` the second time.
    pub(crate) fn on_stop_asked(&self, again: bool) {
        let text = if again { "killing it" } else { "stopping after a checkpoint; once more kills it" };
        self.event(format!("  {}  {text}", self.warn.apply_to("stop")));
    }

    /// Keeps ages and the time left current.
    pub(crate) fn tick(&self) {
        if let Some((step, total)) = self.facts.steps().filter(|_| self.printer.live) {
            self.printer.live(LiveLine { step, total, words: text::details(&self.facts) });
        }
    }

    /// Takes the live line away and waits until everything is printed, or until a signal says that nobody wants to read it;
    /// what is printed next is the result.
    pub(crate) async fn finish(&mut self, signals: &mut Signals) {
        tokio::select! {
            () = self.printer.close() => {}
            _ = signals.next() => {}
        }
    }

    fn event(&self, line: String) {
        self.printer.line(Kind::Event, line);
    }

    fn log(&self, line: String) {
        self.printer.line(Kind::Log, line);
    }
}
