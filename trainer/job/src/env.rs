use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Environment variables of the workers. `${NAME}` in a value stands for the variable NAME where the worker is
/// started, and `$$` stands for one `$`. Values are kept unexpanded, so that a resolved job holds no secret; `Debug` hides them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Env(BTreeMap<String, String>);

/// Variables with their values as a process gets them. Any of them may be a secret, so they can be looked at and handed on,
/// and not printed: `Debug` hides the values, and there is no other form.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Expanded(BTreeMap<String, String>);

impl Expanded {
    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Names and values, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Expanded {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl fmt::Debug for Expanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hidden(&self.0, f)
    }
}

fn hidden(values: &BTreeMap<String, String>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.debug_map().entries(values.keys().map(|key| (key, format_args!("***")))).finish()
}

/// A value of `env` that can't be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvError {
    /// `${NAME}` names a variable that is not set.
    #[error("env.{key} needs the variable {variable}, which is not set; export {variable} before the launch")]
    Unset {
        /// The key whose value needs the variable.
        key: String,
        /// The variable that is not set.
        variable: String,
    },
    /// A `$` that starts neither `${NAME}` nor `$$`.
    #[error("env.{key} has a lone `$`; write ${{NAME}} for a variable or $$ for a dollar sign")]
    Syntax {
        /// The key with the malformed value.
        key: String,
    },
}

impl Env {
    /// The variables with every `${NAME}` replaced by what `lookup` gives for it; all errors at once.
    ///
    /// # Errors
    /// One for each value that can't be expanded.
    pub fn expand(&self, lookup: impl Fn(&str) -> Option<String>) -> Result<Expanded, Vec<EnvError>> {
        let mut expanded = BTreeMap::new();
        let mut errors = Vec::new();
        for (key, value) in &self.0 {
            match expand(key, value, &lookup) {
                Ok(value) => {
                    expanded.insert(key.clone(), value);
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Expanded(expanded)) } else { Err(errors) }
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The keys and their values, unexpanded, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether no variable is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hidden(&self.0, f)
    }
}

fn expand(key: &str, value: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, EnvError> {
    let mut expanded = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let syntax = || EnvError::Syntax { key: key.to_owned() };
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let (name, after) = after.strip_prefix('{').and_then(|a| a.split_once('}')).ok_or_else(syntax)?;
        if !is_variable_name(name) {
            return Err(syntax());
        }
        let unset = || EnvError::Unset { key: key.to_owned(), variable: name.to_owned() };
        expanded.push_str(&lookup(name).ok_or_else(unset)?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Whether `name` can name an environment variable in every shell.
pub(crate) fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What the agent sets for each worker, as torchrun does. Others of torchrun's, such as TORCHELASTIC_ERROR_FILE, are settings
/// of the program's own.
const RESERVED: [&str; 15] = [
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "ROLE_RANK",
    "ROLE_NAME",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_WORLD_SIZE",
    "ROLE_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
    "TORCHELASTIC_MAX_RESTARTS",
    "TORCHELASTIC_USE_AGENT_STORE",
];

/// Names of the variables that the agent sets for each worker, beside those that begin with `LOCKSTEP_`.
pub fn reserved_variables() -> &'static [&'static str] {
    &RESERVED
}

/// Whether a variable of this name is the agent's own: it sets it for each worker.
pub fn is_reserved_variable(name: &str) -> bool {
    RESERVED.contains(&name) || name.starts_with("LOCKSTEP_")
}
