//! Where a rank computes: decided once, here, and handed down.

use crate::{Error, Result};
use lockstep_c10d::{Cuda, CudaMissing, Place};
use lockstep_job::{Device as Wanted, JobSpec, Precision, Reproducible};
use lockstep_run::Rank;
use lockstep_run::link::Start;
use tch::Device;

/// What this process has to compute on, before the others were asked.
#[derive(Debug, Default)]
pub struct Found {
    cuda: Option<Cuda>,
    /// Why there is no GPU, where that is worth a word.
    missing: Option<CudaMissing>,
}

/// What all ranks compute on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Compute {
    /// This rank's GPU; none on CPUs.
    pub(crate) cuda: Option<Cuda>,
}

impl Found {
    /// Takes this rank's GPU, where the job wants one. To be called before libtorch is asked for anything, on the thread that
    /// trains.
    ///
    /// # Errors
    /// What is missing, where the job or its pod says that there is a GPU.
    pub(crate) fn look(job: &JobSpec, start: &Start) -> Result<Self> {
        if job.device == Wanted::Cpu {
            return Ok(Self::default());
        }
        let promised = start.gpus.promised > 0;
        let found = Self::of(Cuda::open(place(start)), start.rank, job.device, promised)?;
        if let Some(cuda) = &found.cuda {
            settle(cuda, job, start.rank)?;
        }
        Ok(found)
    }

    /// What a look means for a job that wants `wanted`.
    fn of(looked: Result<Cuda, CudaMissing>, rank: Rank, wanted: Wanted, promised: bool) -> Result<Self> {
        match looked {
            Ok(cuda) => Ok(Self { cuda: Some(cuda), missing: None }),
            Err(missing) if wanted == Wanted::Cuda || promised => {
                Err(Error::NoGpu { rank, promised, missing })
            }
            // A machine without GPUs is what most laptops are.
            Err(CudaMissing::Driver { .. } | CudaMissing::Device { .. }) => Ok(Self::default()),
            Err(missing) => Ok(Self { cuda: None, missing: Some(missing) }),
        }
    }

    /// Whether this rank has a GPU.
    pub(crate) fn has_gpu(&self) -> bool {
        self.cuda.is_some()
    }

    /// What all compute on, once it is known which ranks have a GPU; and what the user should know of it.
    pub(crate) fn agree(&self, rank: Rank, of_rank: &[bool]) -> (Compute, Option<String>) {
        if of_rank.iter().all(|has| *has) {
            return (Compute { cuda: self.cuda.clone() }, None);
        }
        let with: Vec<_> = (0..of_rank.len()).filter(|rank| of_rank[*rank]).collect();
        let warning = match &self.missing {
            Some(missing) => Some(format!("rank {rank} computes on the CPU: {missing}")),
            None if self.cuda.is_some() && with.first() == Some(&(rank.0 as usize)) => {
                let without = of_rank.len() - with.len();
                Some(format!("all compute on CPUs: {without} of {} ranks have no GPU", of_rank.len()))
            }
            None => None,
        };
        (Compute::default(), warning)
    }
}

/// Which of its node's GPUs a rank takes.
pub(crate) fn place(start: &Start) -> Place {
    Place { local_rank: start.local_rank, index: start.gpus.first + start.local_rank }
}

/// Makes the GPU compute as the job wants it.
fn settle(cuda: &Cuda, job: &JobSpec, rank: Rank) -> Result<()> {
    let gib = cuda.memory_bytes() as f64 / f64::from(1 << 30);
    tracing::info!(
        gpu = cuda.name(),
        memory = format!("{gib:.0} GiB"),
        found = cuda.versions(),
        "computes on a GPU"
    );
    let wants_bf16 = matches!(job.train.precision, Precision::Bf16 | Precision::Bf16Params);
    if wants_bf16 && !cuda.has_bf16() {
        let reason = format!(
            "train.precision is bf16, which the GPU of rank {rank} ({}) doesn't compute in; use fp16 or fp32, or a GPU \
             from Ampere on",
            cuda.name()
        );
        return Err(Error::Job { reason });
    }
    if job.reproducible == Some(Reproducible::Fixed) {
        cuda.use_deterministic_kernels()?;
    }
    Ok(())
}

impl Compute {
    /// Where tensors are.
    pub(crate) fn device(&self) -> Device {
        self.cuda.as_ref().map_or(Device::Cpu, Cuda::device)
    }

    /// Says more of an error that means a full GPU.
    pub(crate) fn explain(&self, rank: Rank, error: Error) -> Error {
        let text = error.to_string();
        if self.cuda.is_none() || !text.contains(OUT_OF_MEMORY) {
            return error;
        }
        let held = self.cuda.as_ref().and_then(|cuda| cuda.memory().ok());
        let held = held.map_or_else(String::new, |held| {
            format!(
                " Tensors of this rank held {} MiB, at most {} MiB.",
                held.allocated >> 20,
                held.peak >> 20
            )
        });
        Error::GpuMemory { rank, said: essence(&text) + &held }
    }
}

/// How libtorch begins.
const OUT_OF_MEMORY: &str = "CUDA out of memory";

/// What was asked and what was free; not libtorch's advice, which is about environment variables.
fn essence(text: &str) -> String {
    let text = text.find(OUT_OF_MEMORY).map_or(text, |at| &text[at..]);
    let text = text.split(" If reserved but unallocated memory").next().unwrap_or(text);
    text.lines().next().unwrap_or(text).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(missing: CudaMissing, wanted: Wanted, promised: bool) -> Result<Found> {
        Found::of(Err(missing), Rank(1), wanted, promised)
    }

    #[test]
    fn a_machine_without_a_gpu_is_an_error_only_where_one_was_meant() {
        let none = || CudaMissing::Device { visible: None };
        let quiet = of(none(), Wanted::Auto, false).unwrap();
        assert!(!quiet.has_gpu() && quiet.missing.is_none());
        for (wanted, promised) in [(Wanted::Cuda, false), (Wanted::Auto, true)] {
            let error = of(none(), wanted, promised).unwrap_err();
            assert!(error.to_string().contains("CUDA_VISIBLE_DEVICES is not set"), "{error}");
            assert_eq!(error.kind().is_fatal(), !promised, "another machine may have one");
        }
    }

    #[test]
    fn a_gpu_that_can_not_be_used_is_told_and_the_cpus_are_taken() {
        let old = CudaMissing::DriverTooOld { driver: 12_040, needed: 13_000 };
        let found = of(old, Wanted::Auto, false).unwrap();
        let (compute, warning) = found.agree(Rank(1), &[false, false]);
        assert_eq!(compute.device(), Device::Cpu);
        let warning = warning.unwrap();
        assert!(warning.contains("rank 1") && warning.contains("CUDA 12.4"), "{warning}");
        assert!(Found::default().agree(Rank(0), &[false, false]).1.is_none());
        assert!(Found::default().agree(Rank(0), &[false, true]).1.is_none(), "the one with a GPU tells");
    }

    #[test]
    fn a_full_gpu_is_told_with_what_helps() {
        let said = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 8.00 GiB of which \
                    3.00 MiB is free. If reserved but unallocated memory is large try setting X\nException raised from";
        assert!(essence(said).ends_with("3.00 MiB is free."), "{}", essence(said));
        let error = Error::GpuMemory { rank: Rank(0), said: essence(said) }.to_string();
        assert!(error.contains("train.microBatch") && error.contains("20.00 MiB"), "{error}");
        let other = Error::Job { reason: OUT_OF_MEMORY.to_owned() };
        assert!(
            matches!(Compute::default().explain(Rank(0), other), Error::Job { .. }),
            "no GPU, not its memory"
        );
    }
}
