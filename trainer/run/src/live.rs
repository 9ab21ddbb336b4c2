use crate::{Rank, Step};

/// Which rank hands its state on, and of which step that is: the lowest of those that hold the newest one, unless the checkpoint of
/// step `saved` is newer. `held` has the step that each rank holds, in rank order, where it holds any.
pub fn newest_state(held: &[Option<Step>], saved: Option<Step>) -> Option<(Rank, Step)> {
    let newest = held.iter().copied().max().flatten()?;
    let source = held.iter().position(|step| *step == Some(newest))?;
    saved.is_none_or(|saved| newest >= saved).then_some((Rank(source as u32), newest))
}
