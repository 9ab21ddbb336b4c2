use super::Findings;
use crate::{JobSpec, Model, Positions};

/// The heads of a transformer share its width evenly, and groups of them share keys and values.
pub(super) fn check(job: &JobSpec, found: &mut Findings<'_>) {
    let Some(Model::Gpt(gpt)) = &job.model else { return };
    let (width, heads) = (u64::from(gpt.width), u64::from(gpt.heads));
    // A field out of its range has its problem already.
    if width == 0 || heads == 0 || gpt.kv_heads == Some(0) {
        return;
    }
    if !width.is_multiple_of(heads) {
        let below = width / heads * heads;
        let fix = match below {
            0 => format!("use {heads}"),
            _ => format!("use {below} or {}", below + heads),
        };
        let what = format!("model.width is {width}, which is not a multiple of model.heads {heads}");
        found.add("model.width", what, fix);
    } else if gpt.positions == Positions::Rotary && !(width / heads).is_multiple_of(2) {
        let what = format!(
            "model.positions is rotary, but heads of {} features have no pairs to turn",
            width / heads
        );
        let fix = format!("make model.width a multiple of {}, or use positions: learned", 2 * heads);
        found.add("model.positions", what, fix);
    }
    let kv_heads = u64::from(gpt.kv_heads.unwrap_or(gpt.heads));
    if !heads.is_multiple_of(kv_heads) {
        let what = format!("model.heads is {heads}, which is not a multiple of model.kvHeads {kv_heads}");
        found.add("model.kvHeads", what, format!("use a number that divides {heads}"));
    }
}
