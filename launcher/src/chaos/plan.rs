//! Which fault comes next: a pure function of the seed.

use lockstep_run::{Blow, NodeId, Rank, Strike, Target};
use std::fmt;
use std::str::FromStr;

/// A process that may be struck, or any of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    AnyWorker,
    AnyAgent,
    This(Target),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "worker" => Ok(Self::AnyWorker),
            "agent" => Ok(Self::AnyAgent),
            one => one
                .parse()
                .map(Self::This)
                .map_err(|_| format!("{text:?} is neither worker, worker:RANK, agent nor agent:NODE")),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyWorker => f.write_str("worker"),
            Self::AnyAgent => f.write_str("agent"),
            Self::This(target) => target.fmt(f),
        }
    }
}

/// Faults that may come, on so many nodes with so many ranks in all.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) choices: Vec<(Blow, Choice)>,
    pub(crate) ranks: u32,
    pub(crate) nodes: u32,
}

impl Plan {
    /// What can't happen here: a rank or a node that there isn't, an agent that is to stand still, or nothing at all.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (blow, choice) in &self.choices {
            let (what, number, there_are) = match choice {
                Choice::AnyAgent | Choice::This(Target::Agent(_)) if *blow == Blow::Stop => {
                    return Err(
                        "an agent can be killed, but not stopped: a stopped one couldn't be told to go on"
                            .to_owned(),
                    );
                }
                Choice::This(Target::Worker(rank)) => ("rank", rank.0, self.ranks),
                Choice::This(Target::Agent(node)) => ("node", node.0, self.nodes),
                Choice::AnyWorker | Choice::AnyAgent => continue,
            };
            if number >= there_are {
                return Err(format!("there is no {what} {number}: the run has {there_are}, counted from 0"));
            }
        }
        Ok(())
    }

    /// The fault of this number, counted from 0. The same seed and the same choices make the same faults.
    pub(crate) fn strike(&self, number: u64) -> Option<Strike> {
        let draw = |what: &str, below: u64| {
            let text = format!("{} {number} {what}", self.seed);
            let bytes = blake3::hash(text.as_bytes());
            let word = bytes.as_bytes().first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
            word.checked_rem(below).unwrap_or(0)
        };
        let chosen = draw("choice", self.choices.len() as u64) as usize;
        let (blow, choice) = *self.choices.get(chosen)?;
        let target = match choice {
            Choice::AnyWorker => Target::Worker(Rank(draw("rank", self.ranks.into()) as u32)),
            Choice::AnyAgent => Target::Agent(NodeId(draw("node", self.nodes.into()) as u32)),
            Choice::This(target) => target,
        };
        Some(Strike { blow, target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn plan(seed: u64, choices: &[(Blow, &str)]) -> Plan {
        let choices = choices.iter().map(|(blow, text)| (*blow, text.parse().unwrap())).collect();
        Plan { seed, choices, ranks: 4, nodes: 2 }
    }

    #[test]
    fn a_seed_says_which_faults_come_and_every_one_may() {
        let all = [(Blow::Kill, "worker"), (Blow::Kill, "agent"), (Blow::Stop, "worker:3")];
        let faults = |seed| -> Vec<_> {
            let plan = plan(seed, &all);
            plan.check().unwrap();
            (0..64).map(|number| plan.strike(number).unwrap().to_string()).collect()
        };
        assert_eq!(faults(7), faults(7));
        assert_ne!(faults(7), faults(8));
        let expected = [
            "kill agent:0",
            "kill agent:1",
            "kill worker:0",
            "kill worker:1",
            "kill worker:2",
            "kill worker:3",
            "stop worker:3",
        ];
        assert_eq!(faults(7).into_iter().collect::<BTreeSet<_>>(), expected.map(str::to_owned).into());
        assert_eq!(plan(7, &[]).strike(0), None);
    }

    #[test]
    fn what_there_isn_t_can_t_be_struck() {
        for (blow, choice, words) in [
            (Blow::Kill, "worker:4", "no rank 4: the run has 4"),
            (Blow::Kill, "agent:2", "no node 2: the run has 2"),
            (Blow::Stop, "agent", "can be killed, but not stopped"),
            (Blow::Stop, "agent:0", "can be killed, but not stopped"),
        ] {
            let error = plan(0, &[(blow, choice)]).check().unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        for bad in ["", "node:1", "worker:", "workers"] {
            assert!(bad.parse::<Choice>().unwrap_err().contains("agent:NODE"), "{bad}");
        }
    }
}
