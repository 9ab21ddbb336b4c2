use std::{fmt, io};

use console::style;
use lockstep_jobspec::Problems;

use crate::Exit;

/// An error with the exit code that it stands for and what helps: where to look, what to do.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    what: String,
    notes: Vec<(&'static str, String)>,
}

impl Failure {
    /// A failure of what was asked for.
    pub fn new(what: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, what: what.into(), notes: Vec::new() }
    }

    /// A wrong command line or job file.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(what) }
    }

    /// The same with another exit code.
    pub fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Adds a line below the error: `label   text`.
    pub fn note(mut self, label: &'static str, text: impl Into<String>) -> Self {
        self.notes.push((label, text.into()));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        let width = self.notes.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        for (label, text) in &self.notes {
            write!(f, "\n  {label:width$}   {text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Shows an error on stderr. Returns the exit code that it stands for.
pub(crate) fn report(error: &anyhow::Error) -> Exit {
    // Who closes the pipe, like `head`, has seen enough.
    if error.chain().any(|cause| cause.downcast_ref().is_some_and(is_broken_pipe)) {
        return Exit::Done;
    }
    eprintln!("{} {error:#}", style("error:").red().bold().for_stderr());
    let failure = error.downcast_ref::<Failure>().map(|failure| failure.exit);
    let problems = error.downcast_ref::<Problems>().map(|_| Exit::Usage);
    failure.or(problems).unwrap_or(Exit::Failed)
}

fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}
