//! What GPUs can compute at most.

use lockstep_job::Precision;

/// Dense products of matrices of 16 bits with sums in 32, in floating-point operations per second, as NVIDIA's data sheets have
/// them. Of names that are there twice, the first one counts.
const PEAKS: [(&str, f64); 13] = [
    ("B200", 2250e12),
    ("H200 NVL", 836e12),
    ("H200", 989e12),
    ("GH200", 989e12),
    ("H100 NVL", 835e12),
    ("H100 PCIe", 756e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("L4", 121e12),
    ("A10", 125e12),
    ("V100", 125e12),
    ("T4", 65e12),
];

/// The peak of a GPU by its name, where it is known for numbers of that precision. None of a part of a GPU, and none of 32 bits,
/// whose products take another way than those which the sheets speak of.
pub(crate) fn peak_flops(gpu: &str, precision: Precision) -> Option<f64> {
    let is_part = gpu.split(' ').any(|word| word == "MIG");
    if precision == Precision::Fp32 || is_part {
        return None;
    }
    // `NVIDIA A100-SXM4-80GB`
    let name = gpu.replace('-', " ");
    let has = |words: &str| format!(" {name} ").contains(&format!(" {words} "));
    PEAKS.iter().find(|(words, _)| has(words)).map(|(_, peak)| *peak)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_known_by_their_names() {
        for (name, peak) in [
            ("NVIDIA H200", Some(989e12)),
            ("NVIDIA H100 80GB HBM3", Some(989e12)),
            ("NVIDIA H100 PCIe", Some(756e12)),
            ("NVIDIA A100-SXM4-80GB", Some(312e12)),
            ("NVIDIA A100 80GB PCIe", Some(312e12)),
            ("NVIDIA L4", Some(121e12)),
            ("NVIDIA A10G", None),
            ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
            ("NVIDIA GeForce RTX 4090", None),
        ] {
            assert_eq!(peak_flops(name, Precision::Bf16), peak, "{name}");
            assert_eq!(peak_flops(name, Precision::Fp32), None, "{name}");
        }
    }
}
