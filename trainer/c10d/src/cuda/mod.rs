//! GPUs: libtorch's CUDA half and NCCL, opened at run time and only where there is a GPU. So there is one program for CPUs
//! and GPUs, and it links neither.

mod driver;
mod library;
mod missing;

use std::ffi::c_int;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::ffi::{LsGroup, Owned, Raised};
use crate::group::milliseconds;
use crate::store::BridgedStore;
use library::Functions;
pub use missing::CudaMissing;
use missing::version;

/// The GPU that this process computes on, once [`Cuda::open`] found one.
static BOUND: OnceLock<Cuda> = OnceLock::new();

/// The code for GPUs, without a GPU: what [`Cuda`] is made of, and what a test can open anywhere.
pub struct CudaCode {
    functions: Functions,
}

/// One GPU, which this process computes on. Cheap to clone.
#[derive(Clone)]
pub struct Cuda {
    code: Arc<CudaCode>,
    index: u32,
    about: Arc<About>,
}

#[derive(Debug)]
struct About {
    name: String,
    capability: (i32, i32),
    memory_bytes: u64,
}

/// Which of a node's GPUs a rank takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The rank's number on its node.
    pub local_rank: u32,
    /// The GPU's number among those that the process sees.
    pub index: u32,
}

impl Place {
    /// What the driver calls the GPU there, or the slice of one, in every process and on every machine: 16 bytes. None where it
    /// doesn't tell. Asks the driver and nothing else.
    pub fn uuid(self) -> Option<[u8; 16]> {
        driver::uuid(self.index)
    }
}

/// A GPU's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaMemory {
    /// Held by tensors of this process. Unit: bytes.
    pub allocated: u64,
    /// Taken from the GPU by this process, for tensors to come. Unit: bytes.
    pub reserved: u64,
    /// The most that tensors of this process ever held. Unit: bytes.
    pub peak: u64,
    /// Left on the GPU, for all processes. Unit: bytes.
    pub free: u64,
}

impl CudaCode {
    /// Opens libtorch's CUDA half and the library for NCCL. To be done before libtorch is asked for anything: it looks once
    /// whether it has a CUDA half.
    ///
    /// # Errors
    /// What can't be opened, and where it comes from.
    pub fn open() -> Result<Self, CudaMissing> {
        Ok(Self { functions: Functions::open()? })
    }

    /// The versions that were found, for people: `libtorch 2.11.0, CUDA 13.0, NCCL 2.28.9`.
    pub fn versions(&self) -> String {
        let Ok(found) = self.functions.versions() else { return "versions unknown".to_owned() };
        let (cuda, nccl) = (version(found.cuda), found.nccl);
        let libtorch = library::text(&found.libtorch);
        format!(
            "libtorch {libtorch}, CUDA {cuda}, NCCL {}.{}.{}",
            nccl / 10_000,
            nccl / 100 % 100,
            nccl % 100
        )
    }

    /// How many GPUs libtorch sees. None without a driver.
    ///
    /// # Errors
    /// A driver that fails, in CUDA's words.
    pub fn num_devices(&self) -> crate::Result<u32> {
        self.functions.num_devices().map_err(|raised| raised.torch("counting GPUs"))
    }
}

impl Cuda {
    /// Binds this process to one GPU. To be called once, before libtorch is asked for anything, on the thread that trains.
    ///
    /// # Errors
    /// What is missing, and where it comes from.
    pub fn open(place: Place) -> Result<Self, CudaMissing> {
        let Place { local_rank, index } = place;
        let count = driver::count_gpus()?;
        if index >= count {
            return Err(CudaMissing::TooFew { local_rank, index, count });
        }
        let code = CudaCode::open()?;
        let broken = |operation| {
            move |raised: Raised| {
                // CUDA goes on with advice for debuggers.
                let message = raised.message.lines().next().unwrap_or_default().to_owned();
                CudaMissing::Broken { index, operation, message }
            }
        };
        code.functions.bind(index).map_err(broken("taking it"))?;
        let found = code.functions.device(index).map_err(broken("looking at it"))?;
        if !tch::Cuda::is_available() {
            return Err(CudaMissing::TooLate);
        }
        let about = About {
            name: library::text(&found.name),
            capability: (found.major, found.minor),
            memory_bytes: found.memory_bytes,
        };
        let cuda = Self { code: Arc::new(code), index, about: Arc::new(about) };
        Ok(BOUND.get_or_init(|| cuda).clone())
    }

    /// The GPU that this process was bound to, if any.
    pub(crate) fn bound() -> Option<&'static Self> {
        BOUND.get()
    }

    /// Where its tensors are.
    pub fn device(&self) -> tch::Device {
        tch::Device::Cuda(self.index as usize)
    }

    /// What it is, for people: `NVIDIA H200`.
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// Its whole memory. Unit: bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.about.memory_bytes
    }

    /// As [`CudaCode::versions`].
    pub fn versions(&self) -> String {
        self.code.versions()
    }

    /// Whether it computes in bf16 by itself: from compute capability 8.0 (Ampere) on.
    pub fn has_bf16(&self) -> bool {
        self.about.capability.0 >= 8
    }

    /// How full its memory is. Doesn't wait for it.
    ///
    /// # Errors
    /// A GPU that has failed, in CUDA's words.
    pub fn memory(&self) -> crate::Result<CudaMemory> {
        let found = self.code.functions.memory(self.index);
        let found = found.map_err(|raised| raised.torch("asking for the GPU's memory"))?;
        Ok(CudaMemory {
            allocated: found.allocated_bytes,
            reserved: found.reserved_bytes,
            peak: found.peak_allocated_bytes,
            free: found.free_bytes,
        })
    }

    /// From now on only kernels whose bits are the same each time. cuBLAS and NCCL are pinned by their environment.
    ///
    /// # Errors
    /// None that is known of.
    pub fn use_deterministic_kernels(&self) -> crate::Result<()> {
        let chosen = self.code.functions.use_deterministic_kernels();
        chosen.map_err(|raised| raised.torch("choosing deterministic kernels"))
    }

    /// Starts its generator anew.
    pub(crate) fn seed(&self, seed: u64) -> Result<(), Raised> {
        self.code.functions.seed(self.index, seed)
    }

    /// Connects to the other ranks, on whichever thread it is called. Blocks until they have come.
    pub(crate) fn new_group(
        &self,
        store: &BridgedStore,
        ranks: (c_int, c_int),
        timeout: Duration,
    ) -> Result<Owned<LsGroup>, Raised> {
        // Else CUDA would take the first GPU for this thread's own.
        self.code.functions.bind(self.index)?;
        self.code.functions.new_group(store, ranks, self.index, milliseconds(timeout))
    }
}

impl fmt::Debug for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cuda").field("index", &self.index).field("about", &self.about).finish_non_exhaustive()
    }
}

impl fmt::Debug for CudaCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CudaCode").field("versions", &self.versions()).finish()
    }
}
