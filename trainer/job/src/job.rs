use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ByteSize, Checkpoint, Code, Data, Device, Env, Eval, Kubernetes, Limits, Log, Model, Optimizer, Recovery,
    Reproducible, RunName, Tail, Train, WarmStart,
};

/// A training job. A relative path in a job file starts at the file's folder; one on the command line, and the default of
/// `storage`, at the current folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobSpec {
    /// Name of the run: a DNS label that starts with a letter.
    pub name: RunName,
    /// How many machines or pods train together. Unit: nodes. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100_000), extend("x-unit" = "nodes"))]
    pub nodes: u32,
    /// Worker processes on each node. If kubernetes.gpu is set, there is one for each GPU unless this says otherwise.
    /// Unit: ranks. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024), extend("x-unit" = "ranks"))]
    pub ranks_per_node: u32,
    /// What is trained; either this or `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    /// Program and arguments to run in place of `model`, in the environment that torchrun provides. With --local it runs in
    /// the folder at which relative paths start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub command: Option<Vec<String>>,
    /// Worker binary with a task of your own: a path relative to the job file. Default: lockstep-worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// On what `model` computes. Default: auto; GPUs where every rank has one, and CPUs otherwise.
    #[serde(default, skip_serializing_if = "Device::is_default")]
    pub device: Device,
    /// How far the bits of a run are the same each time. Default: fixed on CPUs, off on GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproducible: Option<Reproducible>,
    /// Folder that `lockstep launch --sync` brought along and in which `command` runs. That option writes this section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Environment variables of the workers. `${NAME}` in a value stands for the variable NAME where the worker is
    /// started, and `$$` stands for one `$`.
    #[serde(default, skip_serializing_if = "Env::is_empty")]
    pub env: Env,
    /// Another run, or published weights, whose parameters this run begins with. Default: none; the seed gives the parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_start: Option<WarmStart>,
    /// The datasets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
    /// The training loop.
    #[serde(default)]
    pub train: Train,
    /// How gradients become updates. Default: adamw with its defaults.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// Evaluation on data.eval.
    #[serde(default)]
    pub eval: Eval,
    /// When checkpoints are written, and how many are kept.
    #[serde(default)]
    pub checkpoint: Checkpoint,
    /// Where runs are kept: a folder relative to the job file, or a `file://`, `s3://`, `gs://`, `az://` or `abfss://` URI. The run lies in
    /// `<storage>/<name>`. The default is relative to the current folder. Default: ./runs.
    #[serde(default = "default_storage")]
    pub storage: String,
    /// What the run may use.
    #[serde(default)]
    pub limits: Limits,
    /// What the run reports while it goes on.
    #[serde(default)]
    pub log: Log,
    /// How long each sign of life may take, and what happens then.
    #[serde(default)]
    pub recovery: Recovery,
    /// How the job runs on a cluster. Default: it only runs with `--local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
}

impl JobSpec {
    /// Gives a value to each field whose default depends on other fields.
    pub(crate) fn fill_in(&mut self) {
        self.train.micro_batch = Some(self.micro_batch());
        self.eval.micro_batch = Some(self.eval_micro_batch());
        self.recovery.collective = Some(self.recovery.collective());
        self.recovery.min_nodes = Some(self.min_nodes());
        let seed = self.data_seed();
        if let Some(data) = &mut self.data {
            data.seed = Some(seed);
        }
        let grace = self.recovery.grace;
        if let Some(kubernetes) = &mut self.kubernetes {
            kubernetes.shm_size = Some(kubernetes.shm_size());
            kubernetes.grace_period = Some(kubernetes.grace_period(grace));
        }
    }

    /// Takes away again what was filled in from the number of nodes, so that another number may be set.
    pub fn forget_shape(&mut self) {
        let share = (self.train.global_batch / self.world_size()).max(1);
        if self.eval.micro_batch == self.train.micro_batch {
            self.eval.micro_batch = None;
        }
        if self.train.micro_batch == Some(share) {
            self.train.micro_batch = None;
        }
        if self.recovery.min_nodes == Some(self.nodes) {
            self.recovery.min_nodes = None;
        }
    }

    /// Number of worker processes.
    pub fn world_size(&self) -> u32 {
        self.nodes * self.ranks_per_node
    }

    /// Samples per rank and forward pass.
    pub fn micro_batch(&self) -> u32 {
        self.train.micro_batch.unwrap_or((self.train.global_batch / self.world_size()).max(1))
    }

    /// Samples per rank and forward pass of an evaluation.
    pub fn eval_micro_batch(&self) -> u32 {
        self.eval.micro_batch.unwrap_or(self.micro_batch())
    }

    /// Forward passes of each rank per optimizer step.
    pub fn accumulation(&self) -> u32 {
        (self.train.global_batch / (self.world_size() * self.micro_batch())).max(1)
    }

    /// Seed of the sample order.
    pub fn data_seed(&self) -> u64 {
        self.data.as_ref().and_then(|data| data.seed).unwrap_or(self.train.seed)
    }

    /// The fewest nodes that may train.
    pub fn min_nodes(&self) -> u32 {
        self.recovery.min_nodes.unwrap_or(self.nodes)
    }

    /// Disk space for what a node keeps in its scratch folder: the dataset cache and what it overshoots by while shards
    /// arrive, or little without a dataset, and the code that was brought along.
    pub fn cache_volume(&self) -> ByteSize {
        let size = self.data.as_ref().map_or(0, |data| data.cache.size.bytes());
        let code = self.code.as_ref().map_or(0, |code| code.size.bytes());
        ByteSize::new((size.saturating_add(size / 4)).max(1 << 30).saturating_add(code))
    }

    /// Optimizer steps in one pass over `num_samples` samples.
    pub fn steps_per_epoch(&self, num_samples: u64) -> u64 {
        let batch = u64::from(self.train.global_batch);
        match self.data.as_ref().map(|data| data.tail).unwrap_or_default() {
            Tail::Drop => num_samples / batch,
            Tail::Pad => num_samples.div_ceil(batch),
        }
    }

    /// Optimizer steps of the whole run, over a training set of `num_samples` samples.
    pub fn total_steps(&self, num_samples: u64) -> u64 {
        let epochs = self.train.epochs.unwrap_or(0);
        self.train.steps.unwrap_or_else(|| epochs.saturating_mul(self.steps_per_epoch(num_samples)))
    }

    /// Makes the paths that are relative to the job file's folder, `base`, absolute: datasets,
    /// weights and worker.
    pub fn resolve_paths(&mut self, base: &Path) -> std::io::Result<()> {
        self.resolve_each_path(|_| base)
    }

    /// The same, where `base` tells for each field from where its path is seen.
    pub(crate) fn resolve_each_path<'b>(&mut self, base: impl Fn(&str) -> &'b Path) -> std::io::Result<()> {
        if let Some(data) = &mut self.data {
            data.train.uri = absolute(base("data.train.uri"), &data.train.uri)?;
            if let Some(eval) = &mut data.eval {
                eval.uri = absolute(base("data.eval.uri"), &eval.uri)?;
            }
        }
        if let Some(WarmStart::Weights { uri }) = &mut self.warm_start {
            *uri = absolute(base("warmStart.uri"), uri)?;
        }
        if let Some(worker) = &mut self.worker {
            *worker = absolute(base("worker"), worker)?;
        }
        Ok(())
    }
}

/// `path` seen from `base`, absolute and without `.` and `..`; URIs stay as they are. What is not UTF-8 is refused: in a record
/// it would name another folder.
pub(crate) fn absolute(base: &Path, path: &str) -> std::io::Result<String> {
    use std::path::{Component, PathBuf};

    if path.contains("://") {
        return Ok(path.to_owned());
    }
    let mut clean = PathBuf::new();
    for component in std::path::absolute(base.join(path))?.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean.into_os_string().into_string().map_err(|path| {
        let what = format!("the path {} is not UTF-8; rename the folder", path.display());
        std::io::Error::new(std::io::ErrorKind::InvalidInput, what)
    })
}

fn one() -> u32 {
    1
}

fn default_storage() -> String {
    "./runs".to_owned()
}
