use super::Findings;
use crate::JobSpec;

/// The global batch is a whole number of micro batches on each rank.
pub(super) fn check(job: &JobSpec, found: &mut Findings<'_>) {
    if job.command.is_some() {
        return;
    }
    let global = u64::from(job.train.global_batch);
    let world = u64::from(job.world_size());
    let unit = world * u64::from(job.train.micro_batch.unwrap_or(1));
    if global.is_multiple_of(unit) {
        return;
    }
    let ranks = format!("{} x {}", count(job.nodes, "node"), count(job.ranks_per_node, "rank"));
    let product = match job.train.micro_batch {
        Some(micro) => format!("{ranks} x microBatch {micro} = {unit}"),
        None => format!("{ranks} = {unit}"),
    };
    let below = global / unit * unit;
    let fix = match below {
        0 => format!("use {unit}"),
        _ => format!("use {below} or {}", below + unit),
    };
    let what = format!("train.globalBatch is {global}, which is not a multiple of {product}");
    found.add("train.globalBatch", what, fix);
}

fn count(number: u32, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}
