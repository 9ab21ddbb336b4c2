//! The training loop. All that happens to a step is in this file, in the order in which it happens.

use crate::calendar::Calendar;
use crate::checkpoint::{Dataset, Held, HostTensor, Saver, Snapshot, State, Versions, rng_states};
use crate::clock::StepClock;
use crate::control::{Control, Permit};
use crate::count::Count;
use crate::data::{Cursor, EvalSource, Share, TrainSource, same_data};
use crate::eval::evaluate;
use crate::finite::{FiniteGuard, Verdict, culprits};
use crate::interval::{LogInterval, StepFacts, Wish, Work};
use crate::link::Outbox;
use crate::rank::{AVERAGING, Replica, World, replicas};
use crate::recording::Recording;
use crate::schedule::learning_rate;
use crate::seed::{Stream, seed_of};
use crate::task::{Batch, TaskError};
use crate::{Error, Result, precision};
use lockstep_c10d::{BucketPlan, Finiteness, LossScale, Pending, Reducer, rng};
use lockstep_job::{BadSamples, JobSpec};
use lockstep_run::link::{Phase, WorkerMsg, WorkerOutcome};
use lockstep_run::{Activity, Evaluation, Generation, Part, Step};
use std::collections::BTreeMap;
use std::slice;
use std::sync::Arc;
use std::time::Instant;
use tch::{Device, Tensor};

/// One rank with all that it needs to train. [`crate::worker`] puts it together.
pub(crate) struct Trainer<'r> {
    pub(crate) job: JobSpec,
    pub(crate) calendar: Calendar,
    pub(crate) generation: Generation,
    pub(crate) device: Device,
    pub(crate) world: World,
    pub(crate) control: Arc<Control>,
    pub(crate) outbox: Outbox,
    pub(crate) replica: &'r mut Replica,
    pub(crate) reducer: Reducer,
    pub(crate) bucket_plan: BucketPlan,
    pub(crate) dataset: Dataset,
    pub(crate) source: Box<dyn TrainSource>,
    pub(crate) eval: Option<Box<dyn EvalSource>>,
    /// A batch of no samples, with the columns of the data.
    pub(crate) empty: Batch,
    /// Rank 0 has one.
    pub(crate) saver: Option<Saver>,
    pub(crate) at: Position,
    pub(crate) guard: FiniteGuard,
    /// The newest step, until it was judged.
    pub(crate) unjudged: Option<Unjudged>,
    /// Samples of this rank that were left out since it started.
    pub(crate) num_skipped: u64,
    /// The newest evaluation.
    pub(crate) evaluation: Option<Evaluation>,
    /// The generation before was lost in the evaluation of the step that this one goes on from, or before it.
    pub(crate) owes_evaluation: bool,
    pub(crate) clock: StepClock,
    /// What computing an item takes, where that and the GPU's peak are known.
    pub(crate) work: Option<Work>,
}

/// How far training is.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    pub(crate) step: Step,
    pub(crate) samples_seen: u64,
    pub(crate) cursor: Cursor,
    pub(crate) epoch: f64,
    pub(crate) learning_rate: f64,
}

/// A step whose update may have been left out: nobody has looked yet.
pub(crate) struct Unjudged {
    step: Step,
    /// Whether the gradient is finite, as [`Finiteness::of`] understands it.
    found: Tensor,
    losses: Vec<Tensor>,
}

/// What a step's backward pass has left behind, beside the gradient.
struct Computed {
    /// This rank's loss of each micro batch, summed over its items.
    losses: Vec<Tensor>,
    /// Items of the global batch.
    global_items: u64,
    /// Where there are such buffers, sums over what the ranks have staged for them.
    running: Option<Pending>,
}

impl Position {
    /// Nothing was trained yet.
    pub(crate) fn start(cursor: Cursor) -> Self {
        Self { step: Step(0), samples_seen: 0, cursor, epoch: 0.0, learning_rate: 0.0 }
    }

    /// Where a checkpoint was written.
    pub(crate) fn of(state: &State) -> Self {
        let (step, samples_seen, cursor) = (state.step, state.samples_seen, state.cursor.clone());
        Self { step, samples_seen, cursor, epoch: 0.0, learning_rate: state.learning_rate }
    }
}

impl Trainer<'_> {
    /// Trains to the last step, or to the one at which all ranks agreed to stop. Whatever the end, the replica is what it is then.
    ///
    /// Collective: all ranks of the generation, from the same state.
    pub(crate) fn run(&mut self) -> Result<WorkerOutcome> {
        let patience = self.job.recovery.grace.duration();
        let mut interval = LogInterval::new(self.calendar.total, self.replica.model.unit(), self.work);
        let mut last_save = Instant::now();
        self.enter(Phase::FirstStep);
        if self.owes_evaluation {
            self.enter(Phase::Evaluating);
            self.evaluate(&interval)?;
            self.enter(Phase::FirstStep);
        }

        while self.at.step < self.calendar.total {
            let step = self.at.step.next();
            if let Permit::Stop(_) = self.control.begin(step, patience)? {
                self.begin(None);
                self.judge(None)?;
                self.save_for_good()?;
                return Ok(WorkerOutcome::Stopped { step: self.at.step });
            }

            self.begin(Some(step));
            rng::seed(seed_of(self.job.train.seed, Stream::Step(step, self.world.rank())))?;
            self.end(Part::Other);
            let share = self.source.next()?;
            self.end(Part::Data);
            self.tell_skipped(&share);
            let Computed { losses, global_items, running } = self.gradient(step, &share)?;
            self.replica.variables.lift_gradients()?;
            if let Some(loss_scale) = &self.replica.loss_scale {
                loss_scale.unscale(self.replica.variables.parameters())?;
            }
            let norm = self.replica.variables.parameters().clip_grad_norm(self.job.train.clip_grad_norm)?;
            self.end(Part::Optimizer);
            // The last that this step hears of other ranks: from here on it is done by all, or by this rank at least.
            let running = running.map(|sums| self.world.wait(sums, AVERAGING, step));
            let running = running.transpose()?;
            self.end(Part::Communication);
            let learning_rate = learning_rate(&self.job.optimizer, step, self.calendar.total);
            // Not finite on one rank is not finite on all, through the sum: each leaves out the same updates.
            let found = self.replica.update(learning_rate, &norm.non_finite, running)?;
            // At once: what the replica is, and how far it is, must not come apart.
            self.at = Position {
                step,
                samples_seen: self.at.samples_seen + share.global_samples,
                cursor: share.after,
                epoch: share.epoch,
                learning_rate,
            };
            self.end(Part::Optimizer);
            let kept = losses.iter().map(Tensor::shallow_clone).collect();
            self.judge(Some(Unjudged { step, found, losses: kept }))?;
            interval.add(losses, share.global_samples, global_items)?;
            self.control.done(step);
            self.enter(Phase::Training);

            let mut save = self.calendar.save_due(step);
            if save || self.calendar.log_due(step) || self.calendar.eval_due(step) {
                self.judge(None)?;
            }
            if self.calendar.log_due(step) {
                let loss_scale = self.replica.loss_scale.as_ref().map(|scale| scale.scale().shallow_clone());
                let sampled = replicas::sample(&self.replica.trained(), step, interval.num_steps())?;
                let facts = StepFacts {
                    step,
                    sampled,
                    epoch: self.at.epoch,
                    lr: learning_rate,
                    grad_norm: norm.norm,
                    loss_scale,
                };
                let wish = Wish {
                    save: self.calendar.save_due_by_time(last_save.elapsed()),
                    trace: if self.clock.records() { None } else { self.control.next_trace() },
                };
                self.end(Part::Other);
                let wish = interval.close(&self.world, &self.outbox, &facts, &self.clock.take(), wish)?;
                save |= wish.save;
                if let Some(order) = wish.trace {
                    self.clock.record(Recording::start(order));
                }
            }
            if save && step < self.calendar.total {
                self.end(Part::Other);
                self.save()?;
                self.clock.end_as(Part::Other, Activity::Checkpoint, Instant::now());
                last_save = Instant::now();
            }
            if self.calendar.eval_due(step) {
                self.end(Part::Other);
                self.enter(Phase::Evaluating);
                self.evaluate(&interval)?;
                self.enter(Phase::Training);
                self.clock.skip_evaluation(Instant::now());
            }
            if let Some(saver) = &mut self.saver {
                saver.poll()?;
            }
        }
        self.begin(None);
        self.judge(None)?;
        self.save_for_good()?;
        Ok(WorkerOutcome::Done { step: self.at.step })
    }

    /// A part of a step ends, which began where the one before ended.
    fn end(&mut self, part: Part) {
        self.clock.end(part, Instant::now());
    }

    /// A step begins, or none any more. The agent gets the trace that is whole with that.
    fn begin(&mut self, next: Option<Step>) {
        self.end(Part::Other);
        if let Some((order, recorded)) = self.clock.begin(next)
            && !recorded.steps.is_empty()
        {
            self.outbox.send(WorkerMsg::Traced { number: order.number, recorded });
        }
    }

    fn enter(&self, phase: Phase) {
        self.outbox.enter(&self.control, phase);
    }

    /// Leaves the gradient of the mean loss over the global batch in the parameters, the same on all ranks.
    ///
    /// Collective.
    fn gradient(&mut self, step: Step, share: &Share) -> Result<Computed> {
        self.replica.variables.zero_grad()?;
        let mut count = self.count(step, share)?;
        let moved = share.batch.moved_to(self.device)?;
        let batch = moved.as_ref().unwrap_or(&share.batch);
        let cut;
        let micro_batches = match self.job.accumulation() {
            1 => slice::from_ref(batch),
            num => {
                cut = batch.split(self.job.micro_batch(), num)?;
                cut.as_slice()
            }
        };
        let mut losses = Vec::with_capacity(micro_batches.len());
        if let Some(buffers) = &mut self.replica.running {
            buffers.begin()?;
        }
        let (mut global_items, mut running) = (0, None);
        for (i, micro_batch) in micro_batches.iter().enumerate() {
            let sum = {
                let _numbers = precision::begin(self.job.train.precision, self.device)?;
                self.replica.model.forward(micro_batch).map_err(self.task_failed(step))?
            };
            self.end(Part::Forward);
            global_items = count.total(&self.world, step)?;
            self.end(Part::Communication);
            // A loss is a sum over items; the Reducer divides the ranks' sum by their number.
            let scale = f64::from(self.world.size()) / global_items.max(1) as f64;
            let mut loss = sum.f_mul_scalar(scale)?;
            if let Some(loss_scale) = &self.replica.loss_scale {
                loss = loss_scale.scaled(&loss)?;
            }
            if let Some(buffers) = &mut self.replica.running {
                buffers.take(micro_batch.len())?;
            }
            let lost = self.world.lost("the backward pass", step);
            if i + 1 < micro_batches.len() {
                self.reducer.accumulate(&loss).map_err(lost)?;
                self.end(Part::Backward);
            } else {
                running = self
                    .replica
                    .running
                    .as_ref()
                    .map(|buffers| buffers.start(&self.world, step))
                    .transpose()?;
                let exposed = self.reducer.backward(&loss).map_err(lost)?;
                self.clock.end_reduced(exposed, Instant::now());
            }
            losses.push(sum.f_detach()?);
        }
        Ok(Computed { losses, global_items, running })
    }

    /// Counts the items of the global batch; other ranks are asked where only they know theirs.
    fn count(&self, step: Step, share: &Share) -> Result<Count> {
        let items = self.replica.model.items(&share.batch).map_err(self.task_failed(step))?;
        let global_samples = (!self.may_skip()).then_some(share.global_samples);
        Count::start(items, share.batch.len(), global_samples, &self.world, step)
    }

    /// Whether ranks may have fewer samples than the order says.
    fn may_skip(&self) -> bool {
        let image = self.job.data.as_ref().and_then(|data| data.image.as_ref());
        image.is_some_and(|image| image.bad_samples == BadSamples::Skip)
    }

    /// Tells of samples that are left out: the first ones, then ever fewer, each time with how many there were.
    fn tell_skipped(&mut self, share: &Share) {
        for reason in &share.skipped {
            self.num_skipped += 1;
            if self.num_skipped.is_power_of_two() {
                let (rank, count) = (self.world.rank(), self.num_skipped);
                let text = format!("{reason}; it is left out ({count} so far on rank {rank})");
                self.outbox.send(WorkerMsg::Warning(text));
            }
        }
    }

    /// Counts updates that were left out, tells the user, and ends the run where the policy says so.
    ///
    /// It looks at the step before `newest`, so that the device has that one's work while this rank waits. What is saved,
    /// evaluated or reported was judged before: then there is no newest one.
    ///
    /// Collective where the run ends: all ranks count alike, so all get there.
    fn judge(&mut self, newest: Option<Unjudged>) -> Result<()> {
        let Some(Unjudged { step, found, losses }) = std::mem::replace(&mut self.unjudged, newest) else {
            return Ok(());
        };
        match self.guard.judge(Finiteness::of(found.f_double_value(&[])?)) {
            Verdict::Apply | Verdict::Rescale => Ok(()),
            Verdict::Skip { in_a_row } => {
                // Once in a long row of bad steps says enough; the first ones are all told.
                if self.world.is_first() && in_a_row.is_power_of_two() {
                    let text = format!(
                        "step {step}: the gradient is not finite, so there is no update ({in_a_row} in a row)"
                    );
                    self.outbox.send(WorkerMsg::Warning(text));
                }
                Ok(())
            }
            Verdict::Stop { in_a_row } => {
                let loss = losses.iter().map(|loss| loss.f_double_value(&[])).sum::<Result<f64, _>>()?;
                let losses = self.world.gather("looking for the bad rank", step, loss)?;
                Err(Error::NonFinite { step, in_a_row, culprits: culprits(&losses) })
            }
        }
    }

    /// Runs the evaluation, with the averaged parameters where there are such, and reports it.
    ///
    /// Collective.
    fn evaluate(&mut self, interval: &LogInterval) -> Result<()> {
        if self.eval.is_none() {
            return Ok(());
        }
        self.replica.variables.sync_buffers(&self.world, self.at.step)?;
        self.replica.swap_averages()?;
        let results = self.scores();
        // Back in any case: a peer may have been lost meanwhile, and the parameters are to be those that are trained.
        self.replica.swap_averages()?;
        let results = results?;
        if self.world.is_first() {
            interval.evaluated(&self.outbox, self.at.step, self.at.epoch, results.clone());
        }
        self.evaluation = Some(Evaluation { step: self.at.step, results });
        Ok(())
    }

    fn scores(&mut self) -> Result<BTreeMap<String, f64>> {
        let Some(source) = &mut self.eval else { return Ok(BTreeMap::new()) };
        let _numbers = precision::begin(self.job.train.precision, self.device)?;
        let (model, step) = (self.replica.model.as_ref(), self.at.step);
        evaluate(model, source.as_mut(), &self.empty, self.device, &self.world, step)
    }

    /// Starts to write a checkpoint, unless the one before is still being written. Training waits for the copy only.
    ///
    /// Collective.
    fn save(&mut self) -> Result<()> {
        self.agree_on_state()?;
        self.agree_on_data()?;
        if self.saver.as_mut().is_some_and(|saver| saver.is_free_for(self.at.step)) {
            self.write_snapshot()?;
        }
        Ok(())
    }

    /// Makes sure that the present state is committed before this rank leaves; tries as often as
    /// `checkpoint.maxFailures` allows.
    ///
    /// Collective.
    fn save_for_good(&mut self) -> Result<()> {
        self.enter(Phase::Saving);
        self.agree_on_state()?;
        self.agree_on_data()?;
        let budget = self.job.recovery.checkpoint_budget.duration();
        while let Some(saver) = &mut self.saver {
            saver.wait(budget)?;
            if saver.committed() == Some(self.at.step) {
                break;
            }
            self.write_snapshot()?;
        }
        Ok(())
    }

    /// Buffers become those of rank 0; all else must be equal already.
    fn agree_on_state(&self) -> Result<()> {
        self.replica.variables.sync_buffers(&self.world, self.at.step)?;
        replicas::check(&self.world, &self.replica.tensors(), self.at.step)
    }

    /// What the ranks have read goes into the checkpoint, where the digest of the data doesn't say it.
    fn agree_on_data(&mut self) -> Result<()> {
        if self.dataset.listing.is_some() {
            let mine = self.source.contents();
            self.dataset.shards = same_data::gather(&self.world, &mine, &self.dataset, self.at.step)?;
        }
        Ok(())
    }

    fn write_snapshot(&mut self) -> Result<()> {
        let snapshot = self.snapshot()?;
        if let Some(saver) = &mut self.saver {
            saver.write(snapshot);
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot> {
        let seed = self.job.train.seed;
        Ok(Snapshot {
            model: HostTensor::copy_all(self.replica.variables.all())?,
            optimizer: HostTensor::copy_all(self.replica.optimizer.state())?,
            ema: self
                .replica
                .average
                .as_ref()
                .map(|average| HostTensor::copy_all(self.replica.variables.averaged(average)))
                .transpose()?,
            rng: rng_states(seed, self.at.step, self.world.size())?,
            evaluation: self.evaluation.clone(),
            state: self.state()?,
        })
    }

    /// All that is not a tensor.
    fn state(&self) -> Result<State> {
        Ok(State {
            format: State::FORMAT,
            step: self.at.step,
            samples_seen: self.at.samples_seen,
            cursor: self.at.cursor.clone(),
            seed: self.job.train.seed,
            non_finite_in_a_row: self.guard.in_a_row(),
            loss_scale: self.replica.loss_scale.as_ref().map(LossScale::state).transpose()?,
            learning_rate: self.at.learning_rate,
            dataset: self.dataset.clone(),
            parameter_hash: String::new(),
            num_parameters: self.replica.variables.num_parameters(),
            world_size: self.world.size(),
            generation: self.generation,
            bucket_plan: self.bucket_plan.clone(),
            versions: Versions::current(),
        })
    }

    /// Ends this generation: the replica says what it holds, unless it was torn.
    pub(crate) fn leave(mut self) -> Result<()> {
        // What was not judged yet was counted by nobody: the next generation goes on as if it had been.
        if let Some(Unjudged { found, .. }) = self.unjudged.take() {
            self.guard.judge(Finiteness::of(found.f_double_value(&[])?));
        }
        let held = Held { state: self.state()?, evaluation: self.evaluation.take() };
        let read = if self.dataset.listing.is_some() { self.source.contents() } else { Vec::new() };
        self.replica.hold(held, read);
        if let Some(peers) = &self.replica.peers {
            peers.forget();
        }
        Ok(())
    }

    fn task_failed(&self, step: Step) -> impl Fn(TaskError) -> Error {
        let (rank, lost) = (self.world.rank(), self.world.lost("the forward pass", step));
        move |source| match source {
            // Of a layer that asks the other ranks.
            TaskError::C10d(e) if e.is_group_lost() => lost(e),
            source => Error::Task { rank, step, source },
        }
    }
}
