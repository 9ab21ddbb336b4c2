use super::weights::load_into;
use super::{EMA, MODEL, OPTIMIZER, RNG, STATE, State, TensorFile, check_rng};
use crate::link::Outbox;
use crate::rank::{Replica, Variables, World};
use crate::task::Model;
use crate::{Error, Result};
use bytes::Bytes;
use lockstep_c10d::{Optimizer, Store, WeightAverage};
use lockstep_run::checkpoint::Loaded;
use lockstep_run::link::WorkerMsg;
use lockstep_run::{CommitRef, Evaluation, RunDir, StartFrom, Step, WarmFrom, WeightsFrom, check_format};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Where rank 0 tells the others what it loaded.
const KEY: &str = "lockstep/loaded";

/// The checkpoint that training goes on from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Resumed {
    /// Which one.
    pub(crate) commit: CommitRef,
    /// What its tensors are.
    pub(crate) held: Held,
}

/// What is known of trained tensors, which are in a checkpoint or in a replica.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Held {
    /// As in `state.json`.
    pub(crate) state: State,
    /// The newest evaluation by then.
    pub(crate) evaluation: Option<Evaluation>,
}

/// What rank 0 says: what it loaded, or why it could not.
type Word<T> = std::result::Result<T, String>;

/// Where and what to load.
pub(crate) struct Loading<'a> {
    /// Holds the checkpoints.
    pub(crate) run_dir: &'a RunDir,
    /// Drives the I/O of `run_dir`.
    pub(crate) runtime: &'a Runtime,
    /// What its membership record says.
    pub(crate) start_from: &'a StartFrom,
    /// Told of checkpoints that were passed over.
    pub(crate) outbox: &'a Outbox,
    /// Carries rank 0's word to the others.
    pub(crate) store: &'a Arc<dyn Store>,
    /// How long rank 0 may take.
    pub(crate) deadline: Duration,
}

impl Loading<'_> {
    /// Brings all ranks to the same state: that of the checkpoint which the leader chose, or rank 0's initial parameters,
    /// which may be another run's or published ones.
    ///
    /// Rank 0 alone reads and verifies, and sends the tensors to the others: storage is read once whatever the
    /// world size, a damaged checkpoint is found in one place, and the replicas are equal by construction. The others
    /// wait at the store, not in a collective, because storage may be slower than a collective's deadline.
    ///
    /// Collective.
    pub(crate) fn run(&self, world: &World, replica: &Replica) -> Result<Option<Resumed>> {
        let Replica { variables, optimizer, model, average, .. } = replica;
        let (optimizer, average) = (optimizer.as_ref(), average.as_ref());
        let resumed = match world.is_first() {
            true => self.lead(world, variables, optimizer, model.as_ref(), average)?,
            false => self.follow(world)?,
        };
        let step = resumed.as_ref().map_or(Step(0), |r| r.held.state.step);
        let mut tensors: Vec<_> = variables.all().map(|(_, tensor)| tensor.shallow_clone()).collect();
        if resumed.is_some() {
            // Else they are zeros on all ranks.
            tensors.extend(optimizer.state().into_iter().map(|(_, moment)| moment));
        }
        tensors.extend(average.iter().flat_map(|average| average.state()).map(|(_, tensor)| tensor));
        world.broadcast("loading", step, &tensors)?;
        Ok(resumed)
    }

    /// Reads, and tells the others what, or why not, so that they don't wait for the deadline.
    fn lead(
        &self,
        world: &World,
        variables: &Variables,
        optimizer: &dyn Optimizer,
        model: &dyn Model,
        average: Option<&WeightAverage>,
    ) -> Result<Option<Resumed>> {
        let resumed = self.read(variables, optimizer, model, average);
        let word: Word<&Option<Resumed>> = resumed.as_ref().map_err(Error::to_string);
        let word = serde_json::to_vec(&word).map_err(|e| Error::state(STATE, e))?;
        self.store.set(KEY, &word).map_err(|e| lost(world, e.to_string()))?;
        resumed
    }

    fn follow(&self, world: &World) -> Result<Option<Resumed>> {
        let word = self.store.get(KEY, self.deadline).map_err(|e| lost(world, e.to_string()))?;
        let word: Word<Option<Resumed>> =
            serde_json::from_slice(&word).map_err(|e| Error::state(STATE, e))?;
        word.map_err(|reason| lost(world, format!("rank 0 could not load: {reason}")))
    }

    fn read(
        &self,
        variables: &Variables,
        optimizer: &dyn Optimizer,
        model: &dyn Model,
        average: Option<&WeightAverage>,
    ) -> Result<Option<Resumed>> {
        let chosen = match self.start_from {
            StartFrom::Fresh => None,
            StartFrom::Warm(from) => {
                let model = self.runtime.block_on(self.run_dir.warm_file(from, MODEL))?;
                take_parameters(from, &model, variables)?;
                None
            }
            StartFrom::Weights(from) => {
                take_weights(from, &self.runtime.block_on(from.read())?, variables, model)?;
                None
            }
            // No member of this version holds snapshots, so the commit is what there is.
            StartFrom::Commit(chosen) | StartFrom::Local(chosen) => Some(*chosen),
        };
        let Some(chosen) = chosen else {
            restart(average)?;
            return Ok(None);
        };
        let loaded = self.runtime.block_on(self.run_dir.load_checkpoint(chosen))?;
        let used = loaded.commit.step;
        for passed in &loaded.passed {
            let text =
                format!("{}; used {used} instead. The damaged checkpoint was left in place", passed.problem);
            self.outbox.send(WorkerMsg::CheckpointProblem { step: passed.checkpoint.step, text });
        }
        let state = restore(&loaded, variables, optimizer, average)?;
        let (commit, evaluation) = (loaded.commit.as_ref(), loaded.commit.provenance.evaluation.clone());
        Ok(Some(Resumed { commit, held: Held { state, evaluation } }))
    }
}

fn lost(world: &World, reason: String) -> Error {
    Error::PeerLost { rank: world.rank(), step: Step(0), during: "loading", reason }
}

fn take_parameters(from: &WarmFrom, model: &[u8], variables: &Variables) -> Result<()> {
    let taken = TensorFile::parse(MODEL, model).and_then(|file| file.restore_all(variables.all()));
    taken.map_err(|error| match error {
        Error::State { reason, .. } => {
            Error::WarmStart { run: from.run.clone(), step: from.checkpoint.step, reason }
        }
        other => other,
    })
}

fn take_weights(from: &WeightsFrom, files: &[Bytes], variables: &Variables, model: &dyn Model) -> Result<()> {
    let files = from.files.keys().cloned().zip(files.iter().map(Bytes::as_ref));
    load_into(files, variables, model).map_err(|error| match error {
        Error::Weights { problems } => Error::WarmWeights { from: from.to_string(), problems },
        other => other,
    })
}

/// The average of what was just loaded, and of nothing before it.
fn restart(average: Option<&WeightAverage>) -> Result<()> {
    Ok(average.map_or(Ok(()), WeightAverage::restart)?)
}

fn restore(
    loaded: &Loaded,
    variables: &Variables,
    optimizer: &dyn Optimizer,
    average: Option<&WeightAverage>,
) -> Result<State> {
    let bytes = |name: &'static str| {
        loaded.files.get(name).ok_or_else(|| Error::state(name, "its commit record does not name the file"))
    };
    check_format(STATE, "checkpoint state", bytes(STATE)?)?;
    let state: State = serde_json::from_slice(bytes(STATE)?).map_err(|e| Error::state(STATE, e))?;
    check_rng(&TensorFile::parse(RNG, bytes(RNG)?)?, &state)?;
    TensorFile::parse(MODEL, bytes(MODEL)?)?.restore_all(variables.all())?;
    TensorFile::parse(OPTIMIZER, bytes(OPTIMIZER)?)?.restore_all(optimizer.state())?;
    match (average, loaded.files.get(EMA)) {
        // Its buffers are those of the model once more.
        (Some(average), Some(ema)) => {
            TensorFile::parse(EMA, ema)?.restore_all(variables.averaged(average))?;
        }
        // Of a job that had none until now.
        (average, _) => restart(average)?,
    }
    Ok(state)
}
