use super::StartError::{self, Again, Never};
use super::look::Lookout;
use super::requests::Requests;
use super::{Done, Driver, Facts, unix_now};
use crate::args::{RunArgs, variable};
use crate::kv::Kv;
use crate::machine::{Config, Machine, Timings};
use crate::net::{Arrival, Net};
use crate::report::Reporter;
use crate::wire::{Introduction, Offer};
use crate::workers::{Heard, Kept, Program, adopt, private_folder};
use anyhow::Context;
use jiff::Timestamp;
use lockstep_job::{Code, JobSpec};
use lockstep_run::code;
use lockstep_run::control::Live;
use lockstep_run::segment::{EventKind, Owner};
use lockstep_run::temporary;
use lockstep_run::{Generation, Join, Membership, NodeId, RunDir, RunRecord, RunUid, Writer};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

/// Opens the run's folder, says that this node lives, and makes everything ready for the loop.
pub(super) async fn start(
    args: RunArgs,
    arrivals: mpsc::Sender<Arrival>,
    heard: mpsc::Sender<Heard>,
    done: mpsc::UnboundedSender<Done>,
) -> Result<Driver, StartError> {
    adopt().context("can't become the parent of orphans").map_err(Again)?;
    // An agent that comes back in its pod finds what the one before it left there.
    tokio::task::spawn_blocking(|| temporary::places().iter().for_each(|place| temporary::sweep(place)));
    let (job, job_json) = read_job(&args.job).map_err(Never)?;
    let mut program = program(&job).map_err(Never)?;
    let dir = RunDir::open(&args.run_dir)?;
    let run = dir.run_or_create(new_run(&job, &job_json)).await?;
    let key = dir.key_or_create().await?;
    if let Some(code) = &job.code {
        program.folder = Some(unpack(&dir, code, args.scratch.join("code")).await?);
    }

    let places = places(&args.host, args.port);
    let listener = TcpListener::bind(&places[..])
        .await
        .with_context(|| format!("can't listen on {}", places[0]))
        .map_err(Again)?;
    let local = listener.local_addr().context("can't tell the port").map_err(Again)?;
    let address = at(&args.host, local.port());
    let nonce = rand::random();
    let node = NodeId(args.node);
    let join = dir
        .join(node, |incarnation| new_join(&run.run_uid, node, incarnation, &address, &job, nonce))
        .await?;
    let newest = dir.newest_membership().await?;
    let launched_at_unix_ms = args.launched_at.unwrap_or_else(|| first_formed(newest.as_ref(), &args.launch));
    let known = newest.as_ref().map_or(Generation(0), |m| m.generation);

    let free_port = free_port(&args.host).context("there is no free port").map_err(Again)?;
    let config = Config {
        node,
        incarnation: join.incarnation,
        num_nodes: job.nodes,
        offer: Offer { address, num_ranks: job.ranks_per_node, free_port, survivors: 0, account: None },
        launch: args.launch.clone(),
        timings: timings(&job, launched_at_unix_ms),
        same_cause: job.recovery.same_cause,
        workers_beat: program.speaks,
    };
    let me = Introduction { node, incarnation: join.incarnation };
    let net = Net::new(run.run_uid.clone(), key, me, arrivals);
    tokio::spawn(net.clone().listen(listener));
    let owner = Owner { since: known, node, incarnation: join.incarnation };
    let reporter = Reporter::start(RunDir::open(&args.run_dir)?, owner).map_err(Again)?;
    let text = format!("joined as incarnation {} at {}", join.incarnation, join.address);
    reporter.event(known, EventKind::Joined, text);

    let restarts = match &newest {
        Some(newest) => dir.restarts(newest).await?,
        None => 0,
    };
    let first_step_known = dir.launch(&args.launch).await?.is_some();
    let writer = Writer { node, incarnation: join.incarnation, nonce };
    std::fs::create_dir_all(&args.scratch)
        .with_context(|| format!("can't make {}", args.scratch.display()))
        .map_err(Again)?;
    let facts =
        Facts { args, launched_at_unix_ms, job, job_json, dir, run_uid: run.run_uid, writer, program };
    let started = Instant::now();
    let lookout = Arc::new(Mutex::new(Lookout::new(facts.dir.clone(), node)));
    let requests = Arc::new(Mutex::new(Requests::new(facts.dir.clone())));
    Ok(Driver {
        machine: Machine::new(config, known, Duration::ZERO),
        first_step_known,
        restarts,
        survivors: 0,
        accounted: None,
        lost: None,
        recovering: None,
        saved: None,
        facts: Arc::new(facts),
        started,
        net,
        reporter,
        kv: Kv::default(),
        workers: None,
        kept: Kept::default(),
        members: Default::default(),
        leader: None,
        sockets: private_folder(temporary::places()).map_err(Again)?,
        lookout,
        requests,
        requests_looked: started,
        heard,
        done,
        live: Live { generation: known, ..Live::default() },
        gpus: Default::default(),
        waiting: (String::new(), started, Duration::ZERO),
        chores: started,
        exit: None,
    })
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
async fn unpack(dir: &RunDir, code: &Code, folder: PathBuf) -> Result<PathBuf, StartError> {
    let archive = match code::fetch(dir, &code.digest).await {
        Err(error) if error.is_not_found() => {
            let problem =
                format!("the code of this launch is not in the run's storage: {error}; launch it again");
            return Err(Never(anyhow::anyhow!(problem)));
        }
        other => other?,
    };
    let (place, most_bytes) = (folder.clone(), code.size.bytes());
    let unpacked = tokio::task::spawn_blocking(move || code::unpack(&archive, &place, most_bytes)).await;
    let problem = match unpacked {
        Ok(Ok(())) => return Ok(folder),
        Ok(Err(error)) => error,
        Err(error) => error.into(),
    };
    let is_final = problem.kind() == io::ErrorKind::InvalidData;
    let error = anyhow::Error::from(problem)
        .context(format!("can't unpack the code of this launch to {}", folder.display()));
    Err(if is_final { Never(error) } else { Again(error) })
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

/// When the launch was asked for, as far as its records tell, or now, in milliseconds since 1970.
fn first_formed(newest: Option<&Membership>, launch: &str) -> u64 {
    let formed = newest.filter(|m| m.launch == launch).map(|m| m.launched_at.unwrap_or(m.at));
    let formed = formed.and_then(|at| u64::try_from(at.as_millisecond()).ok());
    formed.unwrap_or_else(|| unix_now().as_millis() as u64)
}

/// A port that is free now, for MASTER_PORT; whoever takes it in between makes the generation fail, and the next one tries another.
pub(super) fn free_port(host: &str) -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind(&places(host, 0)[..])?.local_addr()?.port())
}

/// How an address is written with its port; IPv6 has brackets.
fn at(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

/// Where to listen in order to be reached at `host`, best first: a name may mean another of this node's addresses later, of
/// either kind where the machine has both.
fn places(host: &str, port: u16) -> Vec<SocketAddr> {
    let all = || vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    let addresses: Vec<IpAddr> = host.parse().map_or_else(|_| all(), |address| vec![address]);
    addresses.into_iter().map(|address| (address, port).into()).collect()
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
