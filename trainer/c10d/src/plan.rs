//! Which parameters' gradients travel together.

use serde::{Deserialize, Serialize};
use tch::Kind;

/// The size of one parameter, as far as buckets are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamSize {
    /// Bytes of its gradient.
    pub bytes: u64,
    /// Kind of its elements; a bucket holds one kind only.
    pub kind: Kind,
}

/// The DDP reducer's buckets: each is all-reduced in one piece, as soon as the gradients of its parameters are there.
///
/// A sum of floats depends on the order of its terms, and Gloo's order depends on where in a bucket an element lies: the
/// bits of a step depend on the buckets. libtorch lays its buckets out anew after the first backward of each reducer,
/// so a run that was resumed would differ from one that was not. A plan here is a pure function of the parameters and
/// the caps, it never changes, and a checkpoint records it.
///
/// Gradients arrive from the last parameter to the first. Buckets are filled in that order, and the first is small, so
/// that communication starts early; this is the layout that libtorch settles on for a model whose layers run in the
/// order of their parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BucketPlan {
    /// The first bucket of a kind is closed once it holds this many bytes.
    first_cap_bytes: u64,
    /// Every other bucket is closed once it holds this many.
    cap_bytes: u64,
    /// For each bucket, in the order in which they are reduced, the indices of its parameters.
    buckets: Vec<Vec<usize>>,
}

/// Why a bucket plan can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A cap is zero, or no machine has so much memory.
    #[error("a bucket cap of {bytes} bytes: it must be from 1 to 2^62")]
    BadCap {
        /// The cap.
        bytes: u64,
    },
    /// A parameter is not in exactly one bucket.
    #[error(
        "parameter {parameter} of {num_parameters} is in {times} buckets, not in one: the plan is for another model"
    )]
    NotOnce {
        /// Index of the parameter.
        parameter: usize,
        /// How many parameters the model has.
        num_parameters: usize,
        /// How many times the plan has it.
        times: usize,
    },
    /// The plan has a parameter that the model has not.
    #[error(
        "bucket {bucket} holds parameter {parameter}, but the model has {num_parameters}: the plan is for another model"
    )]
    NoSuchParameter {
        /// Index of the bucket.
        bucket: usize,
        /// Index of the parameter.
        parameter: usize,
        /// How many parameters the model has.
        num_parameters: usize,
    },
    /// A bucket is empty or mixes kinds.
    #[error("bucket {bucket} is empty or holds parameters of several kinds")]
    BadBucket {
        /// Index of the bucket.
        bucket: usize,
    },
}

impl BucketPlan {
    /// Default of the first bucket's cap: 1 MiB, as in PyTorch.
    pub const FIRST_CAP_BYTES: u64 = 1 << 20;
    /// Default of the others': 25 MiB, as in PyTorch.
    pub const CAP_BYTES: u64 = 25 << 20;

    /// Fills buckets with the parameters of these sizes, last parameter first. A bucket is closed by the parameter that
    /// reaches its cap, so it may be larger. Each kind has buckets of its own, the first of which has the first cap.
    pub fn new(sizes: &[ParamSize], first_cap_bytes: u64, cap_bytes: u64) -> Result<Self, PlanError> {
        require_caps(first_cap_bytes, cap_bytes)?;
        let mut open: Vec<OpenBucket> = Vec::new();
        let mut buckets = Vec::new();
        for (index, size) in sizes.iter().enumerate().rev() {
            let at = open.iter().position(|bucket| bucket.kind == size.kind).unwrap_or_else(|| {
                open.push(OpenBucket {
                    kind: size.kind,
                    cap: first_cap_bytes,
                    bytes: 0,
                    members: Vec::new(),
                });
                open.len() - 1
            });
            let bucket = &mut open[at];
            bucket.bytes = bucket.bytes.saturating_add(size.bytes);
            bucket.members.push(index);
            if bucket.bytes >= bucket.cap {
                buckets.push(std::mem::take(&mut bucket.members));
                bucket.bytes = 0;
                bucket.cap = cap_bytes;
            }
        }
        buckets.extend(open.into_iter().map(|bucket| bucket.members).filter(|members| !members.is_empty()));
        Ok(Self { first_cap_bytes, cap_bytes, buckets })
    }

    /// The parameters of each bucket, in the order in which the buckets are reduced.
    pub fn buckets(&self) -> &[Vec<usize>] {
        &self.buckets
    }

    /// The first bucket's cap.
    pub fn first_cap_bytes(&self) -> u64 {
        self.first_cap_bytes
    }

    /// The other buckets' cap.
    pub fn cap_bytes(&self) -> u64 {
        self.cap_bytes
    }

    /// Whether each bucket holds parameters of one kind, as far as it holds parameters of these. A plan that was made for others
    /// may not.
    pub fn mixes_no_kinds(&self, sizes: &[ParamSize]) -> bool {
        let kind = |parameter: usize| sizes.get(parameter).map(|size| size.kind);
        self.buckets.iter().all(|members| members.windows(2).all(|pair| kind(pair[0]) == kind(pair[1])))
    }

    /// Whether the plan can be used for parameters of these sizes; a plan that was read from a checkpoint may be of
    /// another model.
    pub fn check(&self, sizes: &[ParamSize]) -> Result<(), PlanError> {
        require_caps(self.first_cap_bytes, self.cap_bytes)?;
        let num_parameters = sizes.len();
        let mut times = vec![0; num_parameters];
        for (bucket, members) in self.buckets.iter().enumerate() {
            for &parameter in members {
                *times.get_mut(parameter).ok_or(PlanError::NoSuchParameter {
                    bucket,
                    parameter,
                    num_parameters,
                })? += 1;
            }
            let mixed = members.windows(2).any(|pair| sizes[pair[0]].kind != sizes[pair[1]].kind);
            if members.is_empty() || mixed {
                return Err(PlanError::BadBucket { bucket });
            }
        }
        match times.iter().position(|&times| times != 1) {
            None => Ok(()),
            Some(parameter) => Err(PlanError::NotOnce { parameter, num_parameters, times: times[parameter] }),
        }
    }
}

/// The bucket of one kind that is being filled.
struct OpenBucket {
    kind: Kind,
    cap: u64,
    bytes: u64,
    members: Vec<usize>,
}

fn require_caps(first: u64, other: u64) -> Result<(), PlanError> {
    match [first, other].into_iter().find(|cap| !(1..=1 << 62).contains(cap)) {
        None => Ok(()),
        Some(bytes) => Err(PlanError::BadCap { bytes }),
    }
}

#[cfg(test)]
mod tests;
