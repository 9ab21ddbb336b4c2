/// Which of the cached shards to drop so that `incoming` more bytes fit below `max`: the farthest next use first.
///
/// `present` holds number and size of each, `next_use` the distance of each shard's next use. When even an empty cache
/// is too small, everything goes and the budget is overdrawn by one shard: no reader ever waits for room.
pub(crate) fn victims(present: &[(usize, u64)], incoming: u64, max: u64, next_use: &[u64]) -> Vec<usize> {
    let mut held: u64 = present.iter().map(|(_, bytes)| bytes).sum();
    let mut by_use: Vec<&(usize, u64)> = present.iter().collect();
    by_use.sort_by_key(|(shard, _)| {
        std::cmp::Reverse((next_use.get(*shard).copied().unwrap_or(u64::MAX), *shard))
    });
    let mut victims = Vec::new();
    for (shard, bytes) in by_use {
        if held.saturating_add(incoming) <= max {
            break;
        }
        held -= bytes;
        victims.push(*shard);
    }
    victims
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT_USE: [u64; 5] = [0, 500, 20, u64::MAX, 500];

    #[test]
    fn what_is_used_last_goes_first() {
        let present = [(0, 10), (1, 10), (2, 10), (3, 10)];
        assert!(victims(&present, 10, 50, &NEXT_USE).is_empty());
        assert_eq!(victims(&present, 10, 49, &NEXT_USE), [3]);
        assert_eq!(victims(&present, 10, 30, &NEXT_USE), [3, 1]);
        assert_eq!(victims(&present, 10, 10, &NEXT_USE), [3, 1, 2, 0]);
    }

    #[test]
    fn a_budget_below_one_shard_empties_the_cache_and_no_more() {
        assert_eq!(victims(&[(0, 10)], 100, 10, &NEXT_USE), [0]);
        assert!(victims(&[], 100, 10, &NEXT_USE).is_empty());
    }
}
