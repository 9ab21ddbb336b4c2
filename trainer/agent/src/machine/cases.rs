//! What a machine must do in cases that take a schedule of faults to come about.

use super::record::record_of;
use super::sim::{config, timings};
use super::{Action, Event, ExitCode, Machine, Mercy, Proposal, Time};
use crate::wire::{Beat, LeaderMsg, MemberMsg, Offer};
use lockstep_run::link::{Phase, WorkerOutcome};
use lockstep_run::{
    Body, Generation, Incarnation, Join, Membership, NodeId, Rank, RunUid, StartFrom, Step, Writer,
};
use std::time::Duration;

const NOW: Time = Time::ZERO;

fn join(node: u32, incarnation: u32) -> Join {
    Join {
        run_uid: RunUid("run".to_owned()),
        node: NodeId(node),
        incarnation: Incarnation(incarnation),
        address: format!("{node}:{incarnation}"),
        num_ranks: 1,
        pid: 1,
        nonce: 1,
        at: jiff::Timestamp::UNIX_EPOCH,
    }
}

fn record(proposal: &Proposal, writer: (u32, u32)) -> Membership {
    let (leader, start_from, job) = (NodeId(writer.0), StartFrom::Fresh, serde_json::Value::Null);
    let body = match proposal.body.clone() {
        Ok(members) => Body::Formed { members, leader, start_from, job, restart: false },
        Err(outcome) => Body::Ended { outcome, previous: Generation(1) },
    };
    let writer = Writer { node: NodeId(writer.0), incarnation: Incarnation(writer.1), nonce: 0 };
    record_of(writer, proposal.generation, body)
}

fn proposal(actions: &[Action]) -> Proposal {
    let proposed = actions.iter().find_map(|action| match action {
        Action::Propose(proposal) => Some(proposal.clone()),
        _ => None,
    });
    proposed.unwrap_or_else(|| panic!("{actions:?}"))
}

fn joins(node: u32, incarnation: u32) -> Event {
    let offer = Offer {
        address: format!("{node}:{incarnation}"),
        num_ranks: 1,
        free_port: 1,
        survivors: 0,
        account: None,
    };
    let msg = MemberMsg::Join { offer, known: Generation(0), stop: None };
    Event::FromMember { node: NodeId(node), incarnation: Incarnation(incarnation), msg }
}

/// Node 0, which leads generation 1 of two nodes; node 1 is in its second life.
fn leading() -> Machine {
    let mut machine = Machine::new(config(0, 1, 2), Generation(0), NOW);
    machine.on(NOW, Event::Seen { joins: vec![join(0, 1), join(1, 2)], newest: None });
    let proposal = proposal(&machine.on(NOW, joins(1, 2)));
    machine.on(NOW, Event::Proposed(Box::new(record(&proposal, (0, 1)))));
    assert_eq!(machine.leads(), Some(Generation(1)));
    machine
}

#[test]
fn a_worker_that_lived_on_is_missed_as_soon_as_it_is_silent() {
    for (kept, is_missed) in [(vec![Rank(0)], true), (vec![], false)] {
        let mut machine = leading();
        let revoke = LeaderMsg::Revoke { generation: Generation(1), reason: String::new() };
        machine.on(NOW, Event::FromLeader(revoke));
        machine.on(NOW, Event::MemberGone { node: NodeId(1), incarnation: Incarnation(2) });
        machine.on(NOW, Event::WorkersGone { free_port: None, kept });
        let proposal = proposal(&machine.on(NOW, joins(1, 2)));
        machine.on(NOW, Event::Proposed(Box::new(record(&proposal, (0, 1)))));
        let mut now = NOW;
        while now < timings().dead {
            now += Duration::from_millis(500);
            machine.on(now, Event::Tick);
            let msg = MemberMsg::Heartbeat { generation: Generation(2), beats: vec![] };
            machine.on(now, Event::FromMember { node: NodeId(1), incarnation: Incarnation(2), msg });
        }
        let late = machine.on(now + Duration::from_millis(50), Event::Tick);
        assert_eq!(late.contains(&Action::KillWorker(Rank(0))), is_missed, "{late:?}");
    }
}

#[test]
fn a_leader_that_wants_to_end_a_run_that_goes_on_elsewhere_lets_go_of_it() {
    let mut machine = leading();
    let (generation, outcome) = (Generation(1), WorkerOutcome::Done { step: Step(9) });
    for (node, incarnation, rank) in [(1, 2, 1), (0, 1, 0)] {
        let msg = MemberMsg::Finished { generation, rank: Rank(rank), outcome: outcome.clone() };
        let (node, incarnation) = (NodeId(node), Incarnation(incarnation));
        machine.on(NOW, Event::FromMember { node, incarnation, msg });
    }
    // Meanwhile another life of this node has formed generation 2.
    let (account, survivors) = (None, 0);
    let theirs = Proposal { generation: Generation(2), reason: None, account, survivors, body: Ok(vec![]) };
    let out = machine.on(NOW, Event::Proposed(Box::new(record(&theirs, (0, 2)))));
    assert!(out.contains(&Action::KillWorkers { mercy: Mercy::Keep }), "{out:?}");
    machine.on(NOW, Event::WorkersGone { free_port: None, kept: vec![] });
    assert_eq!((machine.leader(), machine.reason().as_str()), (None, "looking for the leader"));
}

#[test]
fn an_agent_whose_node_is_another_agent_now_leaves() {
    let mut machine = Machine::new(config(0, 1, 1), Generation(0), NOW);
    let out = machine.on(NOW, Event::Seen { joins: vec![join(0, 2)], newest: None });
    assert_eq!(out, vec![Action::KillWorkers { mercy: Mercy::Grace }]);
    let out = machine.on(NOW, Event::WorkersGone { free_port: None, kept: vec![] });
    assert_eq!(out, vec![Action::Exit(ExitCode::Stopped)]);
}

#[test]
fn an_older_life_of_a_member_ends_no_generation() {
    let mut machine = leading();
    assert_eq!(machine.on(NOW, joins(1, 1)), vec![]);
    assert_eq!(machine.leads(), Some(Generation(1)));
    machine.on(NOW, joins(1, 3));
    assert_eq!(machine.leads(), None, "a newer one does");
}

#[test]
fn who_beats_for_a_generation_that_is_over_hears_that_and_nothing_else() {
    let mut machine = leading();
    machine.on(NOW, Event::MemberGone { node: NodeId(1), incarnation: Incarnation(2) });
    let beat = |generation| {
        let msg = MemberMsg::Heartbeat { generation: Generation(generation), beats: vec![] };
        Event::FromMember { node: NodeId(1), incarnation: Incarnation(2), msg }
    };
    let mut told = |generation| match machine.on(NOW, beat(generation)).as_slice() {
        [Action::ToMember { msg: LeaderMsg::Ack, .. }, Action::ToMember { msg, .. }] => msg.clone(),
        other => panic!("{other:?}"),
    };
    assert!(matches!(told(1), LeaderMsg::Revoke { generation: Generation(1), .. }));
    assert_eq!(told(0), LeaderMsg::NotLeader, "who waits must join anew");
}

/// However short a generation is: where its workers begin says how far the run is.
#[test]
fn a_generation_that_begins_further_on_got_on() {
    for (gained, answered) in [(2, 6), (0, 2)] {
        let mut machine = leading();
        let mut at_once = 0;
        while at_once < 6 {
            let generation = Generation(1 + at_once);
            let begins = Beat { rank: Rank(0), step: Step(10 + gained * at_once), phase: Phase::FirstStep };
            machine.on(NOW, Event::WorkerBeat { generation, beat: begins });
            if at_once == 0 {
                // All of that is lost: the next ones only catch up.
                let reached = Beat { rank: Rank(0), step: Step(5000), phase: Phase::Training };
                machine.on(NOW, Event::WorkerBeat { generation, beat: reached });
            }
            let (node, incarnation) = (NodeId(1), Incarnation(2));
            let msg = MemberMsg::Lost { generation, rank: Rank(1), cause: "was killed".to_owned() };
            machine.on(NOW, Event::FromMember { node, incarnation, msg });
            machine.on(NOW, Event::WorkersGone { free_port: None, kept: vec![Rank(0)] });
            let actions = machine.on(NOW, joins(1, 2));
            if !actions.iter().any(|action| matches!(action, Action::Propose(_))) {
                break;
            }
            machine.on(NOW, Event::Proposed(Box::new(record(&proposal(&actions), (0, 1)))));
            at_once += 1;
        }
        assert_eq!(at_once, answered, "{gained} steps gained each time");
    }
}
