//! The agent's container: what it runs, what it finds in its environment, how the node knows that it lives.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvFromSource, EnvVar, EnvVarSource, HTTPGetAction,
    ObjectFieldSelector, Probe, ResourceRequirements, SecretEnvSource, SecretKeySelector, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use lockstep_job::{Kubernetes, PullPolicy, Resume, SecretEnv};

use crate::config_map::FILE;
use crate::meta::{AGENT_PORT, CONTAINER, JOB_NAME_LABEL, UID_LABEL, some};
use crate::quantity::{bytes, cores};
use crate::returns;
use crate::source::{Purpose, Source};
use crate::volumes::{self, AGENT_DIR, CACHE, JOB_DIR};

/// Variable that holds the Job's uid: what is launched once is one launch.
const LAUNCH: &str = "LOCKSTEP_LAUNCH";
/// Variable that holds the Job's name, where only the pod knows it.
const JOB_NAME: &str = "LOCKSTEP_JOB";
/// Variable that holds the pod's address.
const POD_IP: &str = "LOCKSTEP_POD_IP";
/// Longer than it takes until the Job controller knows that another node's agent is done. Unit: seconds.
const OUTSTAY_SECONDS: u32 = 10;
/// The resource that NVIDIA's device plugin offers.
const NVIDIA: &str = "nvidia.com/gpu";
/// Where the kubelet looks for the reason of a container's end; it makes the file and lets everybody write to it.
const LAST_WORDS: &str = "/dev/termination-log";

pub(crate) fn agent(source: &Source<'_>) -> Container {
    let kubernetes = source.kubernetes;
    let (restart_policy, restart_policy_rules) = match source.purpose {
        Purpose::Train { .. } => returns::rules(),
        // One that has looked around has said what it found.
        Purpose::Checkup => (None, None),
    };
    Container {
        name: CONTAINER.to_owned(),
        image: Some(kubernetes.image.clone()),
        image_pull_policy: Some(pull_policy(kubernetes)),
        command: Some(vec![match &kubernetes.agent_image {
            Some(_) => format!("{AGENT_DIR}/lockstep-agent"),
            None => "lockstep-agent".to_owned(),
        }]),
        args: Some(args(source)),
        env: Some(env(kubernetes)),
        env_from: some(kubernetes.secrets.iter().filter(|secret| secret.key.is_none()).map(whole_secret)),
        ports: Some(vec![ContainerPort {
            name: Some(CONTAINER.to_owned()),
            container_port: AGENT_PORT.into(),
            protocol: Some("TCP".to_owned()),
            ..Default::default()
        }]),
        // An agent listens once it has reached the storage, which may have its troubles.
        startup_probe: Some(Probe { period_seconds: Some(1), failure_threshold: Some(300), ..probe() }),
        readiness_probe: Some(Probe { period_seconds: Some(5), failure_threshold: Some(2), ..probe() }),
        liveness_probe: Some(Probe { period_seconds: Some(10), failure_threshold: Some(6), ..probe() }),
        resources: Some(resources(kubernetes)),
        security_context: Some(security()),
        restart_policy,
        restart_policy_rules,
        // Where an agent can't even say why it ended, its log does.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(volumes::mounts(source)),
        ..Default::default()
    }
}

/// Copies the agent into the pod, where the image is somebody else's.
pub(crate) fn install(kubernetes: &Kubernetes) -> Option<Container> {
    let image = kubernetes.agent_image.clone()?;
    // What an init container asks for counts only where it is more than what the others do.
    let without_gpu = Kubernetes { gpu: None, ..kubernetes.clone() };
    Some(Container {
        name: "install".to_owned(),
        image: Some(image),
        image_pull_policy: Some(pull_policy(kubernetes)),
        command: Some(vec!["lockstep-agent".to_owned()]),
        args: Some(vec!["install".to_owned(), AGENT_DIR.to_owned()]),
        resources: Some(resources(&without_gpu)),
        security_context: Some(security()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![volumes::agent_mount(false)]),
        ..Default::default()
    })
}

fn pull_policy(kubernetes: &Kubernetes) -> String {
    match kubernetes.image_pull_policy {
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Always => "Always",
        PullPolicy::Never => "Never",
    }
    .to_owned()
}

fn security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
        read_only_root_filesystem: Some(true),
        ..Default::default()
    }
}

fn args(source: &Source<'_>) -> Vec<String> {
    match source.purpose {
        Purpose::Train { resume } => train(source, resume),
        Purpose::Checkup => checkup(source),
    }
}

/// The agent reads its node's index from JOB_COMPLETION_INDEX, which the Job controller sets.
fn train(source: &Source<'_>, resume: Resume) -> Vec<String> {
    let meta = &source.meta;
    let storage = literal(meta.storage());
    // A scheduled launch's Job has a name that nobody knows before.
    let name = match source.kubernetes.schedule {
        None => meta.name().to_owned(),
        Some(_) => format!("$({JOB_NAME})"),
    };
    let mut args = vec![
        "run".to_owned(),
        format!("--run-dir={storage}/{name}"),
        format!("--job={JOB_DIR}/{FILE}"),
        format!("--launch=$({LAUNCH})"),
        // Not the pod's name: a name server keeps an old answer, or that there is none, for half a minute.
        format!("--host=$({POD_IP})"),
        format!("--port={AGENT_PORT}"),
        format!("--scratch={CACHE}"),
        format!("--last-words={LAST_WORDS}"),
    ];
    if source.job.nodes > 1 {
        args.push(format!("--outstay={OUTSTAY_SECONDS}"));
    }
    if let Some(gpu) =
        source.job.model.as_ref().and(source.kubernetes.gpu.as_ref()).filter(|gpu| gpu.is_nvidia())
    {
        args.push(format!("--gpus={}", gpu.count));
    }
    args.extend(resume.option());
    args
}

fn checkup(source: &Source<'_>) -> Vec<String> {
    let mut args = vec![
        "checkup".to_owned(),
        format!("--storage={}", literal(source.meta.storage())),
        format!("--last-words={LAST_WORDS}"),
    ];
    // What a device plugin of NVIDIA's hands out under this name are devices of known names.
    if let Some(gpu) = source.kubernetes.gpu.as_ref().filter(|gpu| gpu.resource == NVIDIA) {
        args.push(format!("--gpus={}", gpu.count));
    }
    args
}

fn env(kubernetes: &Kubernetes) -> Vec<EnvVar> {
    let mut env = vec![
        from_field(LAUNCH, format!("metadata.labels['{UID_LABEL}']")),
        from_field(POD_IP, "status.podIP".to_owned()),
    ];
    if kubernetes.schedule.is_some() {
        env.push(from_field(JOB_NAME, format!("metadata.labels['{JOB_NAME_LABEL}']")));
    }
    // The user has no home in the image, and the image can't be written to.
    let mut plain = BTreeMap::from([("HOME", volumes::TMP.to_owned())]);
    if kubernetes.agent_image.is_some() {
        // For the agent alone, which keeps it from the workers.
        plain.insert("SSL_CERT_FILE", format!("{AGENT_DIR}/ca-certificates.crt"));
    }
    plain.extend(kubernetes.env.iter().map(|(name, value)| (name.as_str(), literal(value))));
    env.extend(plain.into_iter().map(|(name, value)| EnvVar {
        name: name.to_owned(),
        value: Some(value),
        value_from: None,
    }));
    env.extend(kubernetes.secrets.iter().filter_map(one_key));
    env
}

/// `$(NAME)` would be replaced by the node.
fn literal(text: &str) -> String {
    text.replace("$(", "$$(")
}

fn from_field(name: &str, field_path: String) -> EnvVar {
    let field = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path };
    let source = EnvVarSource { field_ref: Some(field), ..Default::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

fn one_key(secret: &SecretEnv) -> Option<EnvVar> {
    let key = secret.key.clone()?;
    let name = secret.env.clone().unwrap_or_else(|| key.clone());
    let reference = SecretKeySelector { name: secret.name.clone(), key, optional: None };
    let source = EnvVarSource { secret_key_ref: Some(reference), ..Default::default() };
    Some(EnvVar { name, value: None, value_from: Some(source) })
}

fn whole_secret(secret: &SecretEnv) -> EnvFromSource {
    EnvFromSource {
        secret_ref: Some(SecretEnvSource { name: secret.name.clone(), optional: None }),
        ..Default::default()
    }
}

fn probe() -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/healthz".to_owned()),
            port: IntOrString::String(CONTAINER.to_owned()),
            ..Default::default()
        }),
        timeout_seconds: Some(2),
        ..Default::default()
    }
}

/// Cores are reserved and not limited; memory and disk are both, since running out of them has to hit this pod.
fn resources(kubernetes: &Kubernetes) -> ResourceRequirements {
    let given = &kubernetes.resources;
    let both = [
        ("memory".to_owned(), given.memory.map(bytes)),
        ("ephemeral-storage".to_owned(), given.ephemeral_storage.map(bytes)),
    ];
    let mut limits: BTreeMap<_, _> =
        both.into_iter().filter_map(|(name, amount)| amount.map(|a| (name, a))).collect();
    let mut requests = limits.clone();
    requests.extend(given.cpu.map(|cpu| ("cpu".to_owned(), cores(cpu))));
    if let Some(gpu) = &kubernetes.gpu {
        let amount = k8s_openapi::apimachinery::pkg::api::resource::Quantity(gpu.count.to_string());
        limits.insert(gpu.resource.clone(), amount);
    }
    let given = |map: BTreeMap<_, _>| Some(map).filter(|map| !map.is_empty());
    ResourceRequirements { limits: given(limits), requests: given(requests), claims: None }
}
