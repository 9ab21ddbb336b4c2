use xxhash_rust::xxh3::xxh3_64;

/// Numbers that follow from a seed, an epoch and a sample: draw `n` is the XXH3-64 of the four as little-endian `u64`s.
#[derive(Debug)]
pub(super) struct Chance {
    key: [u64; 3],
    drawn: u64,
}

impl Chance {
    pub(super) fn of(seed: u64, epoch: u64, sample: u64) -> Self {
        Self { key: [seed, epoch, sample], drawn: 0 }
    }

    fn next(&mut self) -> u64 {
        let mut bytes = [0; 32];
        for (place, number) in bytes.chunks_exact_mut(8).zip(self.key.into_iter().chain([self.drawn])) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        self.drawn += 1;
        xxh3_64(&bytes)
    }

    /// Uniform in `[low, high)`.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        // As many bits as a float's fraction has.
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        low + share * (high - low)
    }

    /// Uniform in `0..=most`.
    pub(super) fn up_to(&mut self, most: u32) -> u32 {
        let wide = u128::from(self.next()) * (u128::from(most) + 1);
        (wide >> 64) as u32
    }

    pub(super) fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change here changes what every resumed run sees.
    #[test]
    fn the_draws_are_frozen() {
        let mut chance = Chance::of(1, 2, 3);
        let drawn = [chance.next(), chance.next()];
        assert_eq!(drawn, [15_899_845_430_610_850_234, 14_600_846_383_231_554_568]);
    }

    #[test]
    fn draws_are_uniform_and_stay_within_bounds() {
        let (mut counts, mut heads, mut sum) = ([0; 5], 0, 0.0);
        for sample in 0..10_000 {
            let mut chance = Chance::of(7, 0, sample);
            counts[chance.up_to(4) as usize] += 1;
            heads += u32::from(chance.coin());
            let share = chance.between(2.0, 3.0);
            assert!((2.0..3.0).contains(&share));
            sum += share;
        }
        assert!(counts.iter().all(|count| (1850..2150).contains(count)), "{counts:?}");
        assert!((4800..5200).contains(&heads), "{heads}");
        assert!((sum / 10_000.0 - 2.5).abs() < 0.02, "{sum}");
    }
}
