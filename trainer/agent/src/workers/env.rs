//! The environment that torchrun gives its workers, so that any program written for it runs unchanged.
//!
//! Source: <https://docs.pytorch.org/docs/stable/elastic/run.html>, "Environment Variables".

use lockstep_run::{Generation, Membership, Rank};

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
    /// Generations before this one that a fault ended.
    pub generation: Generation,
    /// Compute threads for each worker.
    pub num_threads: u32,
}

impl Contract {
    /// The contracts of the workers of member number `index`, in local rank order.
    pub fn of_node(record: &Membership, index: usize, num_threads: u32) -> Vec<Self> {
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
            master_addr: host.to_owned(),
            master_port: first.free_port,
            run_id: record.run_uid.to_string(),
            generation: record.generation,
            num_threads,
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
            ("TORCHELASTIC_RESTART_COUNT", (self.generation.0 - 1).to_string()),
            ("OMP_NUM_THREADS", self.num_threads.to_string()),
        ]
    }
}
