use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, PersistentVolumeClaimVolumeSource, SecretVolumeSource,
    Volume, VolumeMount,
};
use lockstep_job::ByteSize;

use crate::quantity::bytes;
use crate::source::Source;

/// Where the job file is.
pub(crate) const JOB_DIR: &str = "/etc/lockstep";
/// What outlives a worker but not the pod.
pub(crate) const CACHE: &str = "/cache";
/// Where the agent is, when an init container has brought it.
pub(crate) const AGENT_DIR: &str = "/lockstep";
/// Several times what the agent needs.
const AGENT_SIZE: ByteSize = ByteSize::new(128 << 20);
/// For sockets, and whatever programs put there.
pub(crate) const TMP: &str = "/tmp";

/// The root is read-only, so every place for writing is here, with a size. /dev/shm would have 64 MB by itself.
pub(crate) fn volumes(source: &Source<'_>) -> Vec<Volume> {
    let kubernetes = source.kubernetes;
    let mut volumes = vec![
        Volume {
            name: "job".to_owned(),
            config_map: Some(ConfigMapVolumeSource { name: source.meta.config_map(), ..Default::default() }),
            ..Default::default()
        },
        empty("shm", kubernetes.shm_size(), Some("Memory")),
        empty("tmp", kubernetes.tmp_size, None),
        empty("cache", source.job.cache_volume(), None),
    ];
    if kubernetes.agent_image.is_some() {
        volumes.push(empty("agent", AGENT_SIZE, None));
    }
    for (index, given) in kubernetes.volumes.iter().enumerate() {
        let claim = given.claim.clone().map(|claim_name| PersistentVolumeClaimVolumeSource {
            claim_name,
            read_only: given.read_only.then_some(true),
        });
        let config_map =
            given.config_map.clone().map(|name| ConfigMapVolumeSource { name, ..Default::default() });
        let secret = given
            .secret
            .clone()
            .map(|name| SecretVolumeSource { secret_name: Some(name), ..Default::default() });
        volumes.push(Volume {
            name: given_name(index),
            persistent_volume_claim: claim,
            config_map,
            secret,
            ..Default::default()
        });
    }
    volumes
}

pub(crate) fn mounts(source: &Source<'_>) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..Default::default()
    };
    let mut mounts = vec![
        VolumeMount { read_only: Some(true), ..mount("job", JOB_DIR) },
        mount("shm", "/dev/shm"),
        mount("tmp", TMP),
        mount("cache", CACHE),
    ];
    mounts.extend(source.kubernetes.agent_image.as_ref().map(|_| agent_mount(true)));
    mounts.extend(source.kubernetes.volumes.iter().enumerate().map(|(index, given)| VolumeMount {
        read_only: given.read_only.then_some(true),
        sub_path: given.sub_path.clone(),
        ..mount(&given_name(index), &given.mount_path)
    }));
    mounts
}

/// Where the agent is brought to, and run from.
pub(crate) fn agent_mount(read_only: bool) -> VolumeMount {
    VolumeMount {
        name: "agent".to_owned(),
        mount_path: AGENT_DIR.to_owned(),
        read_only: read_only.then_some(true),
        ..Default::default()
    }
}

fn given_name(index: usize) -> String {
    format!("volume-{index}")
}

fn empty(name: &str, size: ByteSize, medium: Option<&str>) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: medium.map(str::to_owned),
            size_limit: Some(bytes(size)),
        }),
        ..Default::default()
    }
}
