//! The environment that torchrun gives its workers, so that any program written for it runs unchanged.
//!
//! Source: <https://docs.pytorch.org/docs/stable/elastic/run.html>, "Environment Variables".

use lockstep_job::{Expanded, JobSpec, Reproducible};
use lockstep_run::{Membership, Rank};
use std::collections::BTreeMap;

/// Threads of a worker's tensor arithmetic. torchrun sets it too, where the user doesn't.
const THREADS: &str = "OMP_NUM_THREADS";
/// Makes Python write each line at once, so that what was printed before a crash is in the log.
const UNBUFFERED: &str = "PYTHONUNBUFFERED";

/// On GPUs: one algorithm for all sums over ranks, and one workspace for matrix products, whose bits depend on both.
///
/// Sources: NCCL's and cuBLAS's documentation of these variables.
const FIXED: [(&str, &str); 3] =
    [("NCCL_ALGO", "Ring"), ("NCCL_PROTO", "Simple"), ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")];

/// What one worker finds in its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// Its rank.
    pub rank: Rank,
    /// Its rank on the node.
    pub local_rank: u32,
    /// Workers in all.
    pub world_size: u32,
    /// Workers on the node.
    pub local_world_size: u32,
    /// Index of the node among those of the generation.
    pub group_rank: u32,
    /// Nodes of the generation.
    pub group_world_size: u32,
    /// Host of rank 0.
    pub master_addr: String,
    /// A port that was free there.
    pub master_port: u16,
    /// The run.
    pub run_id: String,
    /// How often a fault has made this launch start its workers anew.
    pub restarts: u32,
    /// How often the same cause may, without progress between.
    pub max_restarts: u32,
    /// Compute threads for each worker.
    pub num_threads: u32,
    /// Whether its bits are to be the same each time.
    pub fixed: bool,
}

impl Contract {
    /// The contracts of the workers of member number `index`, in local rank order.
    pub fn of_node(record: &Membership, index: usize, job: &JobSpec) -> Vec<Self> {
        let members = record.members();
        let (Some(me), Some(first)) = (members.get(index), members.first()) else { return vec![] };
        let before: u32 = members[..index].iter().map(|m| m.num_ranks()).sum();
        let (host, _) = first.address.rsplit_once(':').unwrap_or((&first.address, ""));
        let one = |local_rank| Self {
            rank: Rank(before + local_rank),
            local_rank,
            world_size: members.iter().map(|m| m.num_ranks()).sum(),
            local_world_size: me.num_ranks(),
            group_rank: index as u32,
            group_world_size: members.len() as u32,
            // An IPv6 address has brackets only beside its port.
            master_addr: host.trim_matches(['[', ']']).to_owned(),
            master_port: first.free_port,
            run_id: record.run_uid.to_string(),
            restarts: record.launch_restarts,
            max_restarts: job.recovery.same_cause,
            num_threads: job.train.threads,
            fixed: job.reproducible == Some(Reproducible::Fixed),
        };
        (0..me.num_ranks()).map(one).collect()
    }

    /// Names and values.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("RANK", self.rank.to_string()),
            ("LOCAL_RANK", self.local_rank.to_string()),
            ("WORLD_SIZE", self.world_size.to_string()),
            ("LOCAL_WORLD_SIZE", self.local_world_size.to_string()),
            ("GROUP_RANK", self.group_rank.to_string()),
            ("GROUP_WORLD_SIZE", self.group_world_size.to_string()),
            ("ROLE_NAME", "default".to_owned()),
            ("ROLE_RANK", self.rank.to_string()),
            ("ROLE_WORLD_SIZE", self.world_size.to_string()),
            ("MASTER_ADDR", self.master_addr.clone()),
            ("MASTER_PORT", self.master_port.to_string()),
            ("TORCHELASTIC_RUN_ID", self.run_id.clone()),
            ("TORCHELASTIC_RESTART_COUNT", self.restarts.to_string()),
            ("TORCHELASTIC_MAX_RESTARTS", self.max_restarts.to_string()),
            // MASTER_PORT is free: rank 0 opens the store there itself.
            ("TORCHELASTIC_USE_AGENT_STORE", "False".to_owned()),
        ]
    }

    /// Everything that a worker is given beside what it inherits: the contract's own variables, those of the job file, and
    /// defaults where the user set nothing. `inherited` looks a variable up in the agent's own environment, which is the
    /// user's where a run is local; `speaks` says that the worker is Lockstep's own, whose threads the job file gives.
    pub fn environment(
        &self,
        job: &Expanded,
        speaks: bool,
        inherited: impl Fn(&str) -> Option<String>,
    ) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        if speaks || self.num_threads > 1 || inherited(THREADS).is_none() {
            all.insert(THREADS.to_owned(), self.num_threads.to_string());
        }
        if inherited(UNBUFFERED).is_none() {
            all.insert(UNBUFFERED.to_owned(), "1".to_owned());
        }
        if self.fixed {
            let open = FIXED.iter().filter(|(name, _)| inherited(name).is_none());
            all.extend(open.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        }
        all.extend(job.iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        all.extend(self.variables().into_iter().map(|(name, value)| (name.to_owned(), value)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_job::reserved_variables;

    fn contract(num_threads: u32) -> Contract {
        Contract {
            rank: Rank(3),
            local_rank: 1,
            world_size: 4,
            local_world_size: 2,
            group_rank: 1,
            group_world_size: 2,
            master_addr: "10.0.0.1".to_owned(),
            master_port: 29_500,
            run_id: "run".to_owned(),
            restarts: 0,
            max_restarts: 3,
            num_threads,
            fixed: false,
        }
    }

    #[test]
    fn what_decides_about_bits_on_gpus_is_pinned_only_where_they_are_to_be_the_same() {
        let none = |_: &str| None;
        let of = |fixed, job: &Expanded| Contract { fixed, ..contract(1) }.environment(job, true, none);
        assert!(!of(false, &Expanded::default()).contains_key("NCCL_ALGO"));
        assert_eq!(of(true, &Expanded::default())["CUBLAS_WORKSPACE_CONFIG"], ":4096:8");
        let job = [("NCCL_ALGO".to_owned(), "Tree".to_owned())].into_iter().collect();
        assert_eq!(of(true, &job)["NCCL_ALGO"], "Tree");
    }

    #[test]
    fn a_job_may_set_all_variables_but_these() {
        let names: Vec<_> = contract(1).variables().into_iter().map(|(name, _)| name).collect();
        assert!(names.iter().all(|name| reserved_variables().contains(name)), "{names:?}");
        assert_eq!(names.len(), reserved_variables().len());
    }

    #[test]
    fn what_the_user_sets_wins_over_what_is_only_a_default() {
        let cases = [
            // Threads of the job file, OMP_NUM_THREADS of its env, of the launching shell; of a command, of a worker.
            (1, None, None, ["1", "1"]),
            (1, None, Some("8"), ["8", "1"]),
            (4, None, None, ["4", "4"]),
            (4, None, Some("8"), ["4", "4"]),
            (1, Some("2"), Some("8"), ["2", "2"]),
            (4, Some("2"), None, ["2", "2"]),
        ];
        for (threads, of_job, of_shell, expected) in cases {
            let job = of_job.map(|value: &str| (THREADS.to_owned(), value.to_owned())).into_iter().collect();
            let shell = |name: &str| of_shell.filter(|_| name == THREADS).map(str::to_owned);
            for (speaks, expected) in [(false, expected[0]), (true, expected[1])] {
                let found = contract(threads).environment(&job, speaks, shell);
                let seen = found.get(THREADS).cloned().or_else(|| shell(THREADS));
                assert_eq!(seen.as_deref(), Some(expected), "{threads} {of_job:?} {of_shell:?} {speaks}");
            }
        }
    }

    #[test]
    fn python_writes_at_once_unless_the_user_says_something() {
        let unbuffered = |job: &Expanded, shell: Option<&str>| {
            let shell = |name: &str| shell.filter(|_| name == UNBUFFERED).map(str::to_owned);
            contract(1).environment(job, false, shell).get(UNBUFFERED).cloned()
        };
        assert_eq!(unbuffered(&Expanded::default(), None).as_deref(), Some("1"));
        assert_eq!(unbuffered(&Expanded::default(), Some("")), None);
        let job = [(UNBUFFERED.to_owned(), "0".to_owned())].into_iter().collect();
        assert_eq!(unbuffered(&job, None).as_deref(), Some("0"));
    }
}
