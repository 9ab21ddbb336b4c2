use super::Findings;
use crate::{Format, JobSpec};

/// Tokens are cut into samples by the job; other formats know their samples.
pub(super) fn check(job: &JobSpec, found: &mut Findings<'_>) {
    let Some(data) = &job.data else { return };
    match (data.format, data.window) {
        (Format::Tokens, None) if !found.given("data.window") => {
            let fix = "add window: 256, the number of tokens that a sample predicts";
            found.add("data.format", "data.format is tokens, but `data.window` is missing", fix);
        }
        (Format::Mds, Some(_)) if found.given("data.window") => {
            let fix = "remove it, or add format: tokens";
            found.add(
                "data.window",
                "data.window has no effect: samples of the format mds are as stored",
                fix,
            );
        }
        _ => {}
    }
}
