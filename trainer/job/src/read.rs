//! Texts into trees: one file per syntax.

mod json;
mod scalar;
mod toml;
mod yaml;

use std::path::PathBuf;

pub(crate) use yaml::read as read_yaml;

use crate::{Problem, tree::Node};

/// A job file: where it lies, for messages and its extension, and what is in it.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path of the file, as the user named it.
    pub path: PathBuf,
    /// The file's content.
    pub text: String,
}

impl Source {
    /// Reads the tree that the text describes: JSON or TOML by the file's extension, else YAML.
    pub(crate) fn read(&self) -> Result<Node, Problem> {
        match self.path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => json::read(&self.text),
            Some("toml") => toml::read(&self.text),
            _ => yaml::read(&self.text),
        }
    }
}
