//! Puts one rank together: data, group, model, state. Then it trains. What is built once outlives the generation.

use crate::calendar::Calendar;
use crate::checkpoint::{Held, Loading, Saver, SaverSetup};
use crate::clock::StepClock;
use crate::control::Control;
use crate::data::{Data, same_data};
use crate::finite::FiniteGuard;
use crate::interval::Work;
use crate::link::Outbox;
use crate::rank::{Compute, Found, Replica, Seed, World, group, hardware, peak_flops};
use crate::task::Task;
use crate::train::{Position, Trainer};
use crate::{Error, Result, live, precision};
use lockstep_c10d::{LIBTORCH_VERSION, Reducer, Store};
use lockstep_job::JobSpec;
use lockstep_run::link::{Phase, Start, WorkerMsg, WorkerOutcome};
use lockstep_run::{Provenance, RunDir, Step, Versions, Writer};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// What an agent orders a rank to do in a generation, and whom it talks to.
#[derive(Debug)]
pub struct Orders {
    /// The agent's orders.
    pub start: Start,
    /// Shared with whoever talks to the agent.
    pub control: Arc<Control>,
    /// Messages for the agent.
    pub outbox: Outbox,
    /// The store of this generation, empty before its first group.
    pub store: Arc<dyn Store>,
}

/// A process that trains one rank: in one generation after another, with what it has built once.
pub struct Worker<'t> {
    task: &'t dyn Task,
    config: &'t serde_json::Value,
    /// The resolved job.
    job: JobSpec,
    /// What this process has to compute on.
    found: Found,
    /// What it trains; none before its first generation, and after one that left it torn.
    replica: Option<Replica>,
}

impl fmt::Debug for Worker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = self.replica.as_ref().and_then(Replica::step);
        f.debug_struct("Worker").field("found", &self.found).field("holds", &step).finish_non_exhaustive()
    }
}

impl<'t> Worker<'t> {
    /// One that has trained nothing.
    pub fn new(task: &'t dyn Task, config: &'t serde_json::Value, job: JobSpec, found: Found) -> Self {
        Self { task, config, job, found, replica: None }
    }

    /// Trains in one generation, to the end of training or of the generation. What was trained is kept for the next one.
    ///
    /// Blocking: returns when training is over. Collective: all ranks of the generation, with the same job.
    ///
    /// # Errors
    /// Why this rank can't go on in this generation.
    pub fn serve(&mut self, data: &dyn Data, orders: Orders) -> Result<WorkerOutcome> {
        let Orders { start, control, store, outbox } = &orders;
        let (world, compute) = group::form(&self.job, start, store, &self.found, control, outbox)?;
        let rank = world.rank();
        let explained = |error| compute.explain(rank, error);
        let mut trainer = self.enter(data, orders, world, &compute).map_err(explained)?;
        let outcome = trainer.run().map_err(explained);
        trainer.leave()?;
        outcome
    }

    /// Puts a rank together for a generation: the groups, the newest state, and what is read and written.
    fn enter(
        &mut self,
        data: &dyn Data,
        orders: Orders,
        world: World,
        compute: &Compute,
    ) -> Result<Trainer<'_>> {
        let Orders { start, control, outbox, store } = orders;
        let (job, device) = (self.job.clone(), compute.device());
        let calendar = Calendar::new(&job, data.num_samples());
        let empty = data.empty()?;
        let kept = self.replica.take().filter(|replica| replica.device == device && replica.is_known());
        let replica = match kept {
            Some(replica) => replica,
            None => {
                let seed = Seed { task: self.task, config: self.config, data, empty: &empty, job: &job };
                Replica::build(&seed, device, world.rank())?
            }
        };
        // It stays there: a generation that doesn't come about costs no state.
        let replica = self.replica.insert(replica);
        if let Some(peers) = replica.peers.as_ref().filter(|_| world.size() > 1) {
            peers.tell(group::form_another("peers", &job, &start, &store, &control, compute)?);
        }

        outbox.enter(&control, Phase::Loading);
        let run_dir = RunDir::open(&start.run_dir)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::Os { what: "starting the storage runtime", source })?;
        let patience = job.recovery.checkpoint_budget.duration();
        let loading = Loading {
            run_dir: &run_dir,
            runtime: &runtime,
            start_from: &start.start_from,
            outbox: &outbox,
            store: &store,
            deadline: patience,
        };
        same_data::check_ranks(&world, &store, data, patience)?;
        let saved = start.start_from.commit();
        let live = live::take_up(&world, replica, saved.map(|commit| commit.step), &store, patience)?;
        let parent = match live {
            Some((source, step)) => {
                if world.is_first() {
                    outbox.send(WorkerMsg::Resumed { step, source });
                }
                saved
            }
            None => replica.filled(|replica| {
                let resumed = loading.run(&world, replica)?;
                Ok(resumed.map_or((None, None), |resumed| (Some(resumed.held), Some(resumed.commit))))
            })?,
        };
        let held = replica.held().cloned();
        let mut dataset = data.dataset().clone();
        if let Some(Held { state, .. }) = &held {
            same_data::check_checkpoint(&world, &state.dataset, data, &outbox, state.step)?;
        }
        if let Some((_, step)) = live.filter(|_| dataset.listing.is_some()) {
            // What was read since the last checkpoint, which only those know who read it.
            dataset.shards = same_data::gather_read(&world, replica.read(), &dataset, step)?;
            data.expect(&dataset.shards, false)?;
        }
        replica.begin(job.train.precision)?;
        let at = held.as_ref().map_or_else(|| Position::start(data.start()), |h| Position::of(&h.state));
        control.done(at.step);

        // The recorded plan, so that the bits stay the same whatever this version would choose. A job of another precision has other
        // bits, and may have parameters of several kinds, which no bucket mixes.
        let computing = replica.variables.computing();
        let sizes = computing.sizes()?;
        let bucket_plan = match &held {
            Some(held) if held.state.bucket_plan.mixes_no_kinds(&sizes) => held.state.bucket_plan.clone(),
            _ => computing.bucket_plan()?,
        };
        let exchange = precision::exchange(job.train.exchange);
        let reducer = Reducer::exchanging(world.tensors(), computing, &bucket_plan, exchange)
            .map_err(world.lost("building the reducer", at.step))?;
        let saver = if world.is_first() {
            let writer = Writer { node: start.node, incarnation: start.incarnation, nonce: rand::random() };
            let (job, outbox, generation) = (job.clone(), outbox.clone(), start.generation);
            let provenance = provenance(&start, data, compute);
            let setup = SaverSetup { run_dir, runtime, outbox, job, generation, writer, parent, provenance };
            Some(Saver::start(setup)?)
        } else {
            None
        };
        let peak = compute.cuda.as_ref().and_then(|cuda| peak_flops(cuda.name(), job.train.precision));
        let work = replica.model.flops_per_item().zip(peak);
        let work = work.map(|(flops_per_item, peak_flops)| Work { flops_per_item, peak_flops });
        let (source, eval) = (data.train(&at.cursor)?, data.eval()?);
        let evaluated = held.as_ref().and_then(|held| Some(held.evaluation.as_ref()?.step));
        // Nothing can fail any more: from here on it is what training makes of it.
        replica.train();
        Ok(Trainer {
            device,
            generation: start.generation,
            control,
            outbox,
            replica,
            reducer,
            bucket_plan,
            dataset,
            source,
            eval,
            empty,
            saver,
            guard: FiniteGuard::new(
                job.train.non_finite,
                held.as_ref().map_or(0, |held| held.state.non_finite_in_a_row),
            ),
            unjudged: None,
            num_skipped: 0,
            owes_evaluation: live.is_some_and(|(_, step)| {
                step > Step(0) && calendar.eval_due(step) && evaluated != Some(step)
            }),
            evaluation: held.and_then(|held| held.evaluation),
            at,
            world,
            job,
            clock: StepClock::new(Instant::now()),
            work,
            calendar,
        })
    }
}

/// What this rank knows of where its checkpoints are from, beside what the agent does.
fn provenance(start: &Start, data: &dyn Data, compute: &Compute) -> Provenance {
    let versions = Versions {
        agent: start.agent_version.clone(),
        worker: env!("CARGO_PKG_VERSION").to_owned(),
        libtorch: LIBTORCH_VERSION.to_owned(),
    };
    let (hardware, datasets) = (Some(hardware::here(compute)), data.uses());
    Provenance { versions: Some(versions), hardware, datasets, ..start.provenance.clone() }
}
