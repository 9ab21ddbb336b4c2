//! What a pod may do, what it gets and where it runs.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::common::{ALL, Parts, resolved};

fn amounts(map: &Option<BTreeMap<String, Quantity>>) -> Vec<(&str, &str)> {
    map.iter().flatten().map(|(name, amount)| (name.as_str(), amount.0.as_str())).collect()
}

#[test]
fn a_dead_node_is_left_soon() {
    let parts = Parts::of("minimal", &[]);
    let tolerations = parts.pod().tolerations.as_ref().unwrap();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let toleration = tolerations.iter().find(|t| t.key.as_deref() == Some(key)).unwrap();
        assert_eq!(toleration.effect.as_deref(), Some("NoExecute"));
        assert!(toleration.toleration_seconds.is_some_and(|seconds| (10..=30).contains(&seconds)));
    }
}

#[test]
fn shared_memory_is_memory_with_a_size() {
    let parts = Parts::of("everything", &[]);
    let volume = parts.pod().volumes.iter().flatten().find(|volume| volume.name == "shm").unwrap();
    let shm = volume.empty_dir.as_ref().unwrap();
    assert_eq!((shm.medium.as_deref(), &shm.size_limit), (Some("Memory"), &Some(Quantity("8Gi".into()))));
    let mount = parts.container().volume_mounts.iter().flatten().find(|mount| mount.name == "shm").unwrap();
    assert_eq!(mount.mount_path, "/dev/shm");
}

#[test]
fn an_agent_knows_which_gpus_its_model_was_promised() {
    let promised = |sets: &[&str]| {
        let args = Parts::of("minimal", sets).container().args.clone().unwrap();
        args.iter().find_map(|arg| arg.strip_prefix("--gpus=")).map(str::to_owned)
    };
    assert_eq!(promised(&[]), None);
    assert_eq!(promised(&["kubernetes.gpu.count=2"]).as_deref(), Some("2"));
    let slice = ["kubernetes.gpu.count=1", "kubernetes.gpu.resource=nvidia.com/mig-1g.5gb"];
    assert_eq!(promised(&slice).as_deref(), Some("1"));
}

#[test]
fn the_gpu_count_is_that_of_the_declared_resource() {
    let job = resolved("everything", &[]).job;
    assert_eq!((job.ranks_per_node, job.world_size()), (8, 32));
    let parts = Parts::of("everything", &[]);
    let resources = parts.container().resources.as_ref().unwrap();
    assert_eq!(
        amounts(&resources.limits),
        [("ephemeral-storage", "20Gi"), ("memory", "64Gi"), ("nvidia.com/mig-1g.5gb", "8")]
    );
    assert_eq!(
        amounts(&resources.requests),
        [("cpu", "7500m"), ("ephemeral-storage", "20Gi"), ("memory", "64Gi")]
    );
    let tolerated = |key: &str| {
        parts.pod().tolerations.iter().flatten().any(|toleration| toleration.key.as_deref() == Some(key))
    };
    assert!(tolerated("nvidia.com/mig-1g.5gb") && tolerated("cloud.google.com/gke-spot"));
    assert_eq!(resolved("everything", &["ranksPerNode=2"]).job.ranks_per_node, 2);
}

#[test]
fn secrets_are_references() {
    let parts = Parts::of("everything", &[]);
    let whole = &parts.container().env_from.as_ref().unwrap()[0];
    assert_eq!(whole.secret_ref.as_ref().unwrap().name, "s3-key");
    let token = parts.container().env.iter().flatten().find(|env| env.name == "HF_TOKEN").unwrap();
    let reference = token.value_from.as_ref().unwrap().secret_key_ref.as_ref().unwrap();
    assert_eq!((reference.name.as_str(), reference.key.as_str(), &token.value), ("hub", "token", &None));
}

#[test]
fn pods_are_restricted() {
    for name in ALL {
        let parts = Parts::of(name, &[]);
        let pod = parts.pod();
        let security = pod.security_context.as_ref().unwrap();
        assert_eq!((security.run_as_non_root, security.run_as_user), (Some(true), Some(65532)));
        assert_eq!(security.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
        for container in pod.containers.iter().chain(pod.init_containers.iter().flatten()) {
            let security = container.security_context.as_ref().unwrap();
            assert_eq!(security.allow_privilege_escalation, Some(false));
            assert_eq!(security.read_only_root_filesystem, Some(true));
            assert_eq!(security.capabilities.as_ref().unwrap().drop, Some(vec!["ALL".to_owned()]));
        }
        let empty = pod.volumes.iter().flatten().filter_map(|volume| volume.empty_dir.as_ref());
        let wanted = 3 + usize::from(pod.init_containers.is_some());
        assert!(empty.clone().count() == wanted && empty.clone().all(|dir| dir.size_limit.is_some()));
        assert_eq!(pod.enable_service_links, Some(false));
        assert_eq!(pod.automount_service_account_token, Some(false));
        assert_eq!((pod.host_network, pod.host_pid, pod.host_ipc), (None, None, None));
    }
}

#[test]
fn the_grace_period_holds_the_last_checkpoint() {
    assert_eq!(Parts::of("minimal", &[]).pod().termination_grace_period_seconds, Some(40));
    assert_eq!(Parts::of("everything", &[]).pod().termination_grace_period_seconds, Some(90));
}

#[test]
fn nobody_moves_the_pods_or_puts_something_into_them() {
    let parts = Parts::of("minimal", &[]);
    let meta = parts.template().metadata.as_ref().unwrap();
    let annotations = meta.annotations.as_ref().unwrap();
    for (key, value) in [
        ("karpenter.sh/do-not-disrupt", "true"),
        ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
        ("sidecar.istio.io/inject", "false"),
        ("kubectl.kubernetes.io/default-container", "agent"),
    ] {
        assert_eq!(annotations[key], value);
    }
}

#[test]
fn spot_machines_are_those_of_the_provider() {
    for (spot, key, value) in [
        ("karpenter", "karpenter.sh/capacity-type", "spot"),
        ("eks", "eks.amazonaws.com/capacityType", "SPOT"),
        ("gke", "cloud.google.com/gke-spot", "true"),
        ("aks", "kubernetes.azure.com/scalesetpriority", "spot"),
    ] {
        let parts = Parts::of("minimal", &[&format!("kubernetes.spot={spot}")]);
        assert_eq!(parts.pod().node_selector.as_ref().unwrap()[key], value);
    }
}

#[test]
fn the_agent_is_brought_into_any_image() {
    let parts = Parts::of("everything", &[]);
    let install = &parts.pod().init_containers.as_ref().unwrap()[0];
    assert_eq!(install.image.as_deref(), Some("registry.example.com/team/lockstep:1.2"));
    assert_eq!(install.args.as_ref().unwrap(), &["install", "/lockstep"]);
    assert!(
        install
            .resources
            .as_ref()
            .unwrap()
            .limits
            .as_ref()
            .unwrap()
            .keys()
            .all(|name| !name.contains("nvidia"))
    );
    assert_eq!(parts.container().command.as_ref().unwrap(), &["/lockstep/lockstep-agent"]);
    assert_eq!(Parts::of("minimal", &[]).pod().init_containers, None);
}
