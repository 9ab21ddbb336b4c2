//! Runs under faults that a seed draws, each looked at step by step. A seed that fails is printed with the fewest of its faults that
//! still fail; `LOCKSTEP_SEED=n` runs it alone, `LOCKSTEP_SEEDS=a..b` runs as many as a campaign has time for.

use super::sim::{Fault, Plan, Random, Sim};
use super::{ExitCode, Time};
use std::ops::Range;
use std::time::Duration;

/// Steps of each run, and what one takes.
const TOTAL: u64 = 150;
const STEP_TIME: Duration = Duration::from_millis(50);
/// Faults strike until then.
const FAULTS_UNTIL: u64 = 15_000;
/// The longest way from the last fault to training that goes on: silence that is noticed, a step's budget, a pause after many
/// generations that failed quickly.
const RESUMES_WITHIN: Duration = Duration::from_secs(60);

/// A run by its seed.
pub(super) fn plan(seed: u64) -> (Plan, Vec<(Time, Fault)>) {
    let mut random = Random::new(seed ^ 0x5eed);
    let num_nodes = 1 + random.below(5) as u32;
    let num_faults = random.below(9);
    let mut faults = Vec::new();
    for _ in 0..num_faults {
        let at = random.between(10, FAULTS_UNTIL);
        faults.push((at, Fault::draw(&mut random)));
        // What strikes while the last fault is being dealt with finds more than what strikes at any time.
        if random.percent(40) {
            faults.push((at + random.between(0, 400), Fault::draw(&mut random)));
        }
    }
    (Plan { num_nodes, total: TOTAL, step_time: STEP_TIME, seed: Some(seed), cuts_records: false }, faults)
}

/// What is broken in a run, and what it came to.
pub(super) fn run(plan: Plan, faults: &[(Time, Fault)]) -> Sim {
    let last = faults.iter().map(|(at, fault)| *at + fault.span()).max().unwrap_or_default();
    let until = last + RESUMES_WITHIN + STEP_TIME * TOTAL as u32 * 2;
    let mut sim = Sim::of(plan);
    sim.run(Time::ZERO, faults);
    sim.run_while(until, |sim| !sim.is_over() && sim.seen.broken.is_empty());
    if sim.seen.broken.is_empty() {
        sim.must_have_ended();
    }
    sim
}

/// The fewest of these faults with which the run still breaks.
fn fewest(plan: Plan, mut faults: Vec<(Time, Fault)>) -> Vec<(Time, Fault)> {
    let mut at = 0;
    while at < faults.len() {
        let mut fewer = faults.clone();
        fewer.remove(at);
        match run(plan, &fewer).seen.broken.is_empty() {
            true => at += 1,
            false => faults = fewer,
        }
    }
    faults
}

fn check(seed: u64) -> Result<Sim, String> {
    let (plan, faults) = plan(seed);
    let sim = run(plan, &faults);
    if sim.seen.broken.is_empty() {
        return Ok(sim);
    }
    let fewest = fewest(plan, faults);
    let sim = run(plan, &fewest);
    Err(format!(
        "LOCKSTEP_SEED={seed} fails with {} nodes and {fewest:?}:\n{}\n{}",
        plan.num_nodes,
        sim.seen.broken.join("\n"),
        sim.story()
    ))
}

/// Which seeds to run: those that the environment names, or a few that a test has time for.
fn seeds() -> Range<u64> {
    let number = |text: &str| text.trim().parse::<u64>().expect("a seed is a number");
    if let Ok(seed) = std::env::var("LOCKSTEP_SEED") {
        let seed = number(&seed);
        return seed..seed + 1;
    }
    match std::env::var("LOCKSTEP_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("LOCKSTEP_SEEDS is a range such as 0..1000");
            number(from)..number(to)
        }
        Err(_) => 0..if cfg!(debug_assertions) { 200 } else { 2000 },
    }
}

#[test]
fn whatever_strikes_a_run_ends_with_the_same_bits() {
    let seeds = seeds();
    let num_threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let began = std::time::Instant::now();
    let of_thread = |thread: u64| {
        let seeds = seeds.clone().filter(move |seed| seed % num_threads == thread);
        let mut sums = [0; 5];
        let mut slowest = (Duration::ZERO, 0);
        for seed in seeds {
            let sim = check(seed)?;
            let (_, faults) = plan(seed);
            let last = faults.iter().map(|(at, fault)| *at + fault.span()).max().unwrap_or_default();
            slowest = slowest.max((sim.now.saturating_sub(last), seed));
            let seen = &sim.seen;
            let of_run =
                [faults.len(), sim.records().len(), seen.num_from_memory, seen.num_from_checkpoint, 1];
            sums.iter_mut().zip(of_run).for_each(|(sum, one)| *sum += one);
        }
        Ok::<_, String>((sums, slowest))
    };
    let threads: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..num_threads).map(|thread| scope.spawn(move || of_thread(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a seed's thread ends")).collect()
    });
    let mut all = [0; 5];
    let mut slowest = (Duration::ZERO, 0);
    for thread in threads {
        let (sums, of_thread) = thread.unwrap_or_else(|broken| panic!("{broken}"));
        all.iter_mut().zip(sums).for_each(|(sum, one)| *sum += one);
        slowest = slowest.max(of_thread);
    }
    let [faults, records, from_memory, from_checkpoint, runs] = all;
    println!(
        "{runs} runs, {faults} faults, {records} memberships, {from_memory} states from memory, {from_checkpoint} from a \
         checkpoint or the seed; the longest end after the last fault {:?} (seed {}); {:?}",
        slowest.0,
        slowest.1,
        began.elapsed()
    );
}

#[test]
fn a_run_is_the_same_each_time_its_seed_is_run() {
    let story = || {
        let (plan, faults) = plan(7);
        let sim = run(plan, &faults);
        (sim.now, sim.num_messages, sim.story())
    };
    assert_eq!(story(), story());
}

#[test]
fn without_faults_there_are_two_memberships_and_no_step_twice() {
    for seed in 0..20 {
        let (plan, _) = plan(seed);
        let sim = run(plan, &[]);
        assert_eq!((sim.seen.broken.len(), sim.records().len()), (0, 2), "{seed}: {:?}", sim.seen.broken);
        assert_eq!(sim.applied.len() as u64, TOTAL);
        assert!(sim.exits().iter().all(|exit| *exit == Some(ExitCode::Done)));
    }
}
