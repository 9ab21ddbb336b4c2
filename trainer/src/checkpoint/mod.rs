//! Saving and loading: what a checkpoint holds, and how it gets there.

mod load;
mod rng;
mod save;
mod state;
mod tensors;
mod weights;

pub(crate) use load::{Held, Loading};
pub(crate) use lockstep_run::checkpoint::{JOB, MODEL};
use rng::check as check_rng;
pub(crate) use rng::states as rng_states;
pub(crate) use save::{Saver, SaverSetup, Snapshot};
pub use state::Dataset;
pub(crate) use state::{Sameness, State, Versions};
pub(crate) use tensors::HostTensor;
pub(crate) use tensors::TensorFile;
pub use weights::load as load_weights;

/// The optimizer's moments.
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";
/// The model with averaged parameters, where the job asks for an average.
pub(crate) const EMA: &str = "ema.safetensors";
/// States of the ranks' generators.
pub(crate) const RNG: &str = "rng.safetensors";
/// Everything that is not a tensor.
pub(crate) const STATE: &str = "state.json";
