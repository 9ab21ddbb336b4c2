//! DDP: gradients are averaged over the ranks while backward is still running.

use std::ffi::{CString, c_int};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tch::{Device, Tensor};
use xxhash_rust::xxh3::xxh3_64;

use crate::exchange::Way;
use crate::ffi::{self, LsBuckets, LsReducer, Owned, Raised, check, raw, raw_list};
use crate::group::{Failure, OwnedReducer, Shared, State};
use crate::{BucketPlan, Error, Exchange, ParamSize, Parameters, ProcessGroup, Result};

/// Averages gradients over the ranks of a group, as PyTorch's `DistributedDataParallel` does: libtorch's own reducer, with
/// buckets that never change.
///
/// A step is any number of [`accumulate`](Self::accumulate), then one [`backward`](Self::backward), after which every
/// parameter's gradient is the average over the ranks, bit-identical on all of them. Parameters must start equal:
/// [`broadcast_coalesced`](ProcessGroup::broadcast_coalesced) them first.
///
/// It stays on the thread that made it. When any operation of the group fails on that thread its connections are closed at
/// once, the reducer's included; when another thread aborts the group, at the reducer's next call or drop.
pub struct Reducer {
    shared: Arc<Shared>,
    id: u64,
    not_send: PhantomData<*const ()>,
}

impl Reducer {
    /// Checks that all ranks hold the same model and plan, and hooks itself to the parameters' gradients.
    ///
    /// # Collective
    ///
    /// All ranks call it, with equal parameters and plans.
    ///
    /// # Errors
    ///
    /// [`Error::Plan`] if the plan does not fit the parameters, [`Error::Mismatch`] on all ranks if they differ: the group
    /// stays usable. Otherwise as any collective.
    pub fn new(group: &dyn ProcessGroup, params: &Parameters, plan: &BucketPlan) -> Result<Self> {
        Self::exchanging(group, params, plan, Exchange::Whole)
    }

    /// The same, for gradients that are exchanged in other numbers.
    ///
    /// # Collective
    ///
    /// As [`new`](Self::new), with the same `exchange` on all ranks.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn exchanging(
        group: &dyn ProcessGroup,
        params: &Parameters,
        plan: &BucketPlan,
        exchange: Exchange,
    ) -> Result<Self> {
        let on_cpu = params.device() == Device::Cpu;
        let way = |sizes: &[ParamSize]| exchange.way(plan, sizes, group.world_size(), on_cpu);
        Self::by(group, params, plan, exchange, way)
    }

    fn by(
        group: &dyn ProcessGroup,
        params: &Parameters,
        plan: &BucketPlan,
        exchange: Exchange,
        way: impl FnOnce(&[ParamSize]) -> Way,
    ) -> Result<Self> {
        let sizes = params.sizes()?;
        plan.check(&sizes)?;
        verify(group, params, plan, exchange)?;
        let shared = Arc::clone(group.c10d().shared());
        let (id, way) = (next_id(), way(&sizes));
        shared.run("Reducer::new", |state| {
            let handle = make(state, params, plan, way).map_err(Failure::Refused)?;
            state.reducers.push(OwnedReducer { id, thread: thread::current().id(), handle });
            Ok(())
        })?;
        Ok(Self { shared, id, not_send: PhantomData })
    }

    /// Backward of a micro batch whose gradients are only added up on this rank. No collective, but for layers that are one.
    ///
    /// # Errors
    ///
    /// A refusal of libtorch aborts the group: the other ranks would wait for this one in vain. So does a layer that has lost a peer, as
    /// [`Error::PeerLost`].
    pub fn accumulate(&mut self, loss: &Tensor) -> Result<()> {
        require_scalar("accumulate", loss)?;
        // SAFETY: the tensor lives through the call. The reducer is not told to expect gradients, so its hooks do nothing.
        self.run("accumulate", |_| unsafe { ffi::ls_backward(raw(loss)) })
    }

    /// Backward of the last micro batch of a step: averages what was added up, over the ranks.
    ///
    /// Returns how much of that time was exposed communication: from the moment when this rank has its last gradient until
    /// all are averaged. It holds the exchange that nothing overlaps with, and the wait for ranks that are slower. The clock
    /// is the host's, which may be set meanwhile.
    ///
    /// # Collective
    ///
    /// All ranks call it once a step.
    ///
    /// # Errors
    ///
    /// A parameter that got no gradient is [`Error::Torch`], with its name's index; as is every other refusal of libtorch.
    /// Any failure aborts the group.
    pub fn backward(&mut self, loss: &Tensor) -> Result<Duration> {
        require_scalar("backward", loss)?;
        let mut exposed_ns = 0;
        // SAFETY: the reducer is live and of this thread, and the tensor and the number live through the call.
        self.run("backward", |reducer| unsafe {
            ffi::ls_reducer_backward(reducer, raw(loss), &mut exposed_ns)
        })?;
        // The shim's is never below 0.
        Ok(Duration::from_nanos(exposed_ns.cast_unsigned()))
    }

    fn run(&mut self, operation: &'static str, call: impl FnOnce(*mut LsReducer) -> c_int) -> Result<()> {
        let id = self.id;
        self.shared.run(operation, |state| {
            let handle =
                state.reducers.iter().find(|reducer| reducer.id == id).map(|reducer| &reducer.handle);
            // `run` gets here only while the group is live, and then so are its reducers.
            let reducer = handle.ok_or_else(|| {
                Failure::Refused(Raised { code: ffi::LS_TORCH, message: "the reducer was closed".to_owned() })
            })?;
            check(call(reducer.as_ptr())).map_err(|raised| match raised.code {
                ffi::LS_TORCH => Failure::Refused(raised),
                _ => Failure::Group(raised),
            })
        })
    }
}

impl Drop for Reducer {
    fn drop(&mut self) {
        self.shared.lock().reducers.retain(|reducer| reducer.id != self.id);
    }
}

impl fmt::Debug for Reducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reducer").field("rank", &self.shared.rank()).finish_non_exhaustive()
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Makes every rank know whether all ranks agree. libtorch's own check fails on the ranks that differ from rank 0, and
/// leaves the others waiting; and it looks at shapes only.
fn verify(
    group: &dyn ProcessGroup,
    params: &Parameters,
    plan: &BucketPlan,
    exchange: Exchange,
) -> Result<()> {
    let list = raw_list(params.tensors());
    let verdict = group.c10d().shared().run("Reducer::new", |state| {
        // SAFETY: the group is live and locked; the list and its tensors live through the call.
        match check(unsafe { ffi::ls_reducer_verify(state.group(), list.as_ptr(), list.len()) }) {
            Err(raised) if raised.code != ffi::LS_TORCH => Err(Failure::Group(raised)),
            verdict => Ok(verdict),
        }
    })?;
    let mine = [i64::from(verdict.is_err()), digest(params, plan, exchange)?];
    let mine = Tensor::f_from_slice(&mine).and_then(|mine| mine.f_to_device(params.device()));
    let mine = mine.map_err(|error| Error::torch("Reducer::new", error))?;
    let all = group.all_gather(&mine)?;
    let all: Vec<Vec<i64>> = Vec::try_from(&all).map_err(|error| Error::torch("Reducer::new", error))?;
    let ranks = |differs: &dyn Fn(&[i64]) -> bool| -> Vec<usize> {
        all.iter().enumerate().filter(|(_, answer)| differs(answer)).map(|(rank, _)| rank).collect()
    };
    let detail = verdict.err().map(|raised| raised.message);
    for (what, ranks) in [
        ("the number or shapes of their parameters", ranks(&|answer| answer[0] != 0)),
        (
            "their parameters' names or kinds, in the bucket plan or in the numbers of the exchange",
            ranks(&|answer| answer[1] != all[0][1]),
        ),
    ] {
        if !ranks.is_empty() {
            return Err(Error::Mismatch { ranks, what, detail });
        }
    }
    Ok(())
}

fn digest(params: &Parameters, plan: &BucketPlan, exchange: Exchange) -> Result<i64> {
    let sizes: Vec<String> = params.sizes()?.iter().map(|size| format!("{size:?}")).collect();
    let text = serde_json::to_vec(&(params.names(), sizes, plan, exchange.number()));
    let text = text.map_err(|error| Error::invalid("Reducer::new", error.to_string()))?;
    Ok(xxh3_64(&text).cast_signed())
}

fn make(state: &State, params: &Parameters, plan: &BucketPlan, way: Way) -> Result<Owned<LsReducer>, Raised> {
    let c_names: Result<Vec<_>, _> = params.names().iter().map(|name| CString::new(name.as_str())).collect();
    let c_names = c_names.map_err(|error| Raised { code: ffi::LS_TORCH, message: error.to_string() })?;
    let names: Vec<_> = c_names.iter().map(|name| name.as_ptr()).collect();
    let list = raw_list(params.tensors());
    let lengths: Vec<usize> = plan.buckets().iter().map(Vec::len).collect();
    let indices: Vec<usize> = plan.buckets().concat();
    let buckets = LsBuckets {
        lengths: lengths.as_ptr(),
        count: lengths.len(),
        indices: indices.as_ptr(),
        // `check` found the caps below 2^63.
        first_cap_bytes: plan.first_cap_bytes().cast_signed(),
        cap_bytes: plan.cap_bytes().cast_signed(),
    };
    // SAFETY: the group is live and locked. The lists live through the call; `lengths` sums up to the length of
    // `indices`, whose entries are below the number of parameters, by `check`.
    Owned::make(|out| unsafe {
        ffi::ls_reducer_new(
            state.group(),
            list.as_ptr(),
            names.as_ptr(),
            list.len(),
            buckets,
            way.code(),
            out,
        )
    })
}

/// Refuses a loss that backward would refuse halfway.
fn require_scalar(operation: &'static str, loss: &Tensor) -> Result<()> {
    if !loss.defined() || !loss.requires_grad() || loss.numel() != 1 {
        let problem = "the loss must be a single number that depends on a parameter";
        return Err(Error::invalid(operation, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GlooGroup, GlooOptions, MemoryStore};
    use tch::{Kind, nn};

    /// What gradients are averaged to by a way, of two ranks whose loss is so many times the sum of the weights.
    fn averaged(way: Way) -> Vec<Vec<f64>> {
        let store = Arc::new(MemoryStore::default());
        let rank = |number: usize| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                let group = GlooGroup::form(store, number, 2, &GlooOptions::default()).unwrap();
                let vars = nn::VarStore::new(Device::Cpu);
                let weights = [vars.root().zeros("a", &[40]), vars.root().zeros("b", &[3])];
                let params = Parameters::of(&vars).unwrap();
                let plan = BucketPlan::new(&params.sizes().unwrap(), 64, 64).unwrap();
                let mut reducer = Reducer::by(&group, &params, &plan, Exchange::Whole, |_| way).unwrap();
                let mut steps = Vec::new();
                for factor in [1.0, 0.3] {
                    params.zero_grad().unwrap();
                    let sum = weights[0].sum(Kind::Float) + weights[1].sum(Kind::Float) * 3.0;
                    reducer.backward(&(sum * (factor * (1.0 + 4.0 * number as f64)))).unwrap();
                    steps.extend(weights.iter().map(|w| w.grad().double_value(&[0])));
                }
                steps
            })
        };
        [rank(0), rank(1)].map(|thread| thread.join().unwrap()).into()
    }

    #[test]
    fn a_sum_that_the_host_waits_for_is_the_same() {
        let (waited, plain) = (averaged(Way::Waited), averaged(Way::AllReduce));
        assert_eq!(waited[0], waited[1]);
        let expected = [3.0, 9.0, 0.9, 2.7];
        for found in [&waited[0], &plain[0]] {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        }
    }
}
