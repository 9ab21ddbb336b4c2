use std::fmt;

/// A place in a text, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// One thing that is wrong with a job file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is written: `digits.yaml:3:1`, or `--set train.steps`.
    pub place: String,
    /// Line and column, when the place is one in the file.
    pub at: Option<Location>,
    /// The field, dotted: `train.globalBatch`. Empty for the file as a whole.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

/// Everything that is wrong with a job file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// What was read: a file's name, or `the resolved job`.
    pub source: String,
    /// The problems, in the order of the file.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.len();
        write!(f, "{count} problem{} in {}", if count == 1 { "" } else { "s" }, self.source)?;
        let width = self.list.iter().map(|p| p.place.chars().count()).max().unwrap_or(0);
        for problem in &self.list {
            write!(f, "\n  {:width$}   {}\n  {:width$}   {}", problem.place, problem.what, "", problem.fix)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
