//! Why there is no GPU to compute on.

/// What is missing between this process and a GPU, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaMissing {
    /// No driver's library, as on a machine without a GPU, and in a container that was given none.
    #[error(
        "there is no NVIDIA driver: {reason}. On a machine with a GPU, install its driver; a container is given the \
         driver with its GPU, by the NVIDIA container toolkit"
    )]
    Driver {
        /// The loader's words.
        reason: String,
    },
    /// The driver is there and doesn't work.
    #[error("the NVIDIA driver does not start: {call} returned {code}. `nvidia-smi` tells more")]
    DriverBroken {
        /// Which of the driver's functions failed.
        call: &'static str,
        /// A `CUresult`.
        code: i32,
    },
    /// The driver works, and shows this process no GPU.
    #[error("the NVIDIA driver shows this process no GPU. CUDA_VISIBLE_DEVICES is {}", visible.as_deref().unwrap_or("not set"))]
    Device {
        /// `CUDA_VISIBLE_DEVICES`, which hides GPUs.
        visible: Option<String>,
    },
    /// The driver is older than libtorch's CUDA.
    #[error(
        "the NVIDIA driver is for CUDA {}, and libtorch {libtorch} needs CUDA {}: update the driver to 580 or later",
        version(*driver), version(*needed), libtorch = crate::LIBTORCH_VERSION
    )]
    DriverTooOld {
        /// What it supports, such as 12040 for CUDA 12.4.
        driver: i32,
        /// What is needed at least.
        needed: i32,
    },
    /// libtorch's CUDA half can't be opened.
    #[error(
        "libtorch's CUDA half can't be opened: {reason}. It is in the wheel torch=={libtorch}, whose folder torch/lib \
         belongs into LD_LIBRARY_PATH, and in the image's CUDA variant",
        libtorch = crate::LIBTORCH_VERSION
    )]
    Libtorch {
        /// The loader's words.
        reason: String,
    },
    /// Lockstep's own library for NCCL can't be opened.
    #[error(
        "{LIBRARY} can't be opened: {reason}. `make nccl` builds it, and it lies in `lib` beside the programs' folder"
    )]
    Nccl {
        /// The loader's words.
        reason: String,
    },
    /// The library was built for another libtorch.
    #[error("{LIBRARY} was built for libtorch {found}, and this program for {expected}: build both anew", expected = crate::LIBTORCH_VERSION)]
    OtherVersion {
        /// Its libtorch.
        found: String,
    },
    /// libtorch looked for a GPU before its CUDA half was there, and remembers that there was none.
    #[error(
        "libtorch was used before its CUDA half was opened: call lockstep_trainer::main first thing in `main`"
    )]
    TooLate,
    /// There are fewer GPUs than ranks on this node.
    #[error(
        "local rank {local_rank} needs GPU {index}, and this node shows {count}: lower ranksPerNode, give the node more \
         GPUs, or train on CPUs with `device: cpu`"
    )]
    TooFew {
        /// Which of the node's ranks.
        local_rank: u32,
        /// The GPU that is this rank's.
        index: u32,
        /// How many there are.
        count: u32,
    },
    /// A call of the library failed, which says why.
    #[error("GPU {index}: {operation} failed: {message}")]
    Broken {
        /// Which GPU.
        index: u32,
        /// What was tried.
        operation: &'static str,
        /// CUDA's words.
        message: String,
    },
}

/// The file's name, as the loader looks for it.
pub(super) const LIBRARY: &str = "liblockstep_nccl.so";

/// The loader's own words, which name the file; the error only says that it failed.
pub(super) fn reason(error: &libloading::Error) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// `13.0` of 13000.
pub(super) fn version(number: i32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}
