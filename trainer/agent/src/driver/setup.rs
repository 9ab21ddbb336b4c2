use super::StartError::{self, Again, Never};
use super::{Done, Driver, Facts, unix_now};
use crate::args::{RunArgs, variable};
use crate::kv::Kv;
use crate::machine::{Config, Machine, Timings};
use crate::net::{Arrival, Net};
use crate::report::Reporter;
use crate::wire::{Introduction, Offer};
use crate::workers::{Heard, Program, adopt};
use anyhow::Context;
use jiff::Timestamp;
use lockstep_jobspec::JobSpec;
use lockstep_run::code;
use lockstep_run::link::Phase;
use lockstep_run::segment::EventKind;
use lockstep_run::status::Live;
use lockstep_run::{Generation, Join, Membership, NodeId, RunDir, RunRecord, RunUid, Step, Writer};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Opens the run's folder, says that this node lives, and makes everything ready for the loop.
pub(super) async fn start(
    args: RunArgs,
    arrivals: mpsc::Sender<Arrival>,
    heard: mpsc::Sender<Heard>,
    done: mpsc::UnboundedSender<Done>,
) -> Result<Driver, StartError> {
    adopt().context("can't become the parent of orphans").map_err(Again)?;
    let (job, job_json) = read_job(&args.job).map_err(Never)?;
    let mut program = program(&job).map_err(Never)?;
    let dir = RunDir::open(&args.run_dir)?;
    let run = dir.run_or_create(new_run(&job, &job_json)).await?;
    let key = dir.key_or_create().await?;
    if let Some(code) = &job.code {
        program.folder = Some(unpack(&dir, &code.digest, args.scratch.join("code")).await?);
    }

    let bind = bind(&args.host);
    let listener = TcpListener::bind((bind, args.port))
        .await
        .with_context(|| format!("can't listen on {bind}, port {}", args.port))
        .map_err(Again)?;
    let local = listener.local_addr().context("can't tell the port").map_err(Again)?;
    let address = at(&args.host, local.port());
    let nonce = rand::random();
    let node = NodeId(args.node);
    let join = dir
        .join(node, |incarnation| new_join(&run.run_uid, node, incarnation, &address, &job, nonce))
        .await?;
    let memberships = dir.memberships().await?;
    let launched_at_unix_ms = args.launched_at.unwrap_or_else(|| first_formed(&memberships, &args.launch));
    let known = memberships.keys().next_back().copied().unwrap_or_default();

    let free_port = free_port(&args.host).context("there is no free port").map_err(Again)?;
    let config = Config {
        node,
        incarnation: join.incarnation,
        num_nodes: job.nodes,
        offer: Offer { address, num_ranks: job.ranks_per_node, free_port },
        launch: args.launch.clone(),
        timings: timings(&job, launched_at_unix_ms),
        same_cause: job.recovery.same_cause,
        workers_beat: program.speaks,
    };
    let me = Introduction { node, incarnation: join.incarnation };
    let net = Net::new(run.run_uid.clone(), key, me, arrivals);
    tokio::spawn(net.clone().listen(listener));
    let reporter = Reporter::start(dir.clone(), known, node, join.incarnation);
    let text = format!("joined as incarnation {} at {}", join.incarnation, join.address);
    reporter.event(known, EventKind::Joined, text);

    let restarts = memberships.values().filter(|m| m.is_restart()).count() as u32;
    let of_launch = memberships.values().filter(|m| m.is_restart() && m.launch == args.launch);
    let launch_restarts = of_launch.count() as u32;
    let first_step_known = memberships.values().any(|m| m.launch == args.launch);
    let writer = Writer { node, incarnation: join.incarnation, nonce };
    std::fs::create_dir_all(&args.scratch)
        .with_context(|| format!("can't make {}", args.scratch.display()))
        .map_err(Again)?;
    let facts =
        Facts { args, launched_at_unix_ms, job, job_json, dir, run_uid: run.run_uid, writer, program };
    let started = Instant::now();
    Ok(Driver {
        machine: Machine::new(config, known, Duration::ZERO),
        first_step_known,
        restarts,
        launch_restarts,
        saved: None,
        facts: Arc::new(facts),
        started,
        net,
        reporter,
        kv: Kv::default(),
        workers: None,
        members: Default::default(),
        leader: None,
        sockets: tempfile::Builder::new()
            .prefix("lockstep-")
            .tempdir()
            .context("can't make a folder for sockets")
            .map_err(Again)?,
        heard,
        done,
        live: live(known, Phase::Starting),
        waiting: (String::new(), started, Duration::ZERO),
        chores: started,
        exit: None,
    })
}

/// What a generation looks like before its workers have said anything.
pub(super) fn live(generation: Generation, phase: Phase) -> Live {
    Live {
        generation,
        phase,
        step: Step(0),
        total_steps: None,
        loss: None,
        samples_per_second: None,
        eval: BTreeMap::new(),
        nodes_ready: 0,
    }
}

fn read_job(path: &Path) -> anyhow::Result<(JobSpec, serde_json::Value)> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("can't read the job at {}", path.display()))?;
    let json: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    let job =
        JobSpec::from_json(&json).map_err(|problems| anyhow::anyhow!("{}: {problems}", path.display()))?;
    Ok((job, json))
}

fn program(job: &JobSpec) -> anyhow::Result<Program> {
    let env = job.env.expand(variable).map_err(|errors| {
        let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", all.join("; "))
    })?;
    let memory = job.kubernetes.as_ref().and_then(|kubernetes| kubernetes.resources.memory);
    if let Some(command) = &job.command {
        return Ok(Program { command: command.clone(), env, folder: None, speaks: false, memory });
    }
    let worker = match &job.worker {
        Some(worker) => worker.clone(),
        None => {
            let agent = std::env::current_exe().context("can't find this program's own file")?;
            agent.with_file_name("lockstep-worker").to_string_lossy().into_owned()
        }
    };
    Ok(Program { command: vec![worker], env, folder: None, speaks: true, memory })
}

/// Brings the code that the launch stored to a folder of this node.
async fn unpack(dir: &RunDir, digest: &str, folder: PathBuf) -> Result<PathBuf, StartError> {
    let archive = match code::fetch(dir, digest).await {
        Err(error) if error.is_not_found() => {
            let problem =
                format!("the code of this launch is not in the run's storage: {error}; launch it again");
            return Err(Never(anyhow::anyhow!(problem)));
        }
        other => other?,
    };
    let place = folder.clone();
    let unpacked = tokio::task::spawn_blocking(move || code::unpack(&archive, &place)).await;
    unpacked
        .map_err(anyhow::Error::from)
        .and_then(|done| Ok(done?))
        .with_context(|| format!("can't unpack the code of this launch to {}", folder.display()))
        .map_err(Again)?;
    Ok(folder)
}

fn new_run(job: &JobSpec, json: &serde_json::Value) -> RunRecord {
    RunRecord {
        run_uid: RunUid::random(),
        name: job.name.to_string(),
        created_at: Timestamp::now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        job: json.clone(),
    }
}

fn new_join(
    run_uid: &RunUid,
    node: NodeId,
    incarnation: lockstep_run::Incarnation,
    address: &str,
    job: &JobSpec,
    nonce: u64,
) -> Join {
    Join {
        run_uid: run_uid.clone(),
        node,
        incarnation,
        address: address.to_owned(),
        num_ranks: job.ranks_per_node,
        pid: std::process::id(),
        nonce,
        at: Timestamp::now(),
    }
}

/// When the launch formed its first generation, or now, in milliseconds since 1970.
fn first_formed(memberships: &BTreeMap<Generation, Membership>, launch: &str) -> u64 {
    let formed = memberships.values().filter(|m| m.launch == launch).map(|m| m.at).min();
    let formed = formed.and_then(|at| u64::try_from(at.as_millisecond()).ok());
    formed.unwrap_or_else(|| unix_now().as_millis() as u64)
}

/// A port that is free now, for MASTER_PORT; whoever takes it in between makes the generation fail, and the next one tries another.
pub(super) fn free_port(host: &str) -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind((bind(host), 0))?.local_addr()?.port())
}

/// How an address is written with its port; IPv6 has brackets.
fn at(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

/// Where to listen in order to be reached at `host`: a name may mean another of this node's addresses later.
fn bind(host: &str) -> IpAddr {
    host.parse().unwrap_or(IpAddr::from([0, 0, 0, 0]))
}

fn timings(job: &JobSpec, launched_at_unix_ms: u64) -> Timings {
    let r = &job.recovery;
    let since_launch = unix_now().saturating_sub(Duration::from_millis(launched_at_unix_ms));
    Timings {
        heartbeat: r.heartbeat.duration(),
        dead: r.dead.duration(),
        join: r.join.duration(),
        replacement: r.replacement.duration(),
        starting: r.form.duration() + r.first_step_budget.duration(),
        first_step: r.first_step_budget.duration(),
        step: r.step_budget.duration(),
        evaluating: r.eval_budget.duration(),
        saving: r.checkpoint_budget.duration(),
        grace: r.grace.duration(),
        max_run_time: job.limits.max_run_time.map(|limit| limit.duration().saturating_sub(since_launch)),
    }
}
