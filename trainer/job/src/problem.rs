use std::fmt;

/// A place in a text, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file.
    File(Location),
    /// In the override of this field.
    Set(String),
    /// Nowhere in particular: the job as a whole.
    Whole,
}

/// One thing that is wrong with a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is written.
    pub place: Place,
    /// The field, dotted: `train.globalBatch`. Empty for the job as a whole.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

/// Everything that is wrong with a job; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// What was read: a file's name, or `the resolved job`.
    pub source: String,
    /// The problems, in the order of the file, those of overrides last.
    pub list: Vec<Problem>,
}

impl Problems {
    /// A problem's place as it is shown: `digits.yaml:3:1` or `--set train.steps`.
    pub fn place(&self, problem: &Problem) -> String {
        match &problem.place {
            Place::File(Location { line, column }) => format!("{}:{line}:{column}", self.source),
            Place::Set(path) => format!("--set {path}"),
            Place::Whole => self.source.clone(),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.len();
        write!(f, "{count} problem{} in {}", if count == 1 { "" } else { "s" }, self.source)?;
        let places: Vec<String> = self.list.iter().map(|problem| self.place(problem)).collect();
        let width = places.iter().map(|place| place.chars().count()).max().unwrap_or(0);
        for (place, problem) in places.iter().zip(&self.list) {
            write!(f, "\n  {place:width$}   {}\n  {:width$}   {}", problem.what, "", problem.fix)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
