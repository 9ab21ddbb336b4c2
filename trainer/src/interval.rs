//! A logging interval: what rank 0 reports of it, and what the ranks agree on while they sum for it.

use crate::Result;
use crate::clock::Spent;
use crate::link::Outbox;
use crate::meter::Sum;
use crate::rank::{World, replicas};
use crate::task::Unit;
use lockstep_run::link::{TraceOrder, WorkerMsg};
use lockstep_run::{Part, Rank, Report, SlowestRank, Step, StepSeconds};
use std::collections::BTreeMap;
use std::mem::take;
use tch::Tensor;

/// Collects the numbers of one logging interval.
#[derive(Debug)]
pub(crate) struct LogInterval {
    total: Step,
    unit: Unit,
    work: Option<Work>,
    loss: Sum,
    steps: u64,
    samples: u64,
    items: u64,
}

/// How much computing an item is, and how much each rank can do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Work {
    /// Floating-point operations of an item.
    pub(crate) flops_per_item: f64,
    /// Floating-point operations per second of each rank's GPU at most.
    pub(crate) peak_flops: f64,
}

impl Work {
    /// Model FLOP utilisation: which share of what so many ranks can compute at most so many items a second were.
    fn utilization(self, items_per_second: f64, num_ranks: u32) -> f64 {
        items_per_second * self.flops_per_item / (self.peak_flops * f64::from(num_ranks))
    }
}

/// What rank 0 wants of all ranks. A decision that only one of them can take travels with the sum that is made anyway.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Wish {
    /// Save a checkpoint now.
    pub(crate) save: bool,
    /// Record the next steps.
    pub(crate) trace: Option<TraceOrder>,
}

impl Wish {
    const LEN: usize = 3;

    /// As summands; those of ranks that want nothing are zeros.
    fn summands(self) -> [f64; Self::LEN] {
        // Nobody makes so many requests that a double can't hold their number.
        let (number, steps) = self.trace.map_or((0, 0), |trace| (trace.number, trace.steps));
        [if self.save { 1.0 } else { 0.0 }, number as f64, f64::from(steps)]
    }

    /// What the sum over all ranks says.
    fn of([save, number, steps]: [f64; Self::LEN]) -> Self {
        let trace = TraceOrder { number: number as u64, steps: steps as u32 };
        Self { save: save > 0.0, trace: (trace.steps > 0).then_some(trace) }
    }
}

/// What a step has to say about itself.
#[derive(Debug)]
pub(crate) struct StepFacts {
    /// The step.
    pub(crate) step: Step,
    /// Hash of the part of the replica whose turn it is.
    pub(crate) sampled: u128,
    /// Passes over the data so far.
    pub(crate) epoch: f64,
    /// Learning rate of its update.
    pub(crate) lr: f64,
    /// Norm of its gradient before clipping, on the device.
    pub(crate) grad_norm: Tensor,
    /// The factor on the loss, where there is one, on the device.
    pub(crate) loss_scale: Option<Tensor>,
}

impl LogInterval {
    /// An empty interval of a model that counts by this unit.
    pub(crate) fn new(total: Step, unit: Unit, work: Option<Work>) -> Self {
        Self { total, unit, work, loss: Sum::default(), steps: 0, samples: 0, items: 0 }
    }

    /// Steps since it began.
    pub(crate) fn num_steps(&self) -> u64 {
        self.steps
    }

    /// Takes in a step: this rank's sums of losses, and how many samples and items the global batch had.
    pub(crate) fn add(&mut self, losses: Vec<Tensor>, global_samples: u64, global_items: u64) -> Result<()> {
        self.steps += 1;
        self.samples += global_samples;
        self.items += global_items;
        self.loss.add(losses)
    }

    /// Sums over the ranks and tells the agent; the interval, in which this rank's time was `spent` so, starts anew. Returns
    /// rank 0's `wish`, on all ranks.
    ///
    /// Collective: all ranks, after the same step.
    ///
    /// # Errors
    /// [`Error::Diverged`](crate::Error::Diverged) where what ranks hold differs.
    pub(crate) fn close(
        &mut self,
        world: &World,
        outbox: &Outbox,
        facts: &StepFacts,
        spent: &Spent,
        wish: Wish,
    ) -> Result<Wish> {
        let wish = if world.is_first() { wish } else { Wish::default() };
        let mut mine = vec![self.loss.take()?];
        mine.extend(wish.summands());
        mine.extend(shares(spent, take(&mut self.steps), world.rank(), world.size()));
        let place = mine.len();
        mine.extend(placed(facts.sampled, world.rank(), world.size()));
        let sums = world.sum("logging", facts.step, &mine)?;
        let held: Vec<_> = replicas::ranked(words(&sums[place..])).collect();
        replicas::judge(&held, world.rank(), facts.step)?;
        let (samples, items) = (take(&mut self.samples) as f64, take(&mut self.items) as f64);
        if world.is_first() {
            let loss = sums[0] / items;
            let samples_per_second = samples / spent.total();
            let (step_seconds, slowest_rank) = of_all(&sums[1 + Wish::LEN..place]);
            tracing::info!(step = %facts.step, loss, lr = facts.lr, samples_per_second, "trained");
            outbox.send(WorkerMsg::Report(Box::new(Report {
                step: facts.step,
                total_steps: self.total,
                epoch: facts.epoch,
                loss: Some(loss),
                lr: Some(facts.lr),
                grad_norm: Some(facts.grad_norm.f_double_value(&[])?),
                loss_scale: facts.loss_scale.as_ref().map(|scale| scale.f_double_value(&[])).transpose()?,
                samples_per_second: Some(samples_per_second),
                tokens_per_second: (self.unit == Unit::Token).then(|| items / spent.total()),
                mfu: self.work.map(|work| work.utilization(items / spent.total(), world.size())),
                step_seconds: Some(step_seconds),
                slowest_rank,
                eval: BTreeMap::new(),
            })));
        }
        Ok(Wish::of([sums[1], sums[2], sums[3]]))
    }

    /// Tells the agent the results of an evaluation.
    pub(crate) fn evaluated(&self, outbox: &Outbox, step: Step, epoch: f64, eval: BTreeMap<String, f64>) {
        let report = Report { step, total_steps: self.total, epoch, eval, ..Report::default() };
        outbox.send(WorkerMsg::Report(Box::new(report)));
    }
}

/// What a rank adds to the sum over all of them: its part of the mean of each part's seconds in a step, and, in a place of its
/// own, the seconds of its work.
fn shares(spent: &Spent, steps: u64, rank: Rank, size: u32) -> Vec<f64> {
    let seconds = StepSeconds::of(|part| spent.seconds(part) / steps.max(1) as f64);
    let parts = Part::ALL.into_iter().map(|part| seconds.get(part) / f64::from(size));
    parts.chain((0..size).map(|place| if place == rank.0 { seconds.work() } else { 0.0 })).collect()
}

/// A number of 32 bits passes through a sum of doubles unchanged.
const QUARTERS: usize = 4;

/// What a rank adds to the sum so that all hear this word of its own: its quarters, each in a place of its own.
fn placed(word: u128, rank: Rank, size: u32) -> Vec<f64> {
    let mut all = vec![0.0; size as usize * QUARTERS];
    let quarters = (0..QUARTERS).map(|quarter| f64::from((word >> (32 * quarter)) as u32));
    all.iter_mut().skip(rank.0 as usize * QUARTERS).zip(quarters).for_each(|(place, mine)| *place = mine);
    all
}

/// All ranks' words, in rank order.
fn words(sums: &[f64]) -> Vec<u128> {
    let word =
        |quarters: &[f64]| quarters.iter().rev().fold(0, |word, quarter| word << 32 | *quarter as u128);
    sums.chunks_exact(QUARTERS).map(word).collect()
}

/// What the sum of all ranks' [`shares`] says.
fn of_all(sums: &[f64]) -> (StepSeconds, Option<SlowestRank>) {
    let (parts, works) = sums.split_at(Part::ALL.len());
    let slowest = (0..).zip(works).max_by(|(_, a), (_, b)| a.total_cmp(b)).filter(|_| works.len() > 1);
    let slowest = slowest.map(|(rank, work)| SlowestRank { rank: Rank(rank), work_seconds: *work });
    (StepSeconds::of(|part| parts[part as usize]), slowest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::StepClock;
    use std::time::{Duration, Instant};

    /// Two steps of a rank that works so long in each, and waits the rest of 10 ms.
    fn two_steps(work_ms: u64) -> Spent {
        let begin = Instant::now();
        let mut clock = StepClock::new(begin);
        for step in 0..2 {
            clock.end(Part::Forward, begin + Duration::from_millis(10 * step + work_ms));
            clock.end(Part::Communication, begin + Duration::from_millis(10 * step + 10));
        }
        clock.take()
    }

    #[test]
    fn what_is_computed_is_a_share_of_what_all_ranks_could() {
        let work = Work { flops_per_item: 1e9, peak_flops: 1e12 };
        assert_eq!(work.utilization(800.0, 2), 0.4);
    }

    #[test]
    fn what_rank_0_wants_all_ranks_hear() {
        let trace = Some(TraceOrder { number: 4_000_000_001, steps: 100 });
        for wish in [Wish::default(), Wish { save: true, trace: None }, Wish { save: false, trace }] {
            let others = Wish::default().summands();
            let mut sums = wish.summands();
            sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += 3.0 * other);
            assert_eq!(Wish::of(sums), wish);
        }
    }

    #[test]
    fn every_rank_s_word_passes_through_the_sum() {
        let all = [u128::MAX, 0, 0x0123_4567_89ab_cdef_0011_2233_4455_6677, 1 << 127];
        let mine = (0..).zip(all).map(|(rank, word)| placed(word, Rank(rank), all.len() as u32));
        let sums = mine.reduce(|a, b| a.iter().zip(&b).map(|(a, b)| a + b).collect()).unwrap();
        assert_eq!(words(&sums), all);
    }

    #[test]
    fn ranks_add_up_to_their_mean_and_name_the_slowest() {
        for (work_ms, slowest) in [(&[2, 8, 5][..], Some((1, 0.008))), (&[4], None)] {
            let size = work_ms.len() as u32;
            let all = (0..).zip(work_ms).map(|(rank, ms)| shares(&two_steps(*ms), 2, Rank(rank), size));
            let sums = all.reduce(|a, b| a.iter().zip(&b).map(|(a, b)| a + b).collect()).unwrap();
            let (seconds, found) = of_all(&sums);
            let mean = work_ms.iter().sum::<u64>() as f64 / f64::from(size) / 1e3;
            assert!((seconds.forward - mean).abs() < 1e-12, "{seconds:?}");
            assert!((seconds.total() - 0.01).abs() < 1e-12, "{seconds:?}");
            let expected = slowest.map(|(rank, work_seconds)| SlowestRank { rank: Rank(rank), work_seconds });
            assert_eq!(found, expected);
        }
    }
}
