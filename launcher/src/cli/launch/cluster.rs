//! A launch on a cluster.

use super::dry_run::{DryRun, Plan};
use super::{Args, Until, code, command, deliver, differ, fresh_command, plural, starts_over, summary};
use crate::cluster::{
    self, Cluster, ClusterRun, End, Ended, Existing, Followed, LogWish, Patience, set_suspended,
};
use crate::job_file::rendered;
use crate::output::{patiently, say, tell};
use crate::plain::{plain, plain_line};
use crate::preflight::{Decision, Found, decide};
use crate::signals::Signals;
use crate::view::{View, coarse};
use crate::{Context, Exit, Failure, error, shell};
use indicatif::BinaryBytes;
use k8s_openapi::api::batch::v1::Job;
use lockstep_job::{JobSpec, Resolved};
use lockstep_render::{Objects, Work};
use lockstep_run::Outcome;
use lockstep_run::code::Packed;
use std::time::{Duration, Instant};

/// Who attaches sees so many lines of the past.
const PAST: LogWish = LogWish { tail: Some(50), since_seconds: None, previous: false, tellers: true };
/// How long a launch that came to nothing waits until its objects are gone.
const REMOVE_DEADLINE: Duration = Duration::from_secs(15);

pub(super) async fn launch(args: &Args, context: &Context, resolved: &Resolved) -> anyhow::Result<Exit> {
    // Heard from before the user is told that they may be used.
    let signals = Signals::listen()?;
    resolved.check_for_cluster()?;
    if args.wait == Until::FirstStep && resolved.job.command.is_some() {
        return Err(Failure::usage("a command reports no steps, so --wait=first-step would never end")
            .note("fix", "--wait=end, or --wait=created")
            .into());
    }
    let (mut job, since) = (resolved.job.clone(), Instant::now());
    let code = args.sync.as_deref().map(|folder| code::pack(folder, &mut job)).transpose()?;
    let place = args.cluster.for_job(&mut job);
    let mut objects = rendered(resolved, &job, args.start.resume())?;
    if args.dry_run == Some(DryRun::Client) {
        let plan = Plan::new(&Decision::Start, job.name.as_ref(), run_dir(&job), None);
        return plan.with_objects(&objects).tell(context);
    }
    let cluster = Cluster::connect(&place).await?;
    cluster::set_ttl(&job, &mut objects);
    let launch = Launch { args, context, cluster, job, code, objects, since, first_step: None };
    if args.dry_run.is_some() {
        return launch.rehearse().await;
    }
    match &launch.objects.work {
        Work::CronJob(_) => launch.schedule().await,
        Work::Job(_) => launch.job(signals).await,
    }
}

struct Launch<'a> {
    args: &'a Args,
    context: &'a Context,
    cluster: Cluster,
    job: JobSpec,
    code: Option<Packed>,
    objects: Objects,
    since: Instant,
    /// How long after `since` the first step was done, where this launch saw it.
    first_step: Option<Duration>,
}

impl Launch<'_> {
    /// Says what the launch would do, as far as the cluster can tell beforehand.
    async fn rehearse(&self) -> anyhow::Result<Exit> {
        let decision = match &self.objects.work {
            Work::CronJob(_) => {
                self.check_schedule().await?;
                Decision::Start
            }
            Work::Job(_) => self.look().await?.1,
        };
        let (warnings, returns) = match &decision {
            Decision::OtherJobRuns(fields) => return Err(self.runs_another(fields)),
            Decision::StartsOver => return Err(starts_over(&self.job.name, &self.stop())),
            Decision::OtherMeaning(fields) => return Err(self.holds_another(fields)),
            Decision::Start => {
                let (warnings, returns) = cluster::dry_run(&self.cluster, &self.objects).await?;
                (warnings, Some(returns))
            }
            Decision::Attach | Decision::Done => (Vec::new(), None),
        };
        Plan::new(&decision, self.job.name.as_ref(), run_dir(&self.job), None)
            .with_objects(&self.objects)
            .with_answer(warnings, returns)
            .tell(self.context)
    }

    /// Makes a job that the cluster launches by itself, again and again.
    async fn schedule(&self) -> anyhow::Result<Exit> {
        self.check_schedule().await?;
        let (name, namespace) = (&self.job.name, &self.cluster.namespace);
        cluster::schedule(&self.cluster, &self.objects).await?;
        let schedule = self.job.kubernetes.as_ref().and_then(|kubernetes| kubernetes.schedule.as_ref());
        let when = schedule.map_or(String::new(), |s| format!("{} {}", s.cron, s.time_zone));
        self.context.output.result(&serde_json::json!({ "name": name, "scheduled": when }), || {
            format!("scheduled {name} at {when}\n  a run now  kubectl -n {namespace} create job --from=cronjob/{name} {name}-now      end it  lockstep delete {name}{}", self.place())
        })?;
        Ok(Exit::Done)
    }

    /// Whether the job can be scheduled under its name.
    async fn check_schedule(&self) -> anyhow::Result<()> {
        let name = &self.job.name;
        if self.code.is_some() {
            return Err(Failure::usage(
                "a scheduled job's runs have folders of their own, so --sync can't bring code to them",
            )
            .note("fix", "build the code into the image")
            .into());
        }
        if Existing::find(&self.cluster, name).await?.is_some() {
            return Err(Failure::usage(format!(
                "run {name} is on the cluster, and a schedule can't share its name"
            ))
            .note("remove it", format!("lockstep delete {name}{}", self.place()))
            .note("or", "schedule this job under another name")
            .into());
        }
        Ok(())
    }

    /// What the cluster has under the job's name, and what a launch makes of that.
    async fn look(&self) -> anyhow::Result<(Option<Existing>, Decision)> {
        let (name, json) = (self.job.name.to_string(), serde_json::to_value(&self.job)?);
        // Both at once, but where neither is answered it is always the Job that the user hears of.
        let (existing, scheduled) =
            tokio::join!(Existing::find(&self.cluster, &name), cluster::has_schedule(&self.cluster, &name));
        let existing = existing?;
        if scheduled? {
            return Err(Failure::usage(format!(
                "{name} is scheduled on the cluster, and a run can't share its name"
            ))
            .note(
                "a run of it",
                format!("kubectl -n {} create job --from=cronjob/{name} {name}-now", self.cluster.namespace),
            )
            .note("end it", format!("lockstep delete {name}{}", self.place()))
            .note("or", "launch this job under another name")
            .into());
        }
        let decision = existing.as_ref().map_or(Decision::Start, |existing| self.decide(existing, &json));
        Ok((existing, decision))
    }

    async fn job(self, signals: Signals) -> anyhow::Result<Exit> {
        let name = self.job.name.to_string();
        let (existing, decision) = self.look().await?;
        let mut view = View::new(self.job.command.is_some() || self.job.worker.is_some());
        let Some(existing) = existing else { return self.start(&mut view, signals).await };
        match decision {
            Decision::Start => {
                view.on_phase("removing", &format!("what the ended Job {name} left"));
                cluster::remove(&self.cluster, &name).await?;
                self.start(&mut view, signals).await
            }
            Decision::Attach => self.attach(existing.job, &mut view, signals).await,
            Decision::Done => {
                let run = self.run(existing.job);
                say!("{name} has already finished; start over with: {}", fresh_command(self.args));
                self.finish(&run, Exit::Done).await
            }
            Decision::StartsOver => Err(starts_over(&name, &self.stop())),
            Decision::OtherJobRuns(fields) => Err(self.runs_another(&fields)),
            Decision::OtherMeaning(fields) => Err(self.holds_another(&fields)),
        }
    }

    fn stop(&self) -> String {
        format!("lockstep cancel {}{}", self.job.name, self.place())
    }

    fn runs_another(&self, fields: &[String]) -> anyhow::Error {
        let name = &self.job.name;
        Failure::usage(format!("run {name} is on the cluster with another job: {}", differ(fields)))
            .note("stop it", self.stop())
            .note("or", "launch this job under another name, or in another namespace: -n NAME")
            .into()
    }

    fn holds_another(&self, fields: &[String]) -> anyhow::Error {
        Failure::usage(format!("run {} holds another job: {}", self.job.name, differ(fields)))
            .note("keep it", "launch this job under another name")
            .note("start over", fresh_command(self.args))
            .into()
    }

    fn decide(&self, existing: &Existing, json: &serde_json::Value) -> Decision {
        let end = cluster::end_of(&existing.job);
        let outcome = end.as_ref().map(|end| match end {
            End::Done => Outcome::Done,
            End::Failed(error) => Outcome::Failed { error: error.clone() },
            End::Stopped(_) | End::Suspended | End::Deleted => {
                Outcome::Stopped { cause: "stopped".to_owned(), for_good: true }
            }
        });
        let found = Found { job: existing.spec.clone(), outcome, lives: end.is_none() };
        match decide(&found, json, self.args.start.resume()) {
            // Nothing has to be made anew for it to go on.
            Decision::Start
                if end == Some(End::Suspended)
                    && existing.spec.as_ref() == Some(json)
                    && !self.args.start.fresh =>
            {
                Decision::Attach
            }
            // The ConfigMap was deleted under a run that lives: that is no reason to take the run away.
            Decision::Start if end.is_none() => Decision::Attach,
            decision => decision,
        }
    }

    /// Makes the objects, and follows.
    async fn start(mut self, view: &mut View, signals: Signals) -> anyhow::Result<Exit> {
        view.header(&self.job.name, &self.what(), &run_dir(&self.job));
        if let Some(code) = &self.code {
            code::bring(code, &run_dir(&self.job)).await?;
            view.on_phase(
                "code",
                &format!("{}, {}", plural(code.num_files as u32, "file"), BinaryBytes(code.num_bytes)),
            );
        }
        let Some((job, returns)) = cluster::create(&self.cluster, &self.objects).await? else {
            anyhow::bail!("the cluster created no Job for {}", self.job.name);
        };
        let took = self.since.elapsed().as_secs_f64();
        view.on_phase("created", &format!("Service {0}, Job {0}  {took:.2}s", self.job.name));
        view.on_phase("recovery", &returns.to_string());
        let start = self.job.kubernetes.as_ref().map(|kubernetes| kubernetes.start_timeout.duration());
        match self.args.wait {
            Until::Created => self.left(&self.run(job), "").await,
            _ => {
                self.follow(job, view, start, LogWish { tellers: true, ..LogWish::default() }, signals).await
            }
        }
    }

    /// Follows what is there; what was suspended goes on.
    async fn attach(mut self, job: Job, view: &mut View, signals: Signals) -> anyhow::Result<Exit> {
        let run = self.run(job);
        if run.is_suspended() && !run.is_queued() {
            view.header(
                &self.job.name,
                "was suspended and goes on; Ctrl-C leaves it running",
                &run_dir(&self.job),
            );
            set_suspended(&run, false).await?;
        } else {
            view.header(&self.job.name, "is running already; Ctrl-C leaves it running", &run_dir(&self.job));
        }
        match self.args.wait {
            Until::Created => self.left(&run, "").await,
            _ => self.follow(run.job, view, None, PAST, signals).await,
        }
    }

    async fn follow(
        &mut self,
        job: Job,
        view: &mut View,
        start: Option<Duration>,
        past: LogWish,
        mut signals: Signals,
    ) -> anyhow::Result<Exit> {
        let patience = Patience {
            start,
            launched: start.map(|_| self.since),
            until_first_step: self.args.wait == Until::FirstStep,
            past,
        };
        let followed = cluster::follow(&self.cluster, &self.job.name, view, patience, &mut signals).await;
        view.finish(&mut signals).await;
        let (followed, first_step) = followed?;
        self.first_step = first_step;
        let run = self.run(job);
        match followed {
            Followed::FirstStep => self.left(&run, "").await,
            Followed::Left(signal) => self.left(&run, "detached; ").await.map(|_| signal.into()),
            Followed::Ended(Ended::Job(end)) => self.conclude(&run, end).await,
            Followed::Ended(Ended::NotStarted(waits)) => {
                let reasons: Vec<_> =
                    waits.iter().map(|(wait, lasted)| format!("{wait} for {}", coarse(*lasted))).collect();
                let reason =
                    if reasons.is_empty() { "its pods did not start".to_owned() } else { reasons.join("; ") };
                let most = start.unwrap_or_default();
                let what = format!("run {} could not start within {most:?}: {reason}", self.job.name);
                let fix = waits.iter().find_map(|(wait, _)| wait.fix(&self.job.name));
                let failure = Failure::new(what);
                let failure = fix.into_iter().fold(failure, |failure, fix| failure.note("fix", fix));
                // Told at once: pods whose image is being pulled may take long to go.
                let shown = error::shown(&failure.note("wait longer", "set kubernetes.startTimeout").into());
                patiently(move || tell(&shown)).await;
                self.take_away().await;
                Ok(Exit::Unschedulable)
            }
        }
    }

    /// Takes the objects of a launch that came to nothing away, within a deadline of its own.
    async fn take_away(&self) {
        let removed = tokio::time::timeout(REMOVE_DEADLINE, cluster::remove(&self.cluster, &self.job.name));
        let told = match removed.await {
            Ok(Ok(())) => "  left          nothing; its objects have been removed".to_owned(),
            Ok(Err(error)) => format!("  left          its objects: {}", plain(&format!("{error:#}"))),
            Err(_) => format!(
                "  left          its pods, which are told to go; what stays: lockstep delete {}{}",
                self.job.name,
                self.place()
            ),
        };
        patiently(move || tell(&told)).await;
    }

    async fn conclude(&self, run: &ClusterRun, end: End) -> anyhow::Result<Exit> {
        let (name, carry_on, place) = (&self.job.name, command(self.args), self.place());
        match end {
            End::Done => {
                let exit = self.finish(run, Exit::Done).await?;
                let again = fresh_command(self.args);
                say!("  again       {again}      more  lockstep status {name}{place}");
                Ok(exit)
            }
            End::Failed(error) => {
                if self.context.output.format.is_data() {
                    self.finish(run, Exit::Failed).await?;
                }
                Err(Failure::new(format!("run {name} failed: {error}"))
                    .note(
                        "look at",
                        format!("lockstep logs {name}{place}      lockstep events {name}{place}"),
                    )
                    .note("carry on", carry_on)
                    .into())
            }
            End::Stopped(cause) => self.stopped(run, &cause, &carry_on).await,
            End::Suspended => {
                let resume = format!("lockstep resume {name}{place}");
                self.stopped(run, "its Job was suspended", &resume).await
            }
            End::Deleted => {
                say!("stopped (its Job was deleted). Carry on with: {carry_on}");
                Ok(Exit::Resumable)
            }
        }
    }

    async fn stopped(&self, run: &ClusterRun, cause: &str, carry_on: &str) -> anyhow::Result<Exit> {
        self.finish(run, Exit::Resumable).await?;
        say!("stopped ({}). Carry on with: {carry_on}", plain_line(cause));
        Ok(Exit::Resumable)
    }

    /// The run goes on without being watched: how to come back to it.
    async fn left(&self, run: &ClusterRun, how: &str) -> anyhow::Result<Exit> {
        if self.context.output.format.is_data() {
            self.finish(run, Exit::Done).await?;
        }
        let (name, place) = (&self.job.name, self.place());
        say!(
            "{how}the run goes on.   attach: {}   status: lockstep status {name}{place}   stop: lockstep cancel {name}{place}",
            command(self.args)
        );
        Ok(Exit::Done)
    }

    fn run(&self, job: Job) -> ClusterRun {
        ClusterRun { cluster: self.cluster.clone(), name: self.job.name.to_string(), job }
    }

    /// The options that name the place, as other commands need them.
    fn place(&self) -> String {
        let args = &self.args.cluster;
        let kubernetes = self.job.kubernetes.as_ref();
        let context = args.context.as_ref().or(kubernetes.and_then(|k| k.context.as_ref()));
        let namespace = args.namespace.as_ref().or(kubernetes.and_then(|k| k.namespace.as_ref()));
        let option = |name: &str, value: &String| format!(" {name} {}", shell::quote(value));
        let context = context.map_or(String::new(), |name| option("--context", name));
        context + &namespace.map_or(String::new(), |name| option("-n", name))
    }

    fn what(&self) -> String {
        let job = &self.job;
        let gpu = job.kubernetes.as_ref().and_then(|kubernetes| kubernetes.gpu.as_ref());
        let each = match gpu {
            Some(gpu) => format!("{} {}", gpu.count, gpu.resource),
            None => plural(job.ranks_per_node, "rank"),
        };
        let place = format!("{}@{}", self.cluster.namespace, self.cluster.context);
        format!("{place}  {} x {each}", plural(job.nodes, "node"))
    }

    /// The result: a summary for people, the status for scripts. Agents don't know when the user typed the command: the time
    /// until the first step is this launch's own, where it saw that step.
    async fn finish(&self, run: &ClusterRun, exit: Exit) -> anyhow::Result<Exit> {
        if let Some(run) = cluster::find(&run.cluster, &run.name).await? {
            let mut status = cluster::whole_status(&run).await?;
            let own = self.first_step.map(|took| took.as_secs_f64());
            status.time_to_first_step_seconds = own.or(status.time_to_first_step_seconds);
            deliver(self.context, self.context.output.form(&status, || summary(&status))).await;
        }
        Ok(exit)
    }
}

fn run_dir(job: &JobSpec) -> String {
    format!("{}/{}", job.storage.trim_end_matches('/'), job.name)
}
