//! Puts one rank together: data, group, model, state. Then it trains.

use crate::calendar::Calendar;
use crate::checkpoint::{Loading, Resumed, Saver, SaverSetup};
use crate::clock::StepClock;
use crate::control::Control;
use crate::data::{Data, same_data};
use crate::finite::FiniteGuard;
use crate::interval::Work;
use crate::link::Outbox;
use crate::optimizer;
use crate::rank::{Compute, Found, Running, Variables, group, hardware, peak_flops};
use crate::seed::{Stream, seed_of};
use crate::task::{Setup, Task};
use crate::train::{Position, Trainer};
use crate::{Error, Result, precision};
use lockstep_c10d::LIBTORCH_VERSION;
use lockstep_c10d::{Reducer, Store, WeightAverage, rng};
use lockstep_job::JobSpec;
use lockstep_run::link::{Start, WorkerOutcome};
use lockstep_run::{Provenance, RunDir, Step, Versions, Writer};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tch::Device;
use tch::nn::VarStore;

/// Held while a model draws its initial values.
static BUILDING: Mutex<()> = Mutex::new(());

/// A rank's surroundings.
#[derive(Debug)]
pub struct Context {
    /// The resolved job.
    pub job: JobSpec,
    /// The agent's orders.
    pub start: Start,
    /// Shared with whoever talks to the agent.
    pub control: Arc<Control>,
    /// Messages for the agent.
    pub outbox: Outbox,
    /// The store of this generation, empty before its first group.
    pub store: Arc<dyn Store>,
    /// What this process has to compute on.
    pub found: Found,
}

/// Trains one rank to its end.
///
/// Blocking: returns when training is over. Collective: all ranks of the generation, with the same job.
pub fn run(
    task: &dyn Task,
    config: &serde_json::Value,
    data: &dyn Data,
    cx: Context,
) -> Result<WorkerOutcome> {
    let Context { job, start, control, outbox, store, found } = cx;
    let calendar = Calendar::new(&job, data.num_samples());
    let (world, compute) = group::form(&job, &start, &store, found, &outbox)?;
    let (rank, device) = (world.rank(), compute.device());
    // On the CPU, whose generator gives the same initial values whatever the model computes on.
    let mut vars = VarStore::new(Device::Cpu);
    let empty = data.empty()?;
    let running = Running::default();
    let (num_classes, vocab) = (data.num_classes(), data.vocab());
    let setup = Setup { config, columns: &empty, num_classes, vocab, device, running: &running };
    let built = {
        // One generator serves all ranks of a process, where they are threads.
        let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        rng::seed(seed_of(job.train.seed, Stream::Init))?;
        task.build(&setup, &vars.root())
    };
    let model = built.map_err(|source| Error::Task { rank: world.rank(), step: Step(0), source })?;
    if device != Device::Cpu {
        let _no_grad = tch::no_grad_guard();
        vars.set_device(device);
    }
    if let Some(peers) = running.asked().filter(|_| world.size() > 1) {
        peers.tell(group::form_another("peers", &job, &start, &store, &compute)?);
    }
    let running = running.close(device)?;
    let variables = Variables::of(&vars, precision::of_parameters(job.train.precision))?;
    let optimizer = optimizer::build(&job.optimizer, variables.parameters())?;
    let average =
        job.train.ema.map(|ema| WeightAverage::new(variables.parameters(), ema.decay)).transpose()?;

    let run_dir = RunDir::open(&start.run_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Os { what: "starting the storage runtime", source })?;
    let loading = Loading {
        run_dir: &run_dir,
        runtime: &runtime,
        start_from: &start.start_from,
        outbox: &outbox,
        store: &store,
        deadline: job.recovery.checkpoint_budget.duration(),
    };
    same_data::check_ranks(&world, &store, data, job.recovery.checkpoint_budget.duration())?;
    let resumed = loading.run(&world, &variables, optimizer.as_ref(), model.as_ref(), average.as_ref())?;
    if let Some(Resumed { state, .. }) = &resumed {
        same_data::check_checkpoint(&world, &state.dataset, data, &outbox, state.step)?;
    }
    variables.changed()?;
    let at = resumed.as_ref().map_or_else(|| Position::start(data.start()), |r| Position::of(&r.state));
    control.done(at.step);

    // The recorded plan, so that the bits stay the same whatever this version would choose. A job of another precision has other
    // bits, and may have parameters of several kinds, which no bucket mixes.
    let computing = variables.computing();
    let sizes = computing.sizes()?;
    let bucket_plan = match &resumed {
        Some(resumed) if resumed.state.bucket_plan.mixes_no_kinds(&sizes) => {
            resumed.state.bucket_plan.clone()
        }
        _ => computing.bucket_plan()?,
    };
    let loss_scale = precision::loss_scale(
        job.train.precision,
        resumed.as_ref().and_then(|r| r.state.loss_scale),
        device,
    )?;
    let exchange = precision::exchange(job.train.exchange);
    let reducer = Reducer::exchanging(world.tensors(), computing, &bucket_plan, exchange)
        .map_err(world.lost("building the reducer", at.step))?;
    let saver = if world.is_first() {
        let writer = Writer { node: start.node, incarnation: start.incarnation, nonce: rand::random() };
        let (job, outbox, generation) = (job.clone(), outbox.clone(), start.generation);
        let parent = resumed.as_ref().map(|r| r.commit);
        let provenance = provenance(&start, data, &compute);
        let setup = SaverSetup { run_dir, runtime, outbox, job, generation, writer, parent, provenance };
        Some(Saver::start(setup)?)
    } else {
        None
    };
    let peak = compute.cuda.as_ref().and_then(|cuda| peak_flops(cuda.name(), job.train.precision));
    let work = model.flops_per_item().zip(peak);
    let work = work.map(|(flops_per_item, peak_flops)| Work { flops_per_item, peak_flops });
    let trainer = Trainer {
        calendar,
        device,
        generation: start.generation,
        control,
        outbox,
        model,
        running,
        reducer,
        bucket_plan,
        optimizer,
        loss_scale,
        average,
        dataset: data.dataset().clone(),
        source: data.train(&at.cursor)?,
        eval: data.eval()?,
        empty,
        saver,
        guard: FiniteGuard::new(
            job.train.non_finite,
            resumed.as_ref().map_or(0, |r| r.state.non_finite_in_a_row),
        ),
        unjudged: None,
        num_skipped: 0,
        evaluation: resumed.and_then(|r| r.evaluation),
        at,
        variables,
        world,
        job,
        clock: StepClock::new(Instant::now()),
        work,
    };
    trainer.run().map_err(|error| compute.explain(rank, error))
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
