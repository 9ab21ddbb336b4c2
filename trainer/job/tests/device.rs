//! On what a job computes.

mod support;

use lockstep_job::{Device, Reproducible};
use serde_json::json;
use support::{assert_tail, good_tail};

#[test]
fn a_job_that_says_nothing_of_it_is_recorded_as_before() {
    let job = good_tail("");
    assert_eq!((job.device, job.reproducible), (Device::Auto, None));
    let record = serde_json::to_value(&job).unwrap();
    assert!(record.get("device").is_none() && record.get("reproducible").is_none());
    let job = good_tail("device: cuda\nreproducible: fixed\n");
    assert_eq!((job.device, job.reproducible), (Device::Cuda, Some(Reproducible::Fixed)));
    assert_eq!(serde_json::to_value(&job).unwrap()["device"], json!("cuda"));
}

#[test]
fn ranks_and_gpus_fit_together() {
    assert_tail(
        "ranksPerNode: 4\nkubernetes: { image: i, gpu: { count: 2 } }\n",
        &[
            "j.yaml:5:15 | ranksPerNode is 4, and each pod has 2 of nvidia.com/gpu: every rank needs its own | \
             use 2 or fewer, or raise kubernetes.gpu.count",
        ],
    );
    assert_tail(
        "device: cpu\nkubernetes: { image: i, gpu: { count: 2 } }\n",
        &["j.yaml:6:30 | kubernetes.gpu asks for 2 nvidia.com/gpu, which `device: cpu` leaves idle | \
             remove kubernetes.gpu, or device"],
    );
    assert_tail(
        "kubernetes: { image: i, gpu: { resource: amd.com/gpu, count: 1 } }\n",
        &["j.yaml:5:42 | kubernetes.gpu.resource is `amd.com/gpu`, and a model computes on NVIDIA's GPUs | \
           name a resource of nvidia.com, or use `command`"],
    );
    assert_tail(
        "device: cpu\nreproducible: off\n",
        &["j.yaml:6:15 | reproducible: off has no effect: on CPUs there is no faster way | remove it"],
    );
}

#[test]
fn a_typo_is_helped() {
    assert_tail(
        "device: gpu\n",
        &["j.yaml:5:9 | device is `gpu`, but must be auto, cpu or cuda | write auto, cpu or cuda"],
    );
}
