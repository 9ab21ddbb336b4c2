use super::Findings;
use crate::{Device, JobSpec, Reproducible};

/// Ranks and GPUs must fit together.
pub(super) fn check(job: &JobSpec, found: &mut Findings<'_>) {
    if job.model.is_none() {
        return;
    }
    if let Some(gpu) = job.kubernetes.as_ref().and_then(|kubernetes| kubernetes.gpu.as_ref()) {
        let (ranks, count, resource) = (job.ranks_per_node, gpu.count, &gpu.resource);
        if job.device == Device::Cpu {
            let what = format!("kubernetes.gpu asks for {count} {resource}, which `device: cpu` leaves idle");
            found.add("kubernetes.gpu", what, "remove kubernetes.gpu, or device");
        } else if !gpu.is_nvidia() {
            let what =
                format!("kubernetes.gpu.resource is `{resource}`, and a model computes on NVIDIA's GPUs");
            found.add("kubernetes.gpu.resource", what, "name a resource of nvidia.com, or use `command`");
        } else if ranks > count {
            let what = format!(
                "ranksPerNode is {ranks}, and each pod has {count} of {resource}: every rank needs its own"
            );
            found.add("ranksPerNode", what, format!("use {count} or fewer, or raise kubernetes.gpu.count"));
        }
    }
    if job.device == Device::Cpu && job.reproducible == Some(Reproducible::Off) {
        let what = "reproducible: off has no effect: on CPUs there is no faster way".to_owned();
        found.add("reproducible", what, "remove it");
    }
}
