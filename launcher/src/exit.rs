use std::process::ExitCode;

use crate::signals::StopSignal;

/// How a command ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// It failed; for a run, training failed.
    Failed = 1,
    /// The job file or the command line is wrong.
    Usage = 2,
    /// The run could not be scheduled in time.
    Unschedulable = 3,
    /// The run ended before its end, and can be resumed.
    Resumable = 4,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
    /// Stopped by SIGTERM.
    Terminated = 143,
}

impl From<StopSignal> for Exit {
    fn from(signal: StopSignal) -> Self {
        match signal {
            StopSignal::Interrupt => Self::Interrupted,
            StopSignal::Terminate => Self::Terminated,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
