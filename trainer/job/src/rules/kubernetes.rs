//! The Kubernetes section against itself and the rest of the job.

use std::collections::BTreeSet;

use super::Findings;
use crate::{
    ByteSize, JobSpec, Kubernetes, RunName,
    env::{is_reserved_variable, is_variable_name},
};

/// Paths inside the pods that are Lockstep's own.
const OWN_PATHS: [&str; 5] = ["/dev/shm", "/tmp", "/cache", "/etc/lockstep", "/lockstep"];

pub(super) fn check(job: &JobSpec, found: &mut Findings<'_>) {
    let Some(kubernetes) = &job.kubernetes else { return };
    words(kubernetes, found);
    agent_image(job, kubernetes, found);
    variables(kubernetes, found);
    volumes(kubernetes, found);
    sizes(job, kubernetes, found);
    times(job, kubernetes, found);
    if kubernetes.schedule.is_some() {
        scheduled_name(job, found);
    }
}

fn words(kubernetes: &Kubernetes, found: &mut Findings<'_>) {
    let images = [
        ("kubernetes.image", Some(&kubernetes.image)),
        ("kubernetes.agentImage", kubernetes.agent_image.as_ref()),
    ];
    for (path, image) in images {
        if let Some(image) = image.filter(|image| image.is_empty() || image.contains(char::is_whitespace)) {
            found.add(
                path,
                format!("{path} is `{image}`, which is not the name of an image"),
                "write registry/name:tag",
            );
        }
    }
    if let Some(gpu) = &kubernetes.gpu
        && !gpu.resource.split_once('/').is_some_and(|(domain, name)| !domain.is_empty() && !name.is_empty())
    {
        let what =
            format!("kubernetes.gpu.resource is `{}`, but a resource has a domain and a name", gpu.resource);
        found.add("kubernetes.gpu.resource", what, "write it like nvidia.com/gpu");
    }
    if let Some(schedule) = &kubernetes.schedule
        && let parts = schedule.cron.split_whitespace().count()
        && !schedule.cron.starts_with('@')
        && parts != 5
    {
        let what =
            format!("kubernetes.schedule.cron is `{}`, which has {parts} parts instead of 5", schedule.cron);
        let fix = "write minute, hour, day of month, month and day of week, like `0 2 * * *`";
        found.add("kubernetes.schedule.cron", what, fix);
    }
}

/// Only the agent is brought along, not the built-in worker and its libtorch.
fn agent_image(job: &JobSpec, kubernetes: &Kubernetes, found: &mut Findings<'_>) {
    if kubernetes.agent_image.is_some() && job.command.is_none() && job.worker.is_none() {
        let what = "kubernetes.agentImage brings the agent into another image, which has no lockstep-worker for `model`";
        found.add(
            "kubernetes.agentImage",
            what.to_owned(),
            "remove it and name Lockstep's image in kubernetes.image, or use `command`",
        );
    }
}

fn variables(kubernetes: &Kubernetes, found: &mut Findings<'_>) {
    for key in kubernetes.env.keys() {
        variable(&format!("kubernetes.env.{key}"), key, found);
    }
    let mut taken: BTreeSet<&str> = kubernetes.env.keys().map(String::as_str).collect();
    for (index, secret) in kubernetes.secrets.iter().enumerate() {
        let path = format!("kubernetes.secrets.{index}");
        match (&secret.key, &secret.env) {
            (None, Some(_)) => {
                let what = format!("{path}.env names a variable, but no `key` says what it holds");
                found.add(&format!("{path}.env"), what, "add key, or remove env to get all keys");
            }
            (Some(key), env) => {
                let name = env.as_ref().unwrap_or(key);
                variable(&path, name, found);
                if !taken.insert(name) {
                    let what = format!("{path} sets {name}, which is already set");
                    found.add(&path, what, "keep one, or name another variable with env");
                }
            }
            (None, None) => {}
        }
    }
}

fn variable(path: &str, name: &str, found: &mut Findings<'_>) {
    if is_reserved_variable(name) {
        found.add(path, format!("{name} is set by the agent for each worker"), "remove it");
    } else if !is_variable_name(name) {
        let what = format!("{path}: `{name}` is not a valid name for a variable");
        found.add(path, what, "use letters, digits and _, not starting with a digit");
    }
}

fn volumes(kubernetes: &Kubernetes, found: &mut Findings<'_>) {
    let mut taken = BTreeSet::from(OWN_PATHS);
    for (index, volume) in kubernetes.volumes.iter().enumerate() {
        let path = format!("kubernetes.volumes.{index}");
        let sources = [&volume.claim, &volume.config_map, &volume.secret];
        match sources.into_iter().flatten().count() {
            1 => {}
            0 => found.add(&path, format!("{path} mounts nothing"), "add claim, configMap or secret"),
            _ => found.add(&path, format!("{path} mounts several things"), "give each a volume of its own"),
        }
        let at = volume.mount_path.trim_end_matches('/');
        let mount = format!("{path}.mountPath");
        if !at.starts_with('/') || at.contains(':') {
            let what =
                format!("{mount} is `{}`, which is not an absolute path without colons", volume.mount_path);
            found.add(&mount, what, "start it with / and leave out colons");
        } else if !taken.insert(at) {
            found.add(
                &mount,
                format!("{mount} is `{at}`, where something else is mounted"),
                "use another path",
            );
        }
    }
}

fn sizes(job: &JobSpec, kubernetes: &Kubernetes, found: &mut Findings<'_>) {
    let zero = |size: ByteSize| size.bytes() == 0;
    for (path, size) in [
        ("kubernetes.tmpSize", Some(kubernetes.tmp_size)),
        ("kubernetes.shmSize", kubernetes.shm_size),
        ("kubernetes.resources.memory", kubernetes.resources.memory),
        ("kubernetes.resources.ephemeralStorage", kubernetes.resources.ephemeral_storage),
    ] {
        if size.is_some_and(zero) {
            found.add(path, format!("{path} is zero"), "use a size above zero, like 1GiB");
        }
    }
    let (shm, memory) = (kubernetes.shm_size(), kubernetes.resources.memory);
    if let Some(memory) = memory.filter(|memory| shm >= *memory && !zero(*memory)) {
        let path = found.later("kubernetes.shmSize", "kubernetes.resources.memory");
        let what =
            format!("kubernetes.shmSize is {shm}, but must be below resources.memory, which is {memory}");
        found.add(path, what, "lower shmSize or raise memory: /dev/shm counts against it");
    }
    let disk = ByteSize::new(job.cache_volume().bytes().saturating_add(kubernetes.tmp_size.bytes()));
    if let Some(limit) = kubernetes.resources.ephemeral_storage.filter(|limit| *limit < disk) {
        let path = "kubernetes.resources.ephemeralStorage";
        let what = format!("{path} is {limit}, but /tmp and the dataset cache may take {disk}");
        found.add(path, what, format!("raise it to {disk}, or lower tmpSize or data.cache.size"));
    }
}

fn times(job: &JobSpec, kubernetes: &Kubernetes, found: &mut Findings<'_>) {
    if kubernetes.start_timeout.duration().is_zero() {
        let path = "kubernetes.startTimeout";
        found.add(path, format!("{path} is zero, which gives pods no time to start"), "use a time like 30m");
    }
    let (period, grace) = (kubernetes.grace_period(job.recovery.grace), job.recovery.grace);
    if period <= grace {
        let path = found.later("kubernetes.gracePeriod", "recovery.grace");
        let what =
            format!("kubernetes.gracePeriod is {period}, but must be above recovery.grace, which is {grace}");
        found.add(path, what, "raise gracePeriod or lower grace, or the last checkpoint is cut off");
    }
}

/// A CronJob's Jobs are called after it and the time, which takes 11 more characters.
fn scheduled_name(job: &JobSpec, found: &mut Findings<'_>) {
    const CRON_JOB: usize = 52;
    const TIME: usize = 11;
    let most = CRON_JOB.min(RunName::max_len(job.nodes) - TIME);
    if job.name.len() > most {
        let what = format!(
            "name has {} characters; with the time of a scheduled launch and the node's index that is over 63",
            job.name.len()
        );
        found.add("name", what, format!("use at most {most} characters"));
    }
}
