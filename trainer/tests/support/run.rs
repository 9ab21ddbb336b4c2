use lockstep_job::JobSpec;
use lockstep_run::link::Start;
use lockstep_run::{
    Body, CommitRef, Generation, Incarnation, Membership, NodeId, Rank, RunDir, RunUid, StartFrom, Step,
    Writer,
};
use lockstep_storage::Storage;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A run's folder and one of its generations.
#[derive(Clone)]
pub struct Run {
    pub job: JobSpec,
    pub uri: String,
    pub generation: u64,
    pub start_from: StartFrom,
    /// Opened by the test, where this process's environment is not what the workers get.
    pub storage: Option<Arc<dyn Storage>>,
}

impl Run {
    pub fn new(job: JobSpec, uri: String) -> Self {
        Self { job, uri, generation: 1, start_from: StartFrom::Fresh, storage: None }
    }

    /// The next generation, from a checkpoint of this one.
    pub fn resume(&self, step: u64) -> Self {
        let commit = CommitRef { generation: Generation(self.generation), step: Step(step) };
        Self { generation: self.generation + 1, start_from: StartFrom::Commit(commit), ..self.clone() }
    }

    pub fn dir(&self) -> RunDir {
        self.storage.clone().map_or_else(|| RunDir::open(&self.uri).unwrap(), RunDir::new)
    }

    /// The orders of all ranks; the generation's record is written first.
    pub fn starts(&self) -> Vec<Start> {
        super::block_on(self.dir().propose(self.membership())).unwrap();
        let start = |rank| Start {
            run_uid: RunUid("test".into()),
            generation: Generation(self.generation),
            rank: Rank(rank),
            world_size: self.job.world_size(),
            local_rank: rank,
            local_world_size: self.job.world_size(),
            node: NodeId(0),
            incarnation: Incarnation(1),
            host: "127.0.0.1".into(),
            run_dir: self.uri.clone(),
            job: serde_json::to_string(&self.job).unwrap(),
            start_from: self.start_from.clone(),
            gpus: Default::default(),
            launched_at_unix_ms: 0,
            scratch: PathBuf::new(),
            agent_version: "0".to_owned(),
            provenance: Default::default(),
        };
        (0..self.job.world_size()).map(start).collect()
    }

    fn membership(&self) -> Membership {
        Membership {
            launched_at: None,
            restarts: None,
            launch_restarts: 0,
            root: None,
            gpu_seconds: None,
            account: None,
            survivors: 0,
            run_uid: RunUid("test".into()),
            generation: Generation(self.generation),
            writer: Writer { node: NodeId(0), incarnation: Incarnation(1), nonce: 0 },
            launch: "test".into(),
            at: jiff::Timestamp::UNIX_EPOCH,
            reason: "test".into(),
            body: Body::Formed {
                members: Vec::new(),
                leader: NodeId(0),
                start_from: self.start_from.clone(),
                job: Value::Null,
                restart: false,
            },
        }
    }

    /// The files of a checkpoint of this generation, verified.
    pub fn checkpoint(&self, step: u64) -> BTreeMap<String, bytes::Bytes> {
        let commit = CommitRef { generation: Generation(self.generation), step: Step(step) };
        super::block_on(self.dir().fetch(commit)).unwrap().1
    }

    /// Steps that the run has checkpoints of, in whatever generation.
    pub fn committed(&self) -> Vec<u64> {
        super::block_on(self.dir().commits()).unwrap().iter().map(|c| c.step.0).collect()
    }
}
