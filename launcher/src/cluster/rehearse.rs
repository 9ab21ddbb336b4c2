//! A job's objects as a dry run, and the machines that it asks for: what a launch would hear.

use super::Cluster;
use super::apply::{MANAGER, Owner, refuse_strangers};
use super::returns::{Return, for_an_older_cluster};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::client::Body;
use kube::core::Request;
use kube::{Resource, ResourceExt};
use lockstep_job::JobSpec;
use lockstep_render::{Objects, Work};
use lockstep_run::checkup::Finding;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is added to the name of a Job that is only rehearsed.
const BESIDE: &str = "-dry-run";
/// Of a CronJob, whose Jobs add 11 characters to it.
const LONGEST_NAME: usize = 52;

/// Applies every object as a dry run. Returns what the cluster warns of, such as pods that the namespace's Pod Security would
/// not let in, where it is labelled to warn, and how agents would come back. Nothing is made.
///
/// # Errors
/// Where the cluster refuses an object, or one of that name belongs to somebody else.
pub(crate) async fn dry_run(cluster: &Cluster, objects: &Objects) -> anyhow::Result<(Vec<String>, Return)> {
    refuse_strangers(cluster, objects).await?;
    let (mut warnings, _) = rehearse(cluster, "Service", &objects.service).await?;
    warnings.extend(rehearse(cluster, "ConfigMap", &objects.config_map).await?.0);
    if let Some(policy) = &objects.network_policy {
        warnings.extend(rehearse(cluster, "NetworkPolicy", policy).await?.0);
    }
    if let Some(pdb) = &objects.pdb {
        warnings.extend(rehearse(cluster, "PodDisruptionBudget", pdb).await?.0);
    }
    let (more, returns) = match &objects.work {
        Work::Job(job) => rehearse_work(cluster, "Job", &beside(job.as_ref())).await?,
        Work::CronJob(cron_job) => rehearse_work(cluster, "CronJob", &beside(cron_job.as_ref())).await?,
    };
    warnings.extend(more);
    Ok((warnings, returns))
}

/// As a launch makes it.
async fn rehearse_work<K: Owner>(
    cluster: &Cluster,
    kind: &str,
    work: &K,
) -> anyhow::Result<(Vec<String>, Return)> {
    let taken = match rehearse(cluster, kind, work).await {
        Ok(taken) => taken,
        Err(refused) => match for_an_older_cluster(work, &refused) {
            Some(work) => rehearse(cluster, kind, &work).await?,
            None => return Err(refused),
        },
    };
    Ok((taken.0, Return::of(&taken.1)))
}

/// The same, as a check of the doctor: a warning is a finding.
pub(crate) async fn takes(cluster: &Cluster, objects: &Objects) -> Finding {
    match dry_run(cluster, objects).await {
        Ok((warnings, returns)) if warnings.is_empty() => {
            Ok(format!("the cluster would take its objects, without a warning; {returns}"))
        }
        Ok((warnings, _)) => Err(format!("the cluster warns: {}", warnings.join("; "))),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// Under a name of its own: that of an ended run may still be there, which a launch removes first, and whose pods can't be
/// changed.
fn beside<K: Resource + Clone>(object: &K) -> K {
    let mut object = object.clone();
    let name = object.name_any();
    let short: String = name.chars().take(LONGEST_NAME - BESIDE.len()).collect();
    object.meta_mut().name = Some(short + BESIDE);
    object
}

/// Returns the API server's warnings, which kube's own calls don't hand on, and the object as it would be.
async fn rehearse<K>(cluster: &Cluster, kind: &str, object: &K) -> anyhow::Result<(Vec<String>, K)>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned,
{
    let name = object.name_any();
    let params = PatchParams { dry_run: true, ..PatchParams::apply(MANAGER) };
    let url = K::url_path(&(), Some(&cluster.namespace));
    let ask = async {
        let request = Request::new(url).patch(&name, &params, &Patch::Apply(object));
        let request = request.map_err(kube::Error::BuildRequest)?;
        let answer = cluster.client.send(request.map(Body::from)).await?;
        let (status, warnings) = (answer.status(), warnings(answer.headers().get_all("warning").iter()));
        let body = answer.into_body().collect_bytes().await?;
        if status.is_success() {
            return Ok((warnings, serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?));
        }
        let refusal = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
        Err(kube::Error::Api(Box::new(refusal)))
    };
    let what = format!("{kind} {}, as a dry run,", name.trim_end_matches(BESIDE));
    cluster.call("create", &what, ask).await
}

/// The texts of `Warning` headers: `299 - "text"`.
fn warnings<V: AsRef<[u8]>>(headers: impl Iterator<Item = V>) -> Vec<String> {
    let text = |header: V| {
        let header = String::from_utf8_lossy(header.as_ref()).into_owned();
        let quoted = header.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"'));
        quoted.map_or(header.clone(), |(text, _)| text.replace("\\\"", "\""))
    };
    headers.map(text).collect()
}

/// Whether the cluster's machines have the GPUs of a job; nothing to say of a job without. What is taken by others isn't
/// counted: a launch waits for that.
pub(crate) async fn gpus(cluster: &Cluster, job: &JobSpec) -> Option<Finding> {
    let gpu = job.kubernetes.as_ref()?.gpu.as_ref()?;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let each: Vec<u64> = match nodes.list(&ListParams::default()).await {
        Ok(found) => found.items.iter().map(|node| allocatable(node, &gpu.resource)).collect(),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            return Some(Ok(
                "not checked: you may not list the machines; launch says what it waits for".to_owned()
            ));
        }
        Err(error) => return Some(Err(error.to_string())),
    };
    let (count, resource) = (u64::from(gpu.count), &gpu.resource);
    let places: u64 = each.iter().filter_map(|have| have.checked_div(count)).sum();
    let most = each.iter().max().copied().unwrap_or(0);
    let wanted = format!("{} x {count} {resource}", job.nodes);
    Some(match places >= u64::from(job.nodes) {
        true => Ok(format!("{wanted}: the machines have room for {places} such pods when they are free")),
        false => {
            Err(format!("{wanted}: the machines have room for {places} such pods; the largest has {most}"))
        }
    })
}

fn allocatable(node: &Node, resource: &str) -> u64 {
    let status = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    status.and_then(|all| all.get(resource)?.0.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_what_is_in_quotes() {
        let headers = [r#"299 - "would violate PodSecurity \"restricted:latest\"""#, "odd"];
        assert_eq!(warnings(headers.iter()), [r#"would violate PodSecurity "restricted:latest""#, "odd"]);
    }
}
