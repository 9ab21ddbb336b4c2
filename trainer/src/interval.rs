//! A logging interval: what rank 0 reports of it, and what the ranks agree on while they sum for it.

use crate::Result;
use crate::link::Outbox;
use crate::meter::Sum;
use crate::rank::World;
use lockstep_run::link::WorkerMsg;
use lockstep_run::{Report, Step};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tch::Tensor;

/// Collects the numbers of one logging interval.
#[derive(Debug)]
pub(crate) struct LogInterval {
    total: Step,
    loss: Sum,
    samples: u64,
    items: u64,
    since: Instant,
    paused: Duration,
}

/// What a step has to say about itself.
#[derive(Debug)]
pub(crate) struct StepFacts {
    /// The step.
    pub(crate) step: Step,
    /// Passes over the data so far.
    pub(crate) epoch: f64,
    /// Learning rate of its update.
    pub(crate) lr: f64,
    /// Norm of its gradient before clipping, on the device.
    pub(crate) grad_norm: Tensor,
}

impl LogInterval {
    /// An empty interval.
    pub(crate) fn new(total: Step) -> Self {
        Self {
            total,
            loss: Sum::default(),
            samples: 0,
            items: 0,
            since: Instant::now(),
            paused: Duration::ZERO,
        }
    }

    /// Takes in a step: this rank's sums of losses, and how many samples and items the global batch had.
    pub(crate) fn add(&mut self, losses: Vec<Tensor>, global_samples: u64, global_items: u64) -> Result<()> {
        self.samples += global_samples;
        self.items += global_items;
        self.loss.add(losses)
    }

    /// Leaves time that was not spent on training, such as an evaluation's, out of the rate.
    pub(crate) fn pause(&mut self, time: Duration) {
        self.paused += time;
    }

    /// Sums over the ranks and tells the agent; the interval starts anew. Returns rank 0's `wish`, on all ranks: a
    /// decision that only one clock may take travels with the sum that is made anyway.
    ///
    /// Collective: all ranks, after the same step.
    pub(crate) fn close(
        &mut self,
        world: &World,
        outbox: &Outbox,
        facts: &StepFacts,
        wish: bool,
    ) -> Result<bool> {
        let wish = if world.is_first() && wish { 1.0 } else { 0.0 };
        let sums = world.sum("logging", facts.step, &[self.loss.take()?, wish])?;
        let (samples, items) = (std::mem::take(&mut self.samples) as f64, std::mem::take(&mut self.items));
        let elapsed = self.since.elapsed().saturating_sub(std::mem::take(&mut self.paused));
        self.since = Instant::now();
        if world.is_first() {
            let loss = sums[0] / items as f64;
            let samples_per_second = samples / elapsed.as_secs_f64();
            tracing::info!(step = %facts.step, loss, lr = facts.lr, samples_per_second, "trained");
            outbox.send(WorkerMsg::Report(Report {
                step: facts.step,
                total_steps: self.total,
                epoch: facts.epoch,
                loss: Some(loss),
                lr: Some(facts.lr),
                grad_norm: Some(facts.grad_norm.f_double_value(&[])?),
                samples_per_second: Some(samples_per_second),
                eval: BTreeMap::new(),
            }));
        }
        Ok(sums[1] > 0.0)
    }

    /// Tells the agent the results of an evaluation.
    pub(crate) fn evaluated(&self, outbox: &Outbox, step: Step, epoch: f64, eval: BTreeMap<String, f64>) {
        let report = Report { step, total_steps: self.total, epoch, eval, ..Report::default() };
        outbox.send(WorkerMsg::Report(report));
    }
}
