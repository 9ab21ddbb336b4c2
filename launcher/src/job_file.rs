use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use lockstep_jobspec::{Resolved, Source, resolve};

use crate::Failure;

/// The options that name a job file and change what it says.
#[derive(Debug, Clone, Args)]
pub struct JobFile {
    /// Job file: YAML, or JSON or TOML by its extension; - reads YAML from stdin
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: PathBuf,

    /// Change a field, as in train.steps=200; may be given several times
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
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            return Ok(Source { path: "stdin".into(), text });
        }
        Ok(Source { path: self.file.clone(), text: std::fs::read_to_string(&self.file)? })
    }
}
