//! Buffers that follow what forward passes see, such as the running statistics of a batch normalisation.
//!
//! A forward pass only stages what it saw. Once a step the ranks average that, weighted by their samples, and the buffers
//! change with the update: they are equal on all ranks at every step, and a step that is left out leaves them alone, too.

use super::{Peers, World};
use crate::Result;
use crate::task::TaskError;
use lockstep_c10d::Pending;
use lockstep_run::Step;
use std::cell::{OnceCell, RefCell};
use tch::{Device, Kind, Tensor, nn};

pub(crate) const AVERAGING: &str = "averaging running statistics";

/// Where a model registers such buffers while it is built.
#[derive(Debug, Default)]
pub struct Running {
    slots: RefCell<Vec<Slot>>,
    peers: OnceCell<Peers>,
}

/// A buffer, and where a forward pass puts what it saw.
#[derive(Debug)]
pub struct Tracked {
    /// The buffer, as evaluation uses it.
    pub value: Tensor,
    /// Overwritten by each forward pass of training over at least one sample.
    pub staged: Tensor,
}

#[derive(Debug)]
struct Slot {
    value: Tensor,
    staged: Tensor,
    momentum: f64,
}

impl Running {
    /// Makes the buffer `name` of that shape, in `f32`, filled with `initial`. Each step moves it by the share `momentum`
    /// towards what was staged.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn track(
        &self,
        path: &nn::Path<'_>,
        name: &str,
        shape: &[i64],
        initial: f64,
        momentum: f64,
    ) -> Result<Tracked, TaskError> {
        let options = (Kind::Float, path.device());
        let value = path.add(name, Tensor::f_full(shape, initial, options)?, false);
        let staged = Tensor::f_zeros(shape, options)?;
        let slot = Slot { value: value.shallow_clone(), staged: staged.shallow_clone(), momentum };
        self.slots.borrow_mut().push(slot);
        Ok(Tracked { value, staged })
    }

    /// Asks for the other ranks, whose forward passes a layer is to see as well.
    pub(crate) fn peers(&self) -> Peers {
        self.peers.get_or_init(Peers::default).clone()
    }

    /// Who was asked for; none where no layer did.
    pub(crate) fn asked(&self) -> Option<&Peers> {
        self.peers.get()
    }

    /// Lays all buffers beside one another, so that a step changes them at once. Handles on them stay what they are.
    pub(crate) fn close(self, device: Device) -> Result<Option<RunningBuffers>> {
        let mut slots = self.slots.into_inner();
        if slots.is_empty() {
            return Ok(None);
        }
        let _no_grad = tch::no_grad_guard();
        let (mut values, mut momenta) = (Vec::new(), Vec::new());
        for slot in &slots {
            values.push(slot.value.f_reshape([-1])?);
            momenta.push(Tensor::f_full([slot.value.numel() as i64], slot.momentum, (Kind::Float, device))?);
        }
        let all = RunningBuffers {
            value: Tensor::f_cat(&values, 0)?,
            staged: Tensor::f_cat(&values, 0)?.f_zero_()?,
            momentum: Tensor::f_cat(&momenta, 0)?,
            sums: Tensor::new(),
        };
        let mut begin = 0;
        for slot in &mut slots {
            let (shape, len) = (slot.value.size(), slot.value.numel() as i64);
            let place = |of: &Tensor| of.f_narrow(0, begin, len)?.f_view(shape.as_slice());
            slot.value.f_set_data(&place(&all.value)?)?;
            slot.staged.f_set_data(&place(&all.staged)?)?;
            begin += len;
        }
        Ok(Some(all))
    }
}

/// All such buffers of a model, one after another.
#[derive(Debug)]
pub(crate) struct RunningBuffers {
    value: Tensor,
    staged: Tensor,
    momentum: Tensor,
    /// What this rank's forward passes of this step have staged, times their samples; then the number of samples.
    sums: Tensor,
}

impl RunningBuffers {
    /// A step begins.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let len = self.value.numel() as i64 + 1;
        self.sums = Tensor::f_zeros([len], (Kind::Float, self.value.device()))?;
        let _ = self.staged.f_zero_()?;
        Ok(())
    }

    /// Takes in what a forward pass over so many samples has staged.
    pub(crate) fn take(&mut self, num_samples: usize) -> Result<()> {
        if num_samples == 0 {
            return Ok(());
        }
        let (_no_grad, weight, len) = (tch::no_grad_guard(), num_samples as f64, self.value.numel() as i64);
        let _ = self.sums.f_narrow(0, 0, len)?.f_add_(&self.staged.f_mul_scalar(weight)?)?;
        let _ = self.sums.f_narrow(0, len, 1)?.f_add_scalar_(weight)?;
        Ok(())
    }

    /// Begins to sum over the ranks.
    ///
    /// Collective.
    pub(crate) fn start(&self, world: &World, step: Step) -> Result<Pending> {
        world.start_sum(AVERAGING, step, self.sums.shallow_clone())
    }

    /// Moves the buffers by the sums, unless `skip` holds 1 or the whole step had no sample.
    pub(crate) fn apply(&mut self, sums: &Tensor, skip: &Tensor) -> Result<()> {
        let (_no_grad, len) = (tch::no_grad_guard(), self.value.numel() as i64);
        let num_samples = sums.f_narrow(0, len, 1)?;
        let mean = sums.f_narrow(0, 0, len)?.f_div(&num_samples)?;
        let moved = self.value.f_lerp_tensor(&mean, &self.momentum)?;
        let stays = skip.f_gt(0.0)?.f_logical_or(&num_samples.f_eq(0.0)?)?;
        self.value.f_copy_(&self.value.f_where_self(&stays, &moved)?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_c10d::{GlooGroup, GlooOptions, MemoryStore};
    use lockstep_run::Rank;
    use std::sync::Arc;
    use tch::nn::VarStore;

    /// What two ranks' buffers are after a step in which each has staged something over so many samples.
    fn stepped(staged: [(f64, usize); 2], skip: f64) -> Vec<Vec<f64>> {
        let store = Arc::new(MemoryStore::new());
        let rank = |number: u32| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                let group = GlooGroup::form(store, number as usize, 2, &GlooOptions::default()).unwrap();
                let world = World::new(Rank(number), 2, Arc::new(group));
                let (vars, running) = (VarStore::new(Device::Cpu), Running::default());
                let slow = running.track(&vars.root(), "slow", &[2], 1.0, 0.1).unwrap();
                let fast = running.track(&vars.root(), "fast", &[1], 0.0, 0.5).unwrap();
                let mut all = running.close(Device::Cpu).unwrap().unwrap();
                all.begin().unwrap();
                let (value, num_samples) = staged[number as usize];
                // In two parts, as micro batches are.
                for part in [num_samples / 4, num_samples - num_samples / 4] {
                    let _ = slow.staged.shallow_clone().fill_(value);
                    let _ = fast.staged.shallow_clone().fill_(-value);
                    all.take(part).unwrap();
                }
                let sums = all.start(&world, Step(1)).unwrap();
                let sums = world.wait(sums, AVERAGING, Step(1)).unwrap();
                all.apply(&sums, &Tensor::from(skip as f32)).unwrap();
                let named =
                    |name: &str| Vec::<f64>::try_from(&vars.variables()[name].to_kind(Kind::Double)).unwrap();
                assert_eq!(Vec::<f64>::try_from(slow.value.to_kind(Kind::Double)).unwrap(), named("slow"));
                [named("slow"), named("fast")].concat()
            })
        };
        [rank(0), rank(1)].map(|thread| thread.join().unwrap()).into()
    }

    fn close(found: &[Vec<f64>], expected: [f64; 3]) {
        for rank in found {
            assert!(
                rank.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
                "{found:?} is not {expected:?}"
            );
        }
    }

    #[test]
    fn buffers_move_towards_the_mean_over_all_samples_of_all_ranks() {
        // 4 samples that say 2 and 12 that say 6 are a mean of 5.
        close(&stepped([(2.0, 4), (6.0, 12)], 0.0), [1.4, 1.4, -2.5]);
        close(&stepped([(2.0, 4), (f64::NAN, 0)], 0.0), [1.1, 1.1, -1.0]);
    }

    #[test]
    fn a_step_that_is_left_out_or_has_no_sample_moves_nothing() {
        close(&stepped([(2.0, 4), (6.0, 12)], 1.0), [1.0, 1.0, 0.0]);
        close(&stepped([(f64::NAN, 4), (6.0, 12)], 1.0), [1.0, 1.0, 0.0]);
        close(&stepped([(2.0, 0), (6.0, 0)], 0.0), [1.0, 1.0, 0.0]);
    }
}
