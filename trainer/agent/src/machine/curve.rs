//! What it costs the machine to form a generation anew, as the number of nodes grows. The agents' own code under simulated time: the
//! delays are the least ones, so what grows is the protocol's share.

use super::sim::{Fault, Plan, Sim};
use super::{Generation, Time};
use std::time::{Duration, Instant};

const STEP_TIME: Duration = Duration::from_millis(100);
/// Among more nodes, members don't read the whole membership: that is one node's cost times their number.
const MOST_READ: u32 = 1024;
/// Nobody waits longer in the simulated time.
const WITHIN: Duration = Duration::from_secs(300);

/// What there was before a generation, to be subtracted from what there is after it.
struct Before {
    now: Time,
    messages: u64,
    looks: usize,
    joins_read: usize,
    requests: usize,
    record_bytes: u64,
    began: Instant,
}

impl Before {
    fn of(sim: &mut Sim) -> Self {
        sim.took = Some(Vec::new());
        let store = &sim.store;
        Self {
            now: sim.now,
            messages: sim.num_messages,
            looks: store.looks.len(),
            joins_read: store.num_joins_read,
            requests: store.num_requests,
            record_bytes: sim.record_bytes,
            began: Instant::now(),
        }
    }
}

/// What one generation cost, from a fault to its first step.
struct Cost {
    virtual_time: Duration,
    messages: u64,
    looks: usize,
    joins_read: usize,
    requests: usize,
    record_bytes: u64,
    of_leader: Duration,
    of_others: Duration,
    real_time: Duration,
}

/// Runs from a fault until the generation after it has done its first step.
fn form(sim: &mut Sim, fault: Option<Fault>) -> Cost {
    let generation = sim.applied.last().map_or(Generation(0), |(generation, _)| *generation);
    let before = Before::of(sim);
    let now = sim.now;
    sim.run(now, &fault.map(|fault| (now, fault)).into_iter().collect::<Vec<_>>());
    let until = sim.now + WITHIN;
    sim.run_while(until, |sim| sim.applied.last().is_none_or(|(newest, _)| *newest <= generation));
    assert!(sim.now < until && sim.seen.broken.is_empty(), "{:?}: {:?}", sim.now, sim.seen.broken);
    let leader = sim.leader().expect("a generation is led");
    let mut took = sim.took.take().unwrap_or_default();
    took.resize(took.len().max(leader + 1), Duration::ZERO);
    let of_leader = std::mem::take(&mut took[leader]);
    Cost {
        virtual_time: sim.now - before.now,
        messages: sim.num_messages - before.messages,
        looks: sim.store.looks.len() - before.looks,
        joins_read: sim.store.num_joins_read - before.joins_read,
        requests: sim.store.num_requests - before.requests,
        record_bytes: sim.record_bytes - before.record_bytes,
        of_leader,
        of_others: took.iter().sum::<Duration>() / took.len().max(2) as u32,
        real_time: before.began.elapsed(),
    }
}

/// The costs of a start, of a worker's death and of the leader's, among so many nodes.
fn costs(num_nodes: u32) -> [(&'static str, Cost); 3] {
    let mut sim = Sim::of(Plan {
        num_nodes,
        total: u64::MAX,
        step_time: STEP_TIME,
        seed: None,
        cuts_records: num_nodes > MOST_READ,
    });
    let start = form(&mut sim, None);
    let worker = form(&mut sim, Some(Fault::KillWorker(num_nodes - 1)));
    let leader = form(&mut sim, Some(Fault::KillLeader));
    [("a start", start), ("a worker's death", worker), ("the leader's death", leader)]
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = peak.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(f64::NAN);
    format!("{:.0} MiB", kib / 1024.0)
}

fn row(num_nodes: u32, what: &str, cost: &Cost) -> String {
    let Cost { messages, looks, joins_read, requests, .. } = cost;
    let per_node = cost.of_leader.as_secs_f64() * 1e6 / f64::from(num_nodes);
    format!(
        "| {num_nodes} | {what} | {:.2} s | {messages} | {looks} | {joins_read} | {requests} | {:.1} MB | {:.1} ms | {per_node:.1} µs | {:.2} ms | {:.1} s | {} |",
        cost.virtual_time.as_secs_f64(),
        cost.record_bytes as f64 / 1e6,
        cost.of_leader.as_secs_f64() * 1e3,
        cost.of_others.as_secs_f64() * 1e3,
        cost.real_time.as_secs_f64(),
        memory(),
    )
}

#[test]
#[ignore = "takes minutes; prints the table of tests/benches/results/2026-12-01-reform-simulated.md"]
fn what_a_generation_costs_as_nodes_grow() {
    let most: u32 =
        std::env::var("LOCKSTEP_NODES").map_or(16384, |most| most.parse().expect("a number of nodes"));
    println!(
        "| nodes | after | simulated time | messages | looks | join records read | storage requests | memberships sent | leader's machine | per node | another's machine | real time of all | memory, peak |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for num_nodes in [64, 256, 1024, 4096, 16384].into_iter().filter(|nodes| *nodes <= most) {
        for (what, cost) in &costs(num_nodes) {
            println!("{}", row(num_nodes, what, cost));
        }
    }
}

#[test]
fn what_a_generation_costs_the_leader_grows_with_the_nodes_and_no_faster() {
    let (few, many) = (costs(64), costs(512));
    for ((what, few), (_, many)) in few.iter().zip(&many) {
        // Eight times the nodes. A margin for beats of what takes longer.
        assert!(
            many.messages <= 8 * 3 * few.messages,
            "{what}: {} and {} messages",
            few.messages,
            many.messages
        );
        assert!(
            many.requests <= 8 * 3 * few.requests.max(64),
            "{what}: {} and {} requests",
            few.requests,
            many.requests
        );
    }
    let (looks, requests) = (many[1].1.looks, many[1].1.requests);
    assert!(looks == 0 && requests <= 5, "after a worker's death {looks} looks, {requests} requests");
}
