//! Makes a job's objects.

use super::Cluster;
use super::remove::remove_work;
use super::returns::{Return, for_an_older_cluster};
use super::watch::pods_of;
use crate::Failure;
use http_body_util::BodyExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams};
use kube::client::Body;
use kube::core::{Request, Status};
use kube::{Resource, ResourceExt};
use lockstep_job::JobSpec;
use lockstep_render::{JOB_LABEL, Objects, Work};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;

/// What the cluster answers where it made an object.
const CREATED: u16 = 201;
/// Who changes the objects, to the cluster.
pub(super) const MANAGER: &str = "lockstep";

/// A Job or a CronJob: what is around it belongs to it.
pub(super) trait Owner:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Serialize
    + DeserializeOwned
    + Clone
    + Debug
    + Send
    + 'static
{
    /// Selects the pods of the one called `name`.
    fn pods(name: &str) -> String;

    /// What its pods are made from.
    fn pods_mut(&mut self) -> Option<&mut PodTemplateSpec>;
}

impl Owner for Job {
    fn pods(name: &str) -> String {
        pods_of(name)
    }

    fn pods_mut(&mut self) -> Option<&mut PodTemplateSpec> {
        Some(&mut self.spec.as_mut()?.template)
    }
}

impl Owner for CronJob {
    fn pods(name: &str) -> String {
        format!("{JOB_LABEL}={name}")
    }

    fn pods_mut(&mut self) -> Option<&mut PodTemplateSpec> {
        Some(&mut self.spec.as_mut()?.job_template.spec.as_mut()?.template)
    }
}

/// What is there under a job's name.
#[derive(Debug)]
pub(crate) struct Existing {
    /// Its Job.
    pub(crate) job: Job,
    /// Its resolved job file, where the ConfigMap is still there.
    pub(crate) spec: Option<Value>,
}

impl Existing {
    /// Looks for the Job called `name`.
    ///
    /// # Errors
    /// Where it is none of Lockstep's, or the cluster refuses to show it.
    pub(crate) async fn find(cluster: &Cluster, name: &str) -> anyhow::Result<Option<Self>> {
        let (jobs, files) = (cluster.api::<Job>(), cluster.api::<ConfigMap>());
        let what = format!("Job {name}");
        let Some(job) = cluster.call("get", &what, jobs.get_opt(name)).await? else { return Ok(None) };
        belongs(cluster, &job, "Job", name)?;
        let text = match config_map(&job) {
            Some(file) => {
                let file = cluster.call("get", &format!("ConfigMap {file}"), files.get_opt(file)).await?;
                file.and_then(|file| file.data?.remove("job.json"))
            }
            None => None,
        };
        Ok(Some(Self { job, spec: text.and_then(|text| serde_json::from_str(&text).ok()) }))
    }
}

/// Has the cluster take a Job away some time after its end, where the job file says so. Left out by `render`: GitOps tools
/// would make again what the cluster took away.
pub(crate) fn set_ttl(job: &JobSpec, objects: &mut Objects) {
    let ttl = job.kubernetes.as_ref().and_then(|kubernetes| kubernetes.ttl);
    if let (Some(ttl), Work::Job(work)) = (ttl, &mut objects.work)
        && let Some(spec) = &mut work.spec
    {
        spec.ttl_seconds_after_finished = i32::try_from(ttl.duration().as_secs()).ok();
    }
}

/// Makes everything new: first the Job, so that of two launches at one time the one that loses has touched nothing, then what
/// its pods need, which belongs to it and goes with it. Where a part is refused, all that was made is taken away again. Returns
/// the Job as it is then, with how its agents come back; none for a scheduled job.
///
/// # Errors
/// Where the cluster refuses an object, or one of that name belongs to somebody else.
pub(crate) async fn create(cluster: &Cluster, objects: &Objects) -> anyhow::Result<Option<(Job, Return)>> {
    refuse_strangers(cluster, objects).await?;
    match &objects.work {
        Work::Job(job) => {
            let made = put_job(cluster, job).await?;
            surround(cluster, objects, "Job", &made).await?;
            let returns = Return::of(&made.object);
            Ok(Some((made.object, returns)))
        }
        Work::CronJob(cron_job) => {
            let made = put_work(cluster, "CronJob", cron_job.as_ref()).await?;
            surround(cluster, objects, "CronJob", &made).await?;
            Ok(None)
        }
    }
}

/// Makes the Job, or finds it made: by this call, whose answer was lost, or by somebody who launches the same.
async fn put_job(cluster: &Cluster, job: &Job) -> anyhow::Result<Put<Job>> {
    let refused = match put_work(cluster, "Job", job).await {
        Ok(made) => return Ok(made),
        Err(error) => error,
    };
    match Existing::find(cluster, &job.name_any()).await {
        Ok(Some(there)) if runs(&there.job) == runs(job) => Ok(Put { object: there.job, is_new: false }),
        Ok(Some(_)) => {
            let what = format!("somebody else has just launched run {} with another job", job.name_any());
            Err(refused.context(what))
        }
        _ => Err(refused),
    }
}

/// Makes what makes the pods, as far as the cluster knows how.
async fn put_work<K: Owner>(cluster: &Cluster, kind: &str, work: &K) -> anyhow::Result<Put<K>> {
    match put(cluster, kind, work).await {
        Ok(made) => Ok(made),
        Err(refused) => match for_an_older_cluster(work, &refused) {
            Some(work) => put(cluster, kind, &work).await,
            None => Err(refused),
        },
    }
}

/// What a Job's pods run: their job file and the agent's arguments.
fn runs(job: &Job) -> Option<(&str, Option<&Vec<String>>)> {
    let agent = job.spec.as_ref()?.template.spec.as_ref()?.containers.first()?;
    Some((config_map(job)?, agent.args.as_ref()))
}

/// Makes what is around a Job or a CronJob. Where a part is refused, one that was made for this goes again, and with it what
/// it owns; the first error is the one that counts.
async fn surround<K: Owner>(
    cluster: &Cluster,
    objects: &Objects,
    kind: &str,
    work: &Put<K>,
) -> anyhow::Result<()> {
    let made = put_around(cluster, objects, owner(&work.object)).await;
    if made.is_err() && work.is_new {
        let _ = remove_work::<K>(cluster, kind, &work.object.name_any(), work.object.uid()).await;
    }
    made
}

/// Changes a schedule and what is around it.
///
/// # Errors
/// Where the cluster refuses a part.
pub(super) async fn change(cluster: &Cluster, objects: &Objects, there: &CronJob) -> anyhow::Result<()> {
    put_around(cluster, objects, owner(there)).await?;
    if let Work::CronJob(cron_job) = &objects.work {
        put_work(cluster, "CronJob", cron_job.as_ref()).await?;
    }
    Ok(())
}

async fn put_around(cluster: &Cluster, objects: &Objects, owner: OwnerReference) -> anyhow::Result<()> {
    let mut owned = objects.clone();
    let mut metas = vec![&mut owned.service.metadata, &mut owned.config_map.metadata];
    metas.extend(owned.network_policy.as_mut().map(|policy| &mut policy.metadata));
    metas.extend(owned.pdb.as_mut().map(|pdb| &mut pdb.metadata));
    metas.into_iter().for_each(|meta| meta.owner_references = Some(vec![owner.clone()]));
    tokio::try_join!(
        put(cluster, "Service", &owned.service),
        put(cluster, "ConfigMap", &owned.config_map),
        put_some(cluster, "NetworkPolicy", owned.network_policy.as_ref()),
        put_some(cluster, "PodDisruptionBudget", owned.pdb.as_ref()),
    )?;
    Ok(())
}

/// That of what goes when the Job or CronJob is deleted, by whomever.
fn owner<K: Owner>(job: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: job.name_any(),
        uid: job.uid().unwrap_or_default(),
        block_owner_deletion: None,
        controller: None,
    }
}

/// An object as the cluster has it now.
struct Put<K> {
    object: K,
    /// Whether it was not there before.
    is_new: bool,
}

/// Server-side apply, of which [`Api::patch`](kube::Api::patch) doesn't tell whether it made the object.
async fn put<K>(cluster: &Cluster, kind: &str, object: &K) -> anyhow::Result<Put<K>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned,
{
    let name = object.name_any();
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
    let applied = async {
        let request = Request::new(K::url_path(&(), Some(&cluster.namespace)));
        let request =
            request.patch(&name, &params, &Patch::Apply(object)).map_err(kube::Error::BuildRequest)?;
        let answer = cluster.client.send(request.map(Body::from)).await?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            let unclear =
                || Status::failure(String::from_utf8_lossy(&bytes).trim(), "").with_code(status.as_u16());
            let refusal = serde_json::from_slice::<Status>(&bytes).unwrap_or_else(|_| unclear());
            return Err(kube::Error::Api(refusal.boxed()));
        }
        let object = serde_json::from_slice(&bytes).map_err(kube::Error::SerdeError)?;
        Ok(Put { object, is_new: status.as_u16() == CREATED })
    };
    cluster.call("create", &format!("{kind} {name}"), applied).await
}

async fn put_some<K>(cluster: &Cluster, kind: &str, object: Option<&K>) -> anyhow::Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned,
{
    match object {
        Some(object) => put(cluster, kind, object).await.map(drop),
        None => Ok(()),
    }
}

/// The ConfigMap that a Job's pods read.
pub(super) fn config_map(job: &Job) -> Option<&str> {
    let pod = job.spec.as_ref()?.template.spec.as_ref()?;
    pod.volumes
        .as_ref()?
        .iter()
        .find(|volume| volume.name == "job")?
        .config_map
        .as_ref()
        .map(|map| map.name.as_str())
}

/// A Service of that name may be somebody's web server.
pub(super) async fn refuse_strangers(cluster: &Cluster, objects: &Objects) -> anyhow::Result<()> {
    let name = objects.service.name_any();
    let services = cluster.api::<Service>();
    match cluster.call("get", &format!("Service {name}"), services.get_opt(&name)).await? {
        Some(service) => belongs(cluster, &service, "Service", &name),
        None => Ok(()),
    }
}

pub(super) fn belongs<K: Resource>(
    cluster: &Cluster,
    object: &K,
    kind: &str,
    name: &str,
) -> anyhow::Result<()> {
    if object.labels().get(JOB_LABEL).is_some_and(|job| job == name) {
        return Ok(());
    }
    let what =
        format!("{kind} {name} in namespace {} of {} is not Lockstep's", cluster.namespace, cluster.context);
    Err(Failure::usage(what)
        .note("fix", "give the job another name, or use another namespace: -n NAME")
        .into())
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, Old};
    use super::super::rehearse::dry_run;
    use super::*;
    use lockstep_job::{Source, parse};
    use serde_json::json;

    fn objects(steps: u32) -> Objects {
        let text = format!(
            "name: a\nmodel: {{ kind: mlp }}\ndata: {{ train: {{ uri: s3://b/d }} }}\ntrain: {{ steps: {steps} }}\n\
             storage: s3://b/runs\nkubernetes: {{ image: i }}\n"
        );
        let job = parse(&Source { path: "j.yaml".into(), text }, &[]).unwrap();
        lockstep_render::render(&job, lockstep_job::Resume::Auto).unwrap()
    }

    fn told(made: Option<(Job, Return)>, error: &anyhow::Error) -> Job {
        assert!(error.to_string().contains("somebody else has just launched run a"), "{error:#}");
        made.unwrap().0
    }

    #[tokio::test]
    async fn of_two_launches_at_one_time_the_one_that_loses_takes_nothing_from_the_other() {
        let (one, other) = (objects(1), objects(2));
        let mut winners = [0; 2];
        for seed in 0..300 {
            let fake = Fake::new(seed);
            let cluster = fake.cluster();
            let ended = tokio::join!(create(&cluster, &one), create(&cluster, &other));
            let (job, objects) = match ended {
                (Ok(job), Err(error)) => (told(job, &error), &one),
                (Err(error), Ok(job)) => (told(job, &error), &other),
                both => panic!("seed {seed}: {both:?}"),
            };
            winners[usize::from(objects.config_map == other.config_map)] += 1;
            for (kind, name) in [
                ("services", objects.service.name_any()),
                ("configmaps", objects.config_map.name_any()),
                ("networkpolicies", objects.network_policy.as_ref().unwrap().name_any()),
            ] {
                let there = fake.all(kind);
                let names: Vec<_> =
                    there.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
                assert_eq!(names, [name.as_str()], "seed {seed}, {kind}");
                let owner = &there[0]["metadata"]["ownerReferences"][0]["uid"];
                assert_eq!(owner.as_str(), job.metadata.uid.as_deref(), "seed {seed}, {kind}");
            }
        }
        assert!(winners.iter().all(|count| *count > 20), "{winners:?}");
    }

    #[tokio::test]
    async fn what_was_made_goes_again_where_a_part_is_refused() {
        for refused in ["services", "configmaps", "networkpolicies", "jobs"] {
            let fake = Fake::new(7);
            fake.refuse(refused);
            let error = create(&fake.cluster(), &objects(1)).await.unwrap_err();
            assert!(format!("{error:#}").contains("403"), "{error:#}");
            for kind in ["jobs", "services", "configmaps", "networkpolicies"] {
                assert_eq!(fake.all(kind), [json!(null); 0], "{kind} where {refused} are refused");
            }
        }
    }

    #[tokio::test]
    async fn a_job_whose_answer_was_lost_gets_what_its_pods_need() {
        let fake = Fake::new(5);
        fake.lose_answer("jobs");
        let (job, _) = create(&fake.cluster(), &objects(1)).await.unwrap().unwrap();
        let owner = &fake.all("configmaps")[0]["metadata"]["ownerReferences"][0]["uid"];
        assert_eq!(owner.as_str(), job.metadata.uid.as_deref());
    }

    #[tokio::test]
    async fn who_finds_a_job_made_does_not_take_it_away_where_a_part_is_refused() {
        let (fake, objects) = (Fake::new(5), objects(1));
        create(&fake.cluster(), &objects).await.unwrap();
        fake.refuse("services");
        create(&fake.cluster(), &objects).await.unwrap_err();
        assert_eq!((fake.all("jobs").len(), fake.all("configmaps").len()), (1, 1));
    }

    #[tokio::test]
    async fn the_same_job_launched_twice_at_one_time_is_one_run() {
        let (fake, objects) = (Fake::new(3), objects(1));
        let cluster = fake.cluster();
        let (one, other) = tokio::join!(create(&cluster, &objects), create(&cluster, &objects));
        let uid = |made: anyhow::Result<Option<(Job, Return)>>| made.unwrap().unwrap().0.uid();
        assert_eq!(uid(one), uid(other));
        assert_eq!(fake.all("services").len(), 1);
    }

    #[tokio::test]
    async fn a_cluster_that_does_not_know_how_agents_come_back_in_their_pods_gets_the_job_all_the_same() {
        for (old, expected) in [
            (None, Return::InItsPod),
            (Some(Old::Unknown), Return::InANewPod),
            (Some(Old::Forbidden), Return::InANewPod),
            (Some(Old::Dropped), Return::InANewPod),
        ] {
            let aged = || {
                let fake = Fake::new(3);
                old.into_iter().for_each(|old| fake.grow_old(old));
                fake
            };
            let (fake, objects) = (aged(), objects(1));
            let rehearsed = dry_run(&aged().cluster(), &objects).await.unwrap().1;
            let (_, returns) = create(&fake.cluster(), &objects).await.unwrap().unwrap();
            assert_eq!((rehearsed, returns), (expected, expected), "{old:?}");
            let agent = &fake.all("jobs")[0]["spec"]["template"]["spec"]["containers"][0];
            let has_rules = expected == Return::InItsPod;
            assert_eq!(agent.get("restartPolicyRules").is_some(), has_rules, "{agent:#}");
            assert_eq!(agent.get("restartPolicy").is_some(), has_rules, "{agent:#}");
        }
    }
}
