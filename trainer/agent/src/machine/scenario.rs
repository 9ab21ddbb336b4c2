//! What must hold of whole runs, under any schedule of faults.

use super::ExitCode;
use super::sim::{Fault, Sim};
use lockstep_run::{Generation, Outcome};
use proptest::prelude::*;
use std::time::Duration;

const TOTAL: u64 = 400;

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn fault() -> impl Strategy<Value = Fault> {
    let node = 0u32..4;
    let span = (100u64..9000).prop_map(Duration::from_millis);
    prop_oneof![
        node.clone().prop_map(Fault::KillWorker),
        node.clone().prop_map(Fault::HangWorker),
        node.clone().prop_map(Fault::KillAgent),
        (node, span.clone()).prop_map(|(node, span)| Fault::FreezeAgent(node, span)),
        span.prop_map(Fault::StoreDown),
    ]
}

fn check_records(sim: &Sim) {
    let numbers: Vec<u64> = sim.records().keys().map(|g| g.0).collect();
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "generations grow by one");
    let mut newest = Generation(0);
    for (generation, _) in &sim.applied {
        assert!(*generation >= newest, "a step under generation {generation} after one under {newest}");
        newest = *generation;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_run_reaches_its_end(
        num_nodes in 1u32..5,
        faults in prop::collection::vec(((50u64..20_000).prop_map(Duration::from_millis), fault()), 0..8),
    ) {
        let mut sim = Sim::new(num_nodes, TOTAL);
        sim.run(seconds(120), &faults);
        check_records(&sim);
        let exits: Vec<_> = sim.exits();
        prop_assert!(exits.iter().all(|e| *e == Some(ExitCode::Done)), "{exits:?}, records {:#?}", sim.records());
        prop_assert_eq!(sim.applied.last().map(|(_, step)| *step), Some(TOTAL));
    }

    #[test]
    fn a_stop_of_every_node_ends_the_run_resumable(
        num_nodes in 1u32..5,
        at in 10u64..3000,
        faults in prop::collection::vec(((50u64..3000).prop_map(Duration::from_millis), fault()), 0..3),
    ) {
        let mut all = faults;
        all.extend((0..num_nodes).map(|n| (Duration::from_millis(at), Fault::Stop(n))));
        let mut sim = Sim::new(num_nodes, 1_000_000);
        sim.run(seconds(60), &all);
        check_records(&sim);
        let frozen_out = sim.exits().contains(&None);
        // A node that was reborn after the request knows nothing of it; then the others have left and it waits for them.
        let reborn = sim.lives.iter().any(|life| life.incarnation.0 > 1);
        prop_assert!(!frozen_out || reborn, "somebody neither stopped nor was reborn");
    }
}

#[test]
fn a_leader_that_is_back_just_before_it_counts_as_dead_goes_on() {
    let mut sim = Sim::new(2, TOTAL);
    let freeze = |ms| Fault::FreezeAgent(0, Duration::from_millis(ms));
    sim.run(seconds(120), &[(Duration::from_millis(253), freeze(2999))]);
    let exits: Vec<_> = sim.exits();
    assert_eq!(exits, [Some(ExitCode::Done); 2], "{:#?}", sim.records());
}

#[test]
fn an_agent_that_dies_while_the_storage_is_away_is_in_the_next_generation() {
    let mut sim = Sim::new(2, TOTAL);
    let (down, hang) = (Fault::StoreDown(Duration::from_millis(7454)), Fault::HangWorker(0));
    let at = Duration::from_millis;
    sim.run(seconds(120), &[(at(1898), down), (at(2801), hang), (at(5859), Fault::KillAgent(1))]);
    let exits: Vec<_> = sim.exits();
    assert_eq!(exits, [Some(ExitCode::Done); 2], "{:#?}", sim.records());
}

#[test]
fn an_undisturbed_run_needs_one_generation_and_one_end() {
    let mut sim = Sim::new(3, TOTAL);
    sim.run(seconds(10), &[]);
    assert_eq!(sim.records().len(), 2);
    assert_eq!(sim.records()[&Generation(2)].outcome(), Some(&Outcome::Done));
    assert_eq!(sim.applied.len() as u64, TOTAL, "no step twice");
}

#[test]
fn a_killed_worker_is_back_within_a_moment() {
    let mut sim = Sim::new(2, 1_000_000);
    sim.run(Duration::from_millis(1500), &[(Duration::from_millis(1000), Fault::KillWorker(1))]);
    let newest = sim.records().keys().next_back().copied();
    assert_eq!(newest, Some(Generation(2)));
    assert_eq!(sim.applied.last().map(|(g, _)| *g), newest, "generation 2 trains within half a second");
    assert!(sim.records()[&Generation(2)].reason.contains("rank 1 on node 1 was killed by SIGKILL"));
}

#[test]
fn a_hung_worker_is_found_by_its_silence() {
    let mut sim = Sim::new(2, 1_000_000);
    sim.run(seconds(6), &[(seconds(1), Fault::HangWorker(0))]);
    assert!(
        sim.records()[&Generation(2)].reason.contains("rank 0 on node 0 sent no heartbeat for 3s"),
        "{:#?}",
        sim.records()
    );
    assert_eq!(sim.applied.last().map(|(g, _)| *g), Some(Generation(2)));
}

#[test]
fn the_leaders_loss_is_survived_by_another() {
    let mut sim = Sim::new(3, 1_000_000);
    sim.run(seconds(4), &[(seconds(1), Fault::KillAgent(0))]);
    assert_eq!(sim.applied.last().map(|(g, _)| *g), sim.records().keys().next_back().copied());
    assert!(sim.records().len() >= 2);
}

#[test]
fn one_node_that_is_stopped_lets_the_others_wait_after_a_checkpoint() {
    let mut sim = Sim::new(2, 1_000_000);
    sim.run(seconds(3), &[(seconds(1), Fault::Stop(1))]);
    let exits: Vec<_> = sim.exits();
    assert_eq!(exits, [None, Some(ExitCode::Stopped)], "node 0 waits for the replacement of node 1");
    assert!(sim.records().values().all(|r| r.outcome().is_none()), "the run goes on");
}

#[test]
fn a_stop_of_all_is_an_end_that_can_be_resumed() {
    let mut sim = Sim::new(2, 1_000_000);
    sim.run(seconds(3), &[(seconds(1), Fault::Stop(1)), (seconds(1), Fault::Stop(0))]);
    let end = sim.records().values().next_back().and_then(|r| r.outcome());
    assert_eq!(end, Some(&Outcome::Stopped { cause: "SIGTERM".into(), for_good: false }));
    let exits: Vec<_> = sim.exits();
    assert_eq!(exits, [Some(ExitCode::Stopped); 2]);
}

/// The most looks of one second.
fn most_in_a_second(looks: &[Duration]) -> usize {
    looks
        .iter()
        .map(|at| looks.iter().filter(|other| (*at..*at + seconds(1)).contains(*other)).count())
        .max()
        .unwrap_or(0)
}

/// With [`Lookout`](crate::driver), whose test bounds what a look asks for, this bounds what the storage is asked.
#[test]
fn a_thousand_nodes_without_a_storage_look_less_and_less_often() {
    let mut sim = Sim::new(1000, TOTAL);
    sim.run(seconds(90), &[(Duration::ZERO, Fault::StoreDown(seconds(120)))]);
    let within = |from, to| {
        let looks: Vec<_> = sim.store.looks.iter().copied().filter(|at| (from..to).contains(at)).collect();
        (looks.len(), most_in_a_second(&looks))
    };
    let (_, first) = within(seconds(0), seconds(5));
    assert!((500..=1334).contains(&first), "{first} looks in a second");
    // Pauses are of ten seconds, a quarter more or less.
    let (all, most) = within(seconds(80), seconds(90));
    assert!((500..=1334).contains(&all) && most <= 300, "{all} looks in ten seconds, {most} in one of them");
}

#[test]
fn a_thousand_nodes_find_their_leader_with_a_look_or_two_each() {
    let mut sim = Sim::new(1000, TOTAL);
    sim.run(seconds(5), &[(seconds(3), Fault::KillAgent(0))]);
    assert!(sim.records().len() >= 2, "the loss of the leader cost a generation: {:?}", sim.records().keys());
    assert!(sim.store.looks.len() <= 5000, "{} looks for two generations", sim.store.looks.len());
}

#[test]
fn a_worker_that_hangs_between_two_generations_is_found_by_its_silence() {
    let mut sim = Sim::new(2, 1_000_000);
    // It has left generation 1 and waits while node 1's agent is started again.
    let faults = [(seconds(1), Fault::KillAgent(1)), (Duration::from_millis(1100), Fault::HangWorker(0))];
    sim.run(seconds(6), &faults);
    assert!(sim.records()[&Generation(3)].reason.contains("sent no heartbeat for 3s"), "{}", sim.story());
    assert_eq!(sim.applied.last().map(|(g, _)| *g), Some(Generation(3)));
}

#[test]
fn a_run_that_gets_on_bears_any_number_of_faults() {
    let mut sim = Sim::new(2, 2500);
    let kills: Vec<_> =
        (1..40).map(|i| (Duration::from_millis(i * 700), Fault::KillWorker(i as u32))).collect();
    sim.run(seconds(60), &kills);
    assert_eq!(sim.exits(), [Some(ExitCode::Done); 2], "{}", sim.story());
    assert_eq!(sim.records().len(), 41, "one for each fault, the first one and the end");
}

#[test]
fn a_node_that_is_silent_is_missed_after_three_seconds() {
    let mut sim = Sim::new(2, 1_000_000);
    sim.run(seconds(12), &[(seconds(1), Fault::Zombie(1, seconds(6)))]);
    assert!(
        sim.records()[&Generation(2)].reason.contains("node 1 sent no heartbeat for 3s"),
        "{}",
        sim.story()
    );
    // It reads so as soon as it runs again.
    assert_eq!(sim.applied.last().map(|(g, _)| *g), Some(Generation(2)), "{}", sim.story());
}

#[test]
fn who_hears_nothing_of_its_leader_lets_go_of_the_generation() {
    let mut sim = Sim::new(2, 1_000_000);
    sim.run(Duration::from_millis(4500), &[(seconds(1), Fault::Zombie(0, seconds(60)))]);
    assert_ne!(sim.lives[1].machine.phases()[0], "Running", "{}", sim.lives[1].machine.reason());
}

#[test]
fn a_machine_that_was_suspended_with_all_its_agents_goes_on() {
    let mut sim = Sim::new(2, 1_000_000);
    let sleep = |node| (seconds(1), Fault::FreezeNode(node, seconds(3600)));
    sim.run(seconds(3606), &[sleep(0), sleep(1)]);
    assert_eq!(sim.records().len(), 1, "{}", sim.story());
    assert!(sim.applied.len() > 400, "{} steps", sim.applied.len());
}
