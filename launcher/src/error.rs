use std::fmt;

use console::style;
use lockstep_job::Problems;

use crate::output::{Unprinted, patiently, tell};
use crate::plain::plain;
use crate::{Exit, block_on};

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

/// An error as it is shown on stderr.
pub(crate) fn shown(error: &anyhow::Error) -> String {
    format!("{} {}", style("error:").red().bold().for_stderr(), plain(&causes(error)))
}

/// The error and its causes, each once: some errors tell theirs themselves.
fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        told if told.contains(&cause) => text,
        told => format!("{told}: {cause}"),
    })
}

/// Shows an error on stderr. Returns the exit code that it stands for.
pub(crate) fn report(error: &anyhow::Error) -> Exit {
    if error.downcast_ref().is_some_and(Unprinted::is_closed) {
        return Exit::Done;
    }
    let text = shown(error);
    let patient = text.clone();
    let said = block_on(async {
        patiently(move || tell(&patient)).await;
        Ok(())
    });
    if said.is_err() {
        tell(&text);
    }
    let failure = error.downcast_ref::<Failure>().map(|failure| failure.exit);
    let problems = error.downcast_ref::<Problems>().map(|_| Exit::Usage);
    failure.or(problems).unwrap_or(Exit::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_told_already_is_not_told_again() {
        let cause = || anyhow::anyhow!("no such file");
        assert_eq!(causes(&cause().context("can't read a")), "can't read a: no such file");
        assert_eq!(causes(&cause().context("can't read a: no such file")), "can't read a: no such file");
    }
}
