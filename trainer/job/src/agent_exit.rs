/// How an agent leaves: the exit code of its process, and so what whoever started it does next. A worker's means the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AgentExit {
    /// The run is done.
    Done = 0,
    /// It failed, and another start may go better.
    Again = 1,
    /// Its command line is wrong; no other start goes better.
    Usage = 2,
    /// Told to leave, or waiting in vain: another may take its place unless the run's record says that it is over. Never 0,
    /// or Kubernetes would take the index for finished.
    Stopped = 143,
    /// The run can't go on, or was stopped for good: nodes that come back have nothing to do.
    RunOver = 240,
}

impl AgentExit {
    /// All of them.
    const ALL: [Self; 5] = [Self::Done, Self::Again, Self::Usage, Self::Stopped, Self::RunOver];
    /// Those after which no other start goes better.
    pub const FOR_GOOD: [Self; 2] = [Self::Usage, Self::RunOver];

    /// What an exit code says, where it is one of these.
    pub fn of(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| exit.code() == code)
    }

    /// The exit code.
    pub fn code(self) -> i32 {
        i32::from(self as u8)
    }
}

impl From<AgentExit> for std::process::ExitCode {
    fn from(exit: AgentExit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_what_was_meant_by_it() {
        for exit in AgentExit::ALL {
            assert_eq!(AgentExit::of(exit.code()), Some(exit));
        }
        assert_eq!((AgentExit::of(241), AgentExit::of(-1)), (None, None));
    }
}
