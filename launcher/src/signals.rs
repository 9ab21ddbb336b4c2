//! The signals that stop a command.

use lockstep_run::process::ignores;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that stops a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopSignal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM or SIGHUP.
    Terminate,
}

/// Listens to SIGINT, SIGTERM and SIGHUP from its making on. One that this process was started to ignore, as `nohup` does,
/// stays ignored.
#[derive(Debug)]
pub(crate) struct Signals {
    int: Option<Signal>,
    term: Option<Signal>,
    hup: Option<Signal>,
}

impl Signals {
    /// # Errors
    /// Where the kernel refuses a handler.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let hear = |kind: SignalKind| (!ignores(kind.as_raw_value())).then(|| signal(kind)).transpose();
        Ok(Self {
            int: hear(SignalKind::interrupt())?,
            term: hear(SignalKind::terminate())?,
            hup: hear(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> StopSignal {
        tokio::select! {
            () = heard(&mut self.int) => StopSignal::Interrupt,
            () = heard(&mut self.term) => StopSignal::Terminate,
            () = heard(&mut self.hup) => StopSignal::Terminate,
        }
    }
}

async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
