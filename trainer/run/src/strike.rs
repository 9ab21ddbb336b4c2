//! Faults that somebody wants to see in a run.

use crate::{NodeId, Rank};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A fault of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Strike {
    /// What happens to it.
    pub blow: Blow,
    /// Whose process it is.
    pub target: Target,
}

/// What happens to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blow {
    /// It ends at once, as by SIGKILL.
    Kill,
    /// It stands still, as by SIGSTOP.
    Stop,
}

/// A process of a run, as `worker:3` or `agent:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// A rank's.
    Worker(Rank),
    /// A node's, and its workers with it.
    Agent(NodeId),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(rank) => write!(f, "worker:{rank}"),
            Self::Agent(node) => write!(f, "agent:{node}"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |number: &str| number.parse::<u32>().ok();
        match text.split_once(':').and_then(|(what, of)| Some((what, number(of)?))) {
            Some(("worker", rank)) => Ok(Self::Worker(Rank(rank))),
            Some(("agent", node)) => Ok(Self::Agent(NodeId(node))),
            _ => Err(format!("{text:?} is no process of a run; those are worker:RANK and agent:NODE")),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blow = match self.blow {
            Blow::Kill => "kill",
            Blow::Stop => "stop",
        };
        write!(f, "{blow} {}", self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_as_they_are_written() {
        for target in [Target::Worker(Rank(3)), Target::Agent(NodeId(12))] {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        for bad in
            ["", "worker", "worker:", "worker:x", "worker:-1", "agent:1:2", "node:1", "worker:5000000000"]
        {
            assert!(bad.parse::<Target>().unwrap_err().contains("worker:RANK"), "{bad}");
        }
        let strike = Strike { blow: Blow::Stop, target: Target::Worker(Rank(1)) };
        assert_eq!(serde_json::to_string(&strike).unwrap(), r#"{"blow":"stop","target":"worker:1"}"#);
        assert_eq!(strike.to_string(), "stop worker:1");
    }
}
