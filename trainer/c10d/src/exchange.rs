//! How gradients are averaged over the ranks.

use std::ffi::c_int;

use crate::{BucketPlan, ParamSize};

/// In which numbers ranks exchange gradients. What comes out has the gradients' own kind again.
///
/// Source: PyTorch's `bf16_compress_hook` and `fp16_compress_hook`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exchange {
    /// In those that they are.
    #[default]
    Whole,
    /// In 16 bits with the range of `f32` and 8 bits of precision.
    BFloat16,
    /// In 16 bits with 11 bits of precision, none larger than 65504: what is larger becomes infinite.
    Half,
}

/// The shim's `LsExchange`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Way {
    AllReduce = 0,
    OneShot = 1,
    BFloat16 = 2,
    Half = 3,
    Waited = 4,
}

impl Exchange {
    /// The way that gradients of such parameters take.
    ///
    /// A function of what a checkpoint and a job record, because the bits of a sum depend on it.
    pub(crate) fn way(self, plan: &BucketPlan, sizes: &[ParamSize], world_size: usize, on_cpu: bool) -> Way {
        match self {
            // Where nobody gets them, nothing is gained by rounding.
            Self::BFloat16 if world_size > 1 => Way::BFloat16,
            Self::Half if world_size > 1 => Way::Half,
            _ if !on_cpu => Way::Waited,
            Self::Whole if is_small(plan, sizes, world_size) => Way::OneShot,
            _ => Way::AllReduce,
        }
    }

    /// For the ranks to compare.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::BFloat16 => 1,
            Self::Half => 2,
        }
    }
}

impl Way {
    pub(crate) fn code(self) -> c_int {
        self as c_int
    }
}

/// Where every rank sends its gradients to every other at once: a ring's rounds cost more than so few bytes.
fn is_small(plan: &BucketPlan, sizes: &[ParamSize], world_size: usize) -> bool {
    const MAX_SENT_BYTES: u64 = 256 << 10;
    let bytes: u64 = sizes.iter().map(|size| size.bytes).sum();
    let num_others = world_size.saturating_sub(1) as u64;
    plan.buckets().len() == 1 && (1..=MAX_SENT_BYTES).contains(&bytes.saturating_mul(num_others))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    fn way(exchange: Exchange, bytes: &[u64], world_size: usize, on_cpu: bool) -> Way {
        let size = |bytes| ParamSize { bytes, kind: Kind::Float };
        let sizes: Vec<_> = bytes.iter().copied().map(size).collect();
        let plan = BucketPlan::new(&sizes, BucketPlan::FIRST_CAP_BYTES, BucketPlan::CAP_BYTES).unwrap();
        exchange.way(&plan, &sizes, world_size, on_cpu)
    }

    #[test]
    fn only_a_single_small_bucket_on_cpus_goes_in_one_shot() {
        let case = |bytes: &[u64], world_size| way(Exchange::Whole, bytes, world_size, true) == Way::OneShot;
        assert!(case(&[38_440], 2) && case(&[38_000, 440], 4));
        assert!(!case(&[38_440], 1), "one rank has nobody to send to");
        assert!(!case(&[38_440], 16), "each of 16 ranks would send 577 kB");
        assert!(!case(&[300 << 10], 2), "too large");
        assert!(!case(&[1 << 20, 16], 2), "two buckets overlap with backward");
        assert_eq!(way(Exchange::Whole, &[38_440], 2, false), Way::Waited, "a GPU");
    }

    #[test]
    fn short_numbers_are_for_those_who_send_any() {
        for (exchange, short) in [(Exchange::BFloat16, Way::BFloat16), (Exchange::Half, Way::Half)] {
            for on_cpu in [true, false] {
                assert_eq!(way(exchange, &[38_440], 2, on_cpu), short);
                let alone = if on_cpu { Way::AllReduce } else { Way::Waited };
                assert_eq!(way(exchange, &[38_440], 1, on_cpu), alone);
            }
        }
    }
}
