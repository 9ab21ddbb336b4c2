use crate::CommitRef;

/// The checkpoints to delete once `lineage[0]` is committed: all but the newest `keep_last` of its own lineage.
///
/// `lineage` is what [`super::Lineage`] goes through, best first. Never fewer than two stay, so that a damaged newest one
/// still has one before it. Branches that were left are not touched.
pub fn expired(lineage: &[CommitRef], keep_last: usize) -> &[CommitRef] {
    lineage.get(keep_last.max(2)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generation, Step};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keeps_the_newest_and_never_fewer_than_two(num in 0u64..20, keep in 0usize..8) {
            let lineage: Vec<_> = (0..num).rev().map(|s| CommitRef { generation: Generation(1), step: Step(s) }).collect();
            let gone = expired(&lineage, keep);
            prop_assert_eq!(lineage.len() - gone.len(), lineage.len().min(keep.max(2)));
            prop_assert_eq!(gone, &lineage[lineage.len() - gone.len()..]);
        }
    }
}
