//! What a launch would do, told without doing it.

use crate::cluster::Return;
use crate::plain::plain_line;
use crate::preflight::Decision;
use crate::{Context, Exit};
use lockstep_render::{Objects, Work};
use lockstep_run::Step;
use serde::Serialize;

/// Whom a dry run asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum DryRun {
    /// No cluster.
    Client,
    /// The cluster too: whether the run is there, and whether it would take the objects.
    Server,
}

/// What would happen.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) struct Plan {
    would: Would,
    run: String,
    /// Where the run is kept.
    run_dir: String,
    /// What the cluster would hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    objects: Vec<String>,
    /// How an agent that dies would come back, where the cluster was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<Return>,
    /// The newest checkpoint, from which it would carry on.
    checkpoint: Option<Step>,
    /// What the cluster says of objects that it would take all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Would {
    Start,
    Follow,
    Nothing,
}

impl Plan {
    /// Of a decision that is no refusal.
    pub(super) fn new(decision: &Decision, run: &str, run_dir: String, checkpoint: Option<Step>) -> Self {
        let would = match decision {
            Decision::Done => Would::Nothing,
            Decision::Attach => Would::Follow,
            Decision::Start
            | Decision::StartsOver
            | Decision::OtherJobRuns(_)
            | Decision::OtherMeaning(_) => Would::Start,
        };
        let (objects, warnings) = (Vec::new(), Vec::new());
        Self { would, run: run.to_owned(), run_dir, objects, recovery: None, checkpoint, warnings }
    }

    /// With what it would make on a cluster.
    pub(super) fn with_objects(mut self, objects: &Objects) -> Self {
        if self.would == Would::Start {
            self.objects = names(objects);
        }
        self
    }

    /// With what the cluster warned of, and how agents would come back there.
    pub(super) fn with_answer(mut self, warnings: Vec<String>, recovery: Option<Return>) -> Self {
        (self.warnings, self.recovery) = (warnings, recovery);
        self
    }

    /// Tells it.
    ///
    /// # Errors
    /// Where it can't be printed.
    pub(super) fn tell(&self, context: &Context) -> anyhow::Result<Exit> {
        context.output.result(self, || self.text())?;
        Ok(Exit::Done)
    }

    fn text(&self) -> String {
        let run = &self.run;
        let what = match (self.would, self.checkpoint) {
            (Would::Nothing, _) => format!("nothing would happen: {run} has already finished"),
            (Would::Follow, _) => format!("would follow {run}, which is running already"),
            (Would::Start, Some(step)) => format!("would carry on with {run} from checkpoint {step}"),
            (Would::Start, None) => format!("would start {run}"),
        };
        let mut lines = vec![what, format!("  kept in   {}", self.run_dir)];
        lines.extend(self.objects.iter().map(|object| format!("  makes     {object}")));
        lines.extend(self.recovery.map(|returns| format!("  recovery  {returns}")));
        lines.extend(self.warnings.iter().map(|warning| format!("  warning   {}", plain_line(warning))));
        lines.push("dry run: nothing was changed".to_owned());
        lines.join("\n")
    }
}

/// The objects, in the order in which they are made.
fn names(objects: &Objects) -> Vec<String> {
    let named = |kind: &str, name: Option<&String>| format!("{kind} {}", name.map_or("", String::as_str));
    let mut names = vec![match &objects.work {
        Work::Job(job) => named("Job", job.metadata.name.as_ref()),
        Work::CronJob(cron_job) => named("CronJob", cron_job.metadata.name.as_ref()),
    }];
    names.push(named("Service", objects.service.metadata.name.as_ref()));
    names.push(named("ConfigMap", objects.config_map.metadata.name.as_ref()));
    let policy = objects.network_policy.as_ref();
    names.extend(policy.map(|policy| named("NetworkPolicy", policy.metadata.name.as_ref())));
    names.extend(objects.pdb.as_ref().map(|pdb| named("PodDisruptionBudget", pdb.metadata.name.as_ref())));
    names
}
