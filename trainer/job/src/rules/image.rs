use super::Findings;
use crate::{Crop, JobSpec};

/// The numbers that say how pictures are read must fit together.
pub(super) fn check(job: &JobSpec, found: &mut Findings<'_>) {
    let Some(image) = job.data.as_ref().and_then(|data| data.image.as_ref()) else { return };
    let channels = image.colours.channels();
    for (name, numbers) in [("mean", &image.mean), ("std", &image.std)] {
        if !numbers.is_empty() && numbers.len() != channels {
            let path = format!("data.image.{name}");
            let what = format!("{path} has {} numbers, and a pixel has {channels}", numbers.len());
            found.add(&path, what, "write as many, one for each channel");
        }
    }
    if let Some(resize) = image.resize
        && resize < image.size
    {
        let what = format!("data.image.resize is {resize}, less than data.image.size, {}", image.size);
        found.add("data.image.resize", what, format!("use at least {}", image.size));
    }
    if let Some(Crop::Shift { pixels }) = image.crop
        && pixels >= image.size
    {
        let what =
            format!("data.image.crop moves pictures of {} pixels by {pixels}: nothing is left", image.size);
        found.add("data.image.crop", what, "use fewer pixels, such as an eighth of the size");
    }
}
