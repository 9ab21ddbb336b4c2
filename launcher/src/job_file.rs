use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use lockstep_job::{JobSpec, Resolved, Resume, RunName, Source, resolve};
use lockstep_render::{Objects, Wrong};

use crate::Failure;

/// A larger job file is none. Unit: bytes.
const MOST_BYTES: u64 = 1 << 20;

/// The options that name a job file and change what it says.
#[derive(Debug, Clone, Args)]
pub struct JobFile {
    /// Job file: YAML, or JSON or TOML by its extension; - reads YAML from stdin
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: PathBuf,

    /// Change a field, such as train.steps=200; may be given several times
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
}

impl JobFile {
    /// Reads and checks the job.
    pub fn resolve(&self) -> anyhow::Result<Resolved> {
        let source = self.read().map_err(|error| {
            let what = format!("can't read the job file {}: {error}", self.file.display());
            match error.kind() {
                io::ErrorKind::NotFound => Failure::usage(what).note("fix", "check the path after -f"),
                io::ErrorKind::InvalidData => Failure::usage(what).note("fix", "save it as UTF-8 text"),
                _ => Failure::usage(what),
            }
        })?;
        Ok(resolve(&source, &self.sets)?)
    }

    fn read(&self) -> io::Result<Source> {
        if self.file == Path::new("-") {
            return Ok(Source { path: "stdin".into(), text: read_text(io::stdin())? });
        }
        Ok(Source { path: self.file.clone(), text: read_text(File::open(&self.file)?)? })
    }
}

/// Any kind of file will do, as the pipe of a shell's `<(…)`, if it ends before it is too large.
fn read_text(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    if from.take(MOST_BYTES + 1).read_to_string(&mut text)? as u64 > MOST_BYTES {
        let what = format!("it has more than {MOST_BYTES} bytes, which no job file has");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(text)
}

/// The objects of `job`, which is `resolved`'s with what the command line adds; `resume` says what a launch starts from.
///
/// # Errors
/// Where a part that is Kubernetes' own isn't what Kubernetes takes; the message has its place in the file.
pub(crate) fn rendered(resolved: &Resolved, job: &JobSpec, resume: Resume) -> anyhow::Result<Objects> {
    placed(resolved, lockstep_render::render(job, resume))
}

/// The objects of one pod like those of `job`, called `name`, that looks around and ends.
///
/// # Errors
/// As [`rendered`].
pub(crate) fn checkup(resolved: &Resolved, job: &JobSpec, name: RunName) -> anyhow::Result<Objects> {
    placed(resolved, lockstep_render::checkup(job, name))
}

fn placed(resolved: &Resolved, objects: Result<Objects, Wrong>) -> anyhow::Result<Objects> {
    Ok(objects.map_err(|wrong| resolved.problem(&wrong.path, wrong.what.as_str(), wrong.fix.as_str()))?)
}
