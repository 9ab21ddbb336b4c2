use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Rounds of the network. Four make a pseudorandom permutation; small domains want some more.
const ROUNDS: usize = 6;

/// A pseudorandom permutation of `0..n` in constant memory: a keyed Feistel network over the next even power of two,
/// walked along its cycle until it is inside. Takes four evaluations at most on average.
///
/// The numbers it gives are part of the resume format: they must never change.
#[derive(Debug, Clone)]
pub(crate) struct Permutation {
    n: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

/// Derives a key from another and what it is for.
pub(crate) fn key(parent: u64, purpose: &[u64]) -> u64 {
    purpose.iter().fold(parent, |key, word| xxh3_64_with_seed(&word.to_le_bytes(), key))
}

impl Permutation {
    pub(crate) fn new(n: u64, parent: u64) -> Self {
        let bits = u64::BITS - n.saturating_sub(1).leading_zeros();
        let keys = std::array::from_fn(|round| key(parent, &[round as u64]));
        Self { n, half_bits: bits.div_ceil(2).max(1), keys }
    }

    /// `i` must be below `n`.
    pub(crate) fn at(&self, i: u64) -> u64 {
        debug_assert!(i < self.n);
        let mut x = i;
        loop {
            x = self.network(x);
            // The network permutes a domain that holds `i`, so its cycle comes back to below n.
            if x < self.n {
                return x;
            }
        }
    }

    fn network(&self, x: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (x >> self.half_bits, x & mask);
        for key in self.keys {
            let mixed = xxh3_64_with_seed(&right.to_le_bytes(), key);
            (left, right) = (right, left ^ (mixed & mask));
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_size_is_permuted() {
        for n in (1..70).chain([255, 256, 257, 1000, 65_537]) {
            let permutation = Permutation::new(n, 7);
            let seen: HashSet<u64> = (0..n).map(|i| permutation.at(i)).collect();
            assert_eq!(seen.len() as u64, n);
            assert!(seen.into_iter().all(|x| x < n));
        }
    }

    #[test]
    fn huge_domains_work_without_memory() {
        let permutation = Permutation::new(u64::MAX / 4, 7);
        assert_ne!(permutation.at(1), permutation.at(2));
    }

    #[test]
    fn the_numbers_never_change() {
        let permutation = Permutation::new(10, 42);
        let numbers: Vec<u64> = (0..10).map(|i| permutation.at(i)).collect();
        // The same numbers came from a second implementation, in Python.
        assert_eq!(numbers, [9, 7, 2, 8, 6, 5, 0, 4, 3, 1]);
    }
}
