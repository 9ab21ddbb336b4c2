use crate::cluster::{self, ClusterRun, Existing};
use crate::job_file::rendered;
use crate::runs::{Run, RunArg};
use crate::{Context, Exit, Failure, block_on};
use anyhow::Context as _;
use k8s_openapi::api::batch::v1::Job;
use lockstep_job::{JobSpec, Resolved, Resume, Source, resolve};
use lockstep_render::{Objects, Work};
use serde_json::json;

/// Change the number of nodes of a run on a cluster
///
/// The run stops after a checkpoint and carries on from there with its new number of nodes. The global batch and the order
/// of the samples stay as they are; each rank's share of a step changes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArg,

    /// The new number of nodes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    nodes: u32,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    block_on(async {
        let (name, nodes) = (&args.run.run, args.nodes);
        let run = match args.run.find().await? {
            Run::OnCluster(run) => run,
            Run::Stored(_) => {
                return Err(Failure::usage(format!("run {name} is on this machine"))
                    .note(
                        "instead",
                        format!(
                            "{}      then launch it with --set nodes={nodes}",
                            args.run.command("cancel")
                        ),
                    )
                    .into());
            }
        };
        let before = run.num_nodes();
        if before == nodes {
            return Err(Failure::usage(format!("run {name} has {nodes} nodes already")).into());
        }
        let objects = scaled(&run, nodes).await?;
        cluster::remove(&run.cluster, name).await?;
        cluster::create(&run.cluster, &objects).await.with_context(|| {
            format!("run {name} has stopped after a checkpoint and could not start with {nodes} nodes; fix the problem below and launch it again with --set nodes={nodes}")
        })?;
        context.output.result(&json!({ "run": name, "nodes": nodes, "before": before }), || {
            let watch = args.run.command("status");
            format!("run {name} carries on with {nodes} nodes in place of {before}; watch it with: {watch} --watch")
        })?;
        Ok(Exit::Done)
    })
}

/// The run's objects with another number of nodes. Nothing is changed yet, so that what is wrong costs no running run.
async fn scaled(run: &ClusterRun, nodes: u32) -> anyhow::Result<Objects> {
    let name = &run.name;
    if run.end().is_some() {
        return Err(Failure::usage(format!("run {name} has ended"))
            .note("carry on", format!("launch it again with --set nodes={nodes}"))
            .into());
    }
    if is_scheduled(&run.job) {
        return Err(Failure::usage(format!("run {name} belongs to a schedule"))
            .note("fix", "change nodes in its job file and launch it; the next run will have them")
            .into());
    }
    let existing = Existing::find(&run.cluster, name).await?;
    let Some(spec) = existing.and_then(|existing| existing.spec) else {
        return Err(Failure::new(format!("the ConfigMap of run {name} is gone, and with it its job file"))
            .note("instead", format!("lockstep delete {name}, then launch it with --set nodes={nodes}"))
            .into());
    };
    let resolved = with_nodes(spec, nodes)?;
    let mut objects = rendered(&resolved, &resolved.job, Resume::Auto)?;
    cluster::set_ttl(&resolved.job, &mut objects);
    if let Work::Job(job) = &mut objects.work
        && let Some(spec) = &mut job.spec
    {
        spec.suspend = run.is_suspended().then_some(true).or(spec.suspend);
    }
    Ok(objects)
}

/// A resolved job with another number of nodes, checked like a job file.
fn with_nodes(spec: serde_json::Value, nodes: u32) -> anyhow::Result<Resolved> {
    let mut job = JobSpec::from_json(spec)?;
    job.forget_shape();
    let text = serde_json::to_string_pretty(&job)?;
    Ok(resolve(&Source { path: "job.json".into(), text }, &[format!("nodes={nodes}")])?)
}

fn is_scheduled(job: &Job) -> bool {
    let owners = job.metadata.owner_references.as_deref().unwrap_or_default();
    owners.iter().any(|owner| owner.kind == "CronJob")
}
