//! Ranks as threads of this process, over Gloo and a store in memory.
#![allow(dead_code, unreachable_pub)] // Each test binary uses a part, as its own module.

pub mod socket_store;

use std::panic;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use lockstep_c10d::{GlooGroup, GlooOptions, MemoryStore, Parameters, PrefixStore, Result, Store};
use tch::{Device, Kind, Tensor, nn};

/// No test takes longer than this; one that would is failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// One rank that is a thread.
#[derive(Clone)]
pub struct Rank {
    pub rank: usize,
    pub world_size: usize,
    pub store: Arc<dyn Store>,
}

impl Rank {
    /// Forms the group of that name, quickly given up.
    pub fn form(&self, name: &str) -> Result<GlooGroup> {
        let store = Arc::new(PrefixStore::new(name, self.store.clone()));
        GlooGroup::form(store, self.rank, self.world_size, &options())
    }
}

pub fn options() -> GlooOptions {
    GlooOptions { collective_timeout: Duration::from_secs(10), ..GlooOptions::default() }
}

/// Runs `body` on `world_size` ranks and returns what each returned, in rank order. Fails when one panics, and when they
/// are not done by the deadline.
pub fn ranks<T: Send + 'static>(
    world_size: usize,
    body: impl Fn(Rank) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let body = Arc::new(body);
    let (sender, results) = mpsc::channel();
    for rank in 0..world_size {
        let (store, body, sender) = (store.clone(), body.clone(), sender.clone());
        thread::spawn(move || {
            let run = || body(Rank { rank, world_size, store });
            let _ = sender.send((rank, panic::catch_unwind(panic::AssertUnwindSafe(run))));
        });
    }
    let deadline = Instant::now() + DEADLINE;
    let mut all: Vec<Option<T>> = (0..world_size).map(|_| None).collect();
    for _ in 0..world_size {
        match results.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((rank, Ok(result))) => all[rank] = Some(result),
            Ok((rank, Err(_))) => panic!("rank {rank} panicked, see above"),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                panic!("ranks still running after {DEADLINE:?}")
            }
        }
    }
    all.into_iter().map(Option::unwrap).collect()
}

/// A small model of two layers, the same on every rank that builds it.
pub struct Model {
    pub params: Parameters,
    hidden: nn::Linear,
    out: nn::Linear,
    _vars: nn::VarStore,
}

impl Model {
    pub fn new() -> Self {
        let vars = nn::VarStore::new(Device::Cpu);
        let hidden = nn::linear(vars.root() / "hidden", 16, 33, Default::default());
        let out = nn::linear(vars.root() / "out", 33, 4, Default::default());
        let params = Parameters::of(&vars).unwrap();
        let _no_grad = tch::no_grad_guard();
        for (i, tensor) in params.tensors().iter().enumerate() {
            tensor.shallow_clone().copy_(&noise(1000 * i as i64, tensor.numel() as i64).view_as(tensor));
        }
        Self { params, hidden, out, _vars: vars }
    }

    /// The mean loss over the samples from `start` on.
    pub fn loss(&self, start: i64, samples: i64) -> Tensor {
        let inputs = noise(start * 16, samples * 16).view([samples, 16]);
        let labels = Tensor::arange_start(start, start + samples, (Kind::Int64, Device::Cpu)).remainder(4);
        inputs.apply(&self.hidden).relu().apply(&self.out).cross_entropy_for_logits(&labels)
    }

    /// All gradients in a row.
    pub fn grads(&self) -> Tensor {
        let grads: Vec<Tensor> =
            self.params.tensors().iter().map(|tensor| tensor.grad().view([-1])).collect();
        Tensor::cat(&grads, 0)
    }

    /// All parameters in a row.
    pub fn values(&self) -> Tensor {
        let values: Vec<Tensor> =
            self.params.tensors().iter().map(|tensor| tensor.detach().view([-1])).collect();
        Tensor::cat(&values, 0)
    }
}

/// Numbers between -0.5 and 0.5 that look random but need no generator, which threads would share.
pub fn noise(start: i64, numel: i64) -> Tensor {
    let x = Tensor::arange_start(start, start + numel, (Kind::Double, Device::Cpu));
    (((x * 12.9898).sin() * 43758.5453).frac() * 0.5).to_kind(Kind::Float)
}

pub fn max_difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

/// The bits, so that -0 and 0 differ and NaN equals itself.
pub fn bits(tensor: &Tensor) -> Vec<u32> {
    Vec::<f32>::try_from(tensor.detach().contiguous().view([-1]))
        .unwrap()
        .into_iter()
        .map(f32::to_bits)
        .collect()
}
