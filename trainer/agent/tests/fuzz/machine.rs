//! A leader that hears whatever a member of its generation may say, in any order.

use crate::support::{corpus, current, received, sent, wait};
use lockstep_agent::machine::{Action, Config, Event, Machine, Proposal, Timings};
use lockstep_agent::wire::{Beat, MemberMsg, Offer};
use lockstep_fuzzing::fuzz;
use lockstep_run::link::{Phase, WorkerOutcome};
use lockstep_run::{
    Body, Generation, Incarnation, Join, MOST_RANKS_OF_A_NODE, Membership, NodeId, Rank, RunUid, StartFrom,
    Step, Writer,
};
use std::collections::VecDeque;
use std::time::Duration;

/// No event makes a leader of two do more than this.
const MOST_ACTIONS: usize = 64;

fn offer(node: u32) -> Offer {
    Offer { address: format!("10.0.0.{node}:1"), num_ranks: 2, free_port: 1, survivors: 1, account: None }
}

fn config() -> Config {
    let s = Duration::from_secs;
    let timings = Timings {
        heartbeat: Duration::from_millis(200),
        dead: s(3),
        join: s(5),
        replacement: s(600),
        starting: s(70),
        first_step: s(60),
        step: s(10),
        evaluating: s(300),
        saving: s(300),
        grace: s(30),
        max_run_time: Some(s(10_000)),
    };
    Config {
        node: NodeId(0),
        incarnation: Incarnation(1),
        num_nodes: 2,
        offer: offer(0),
        launch: "one".into(),
        timings,
        same_cause: 3,
        workers_beat: true,
    }
}

fn join() -> Join {
    Join {
        run_uid: RunUid("fuzz".into()),
        node: NodeId(0),
        incarnation: Incarnation(1),
        address: offer(0).address,
        num_ranks: 2,
        pid: 1,
        nonce: 1,
        at: jiff::Timestamp::UNIX_EPOCH,
    }
}

/// What the storage makes of a proposal: the record.
fn committed(proposal: Proposal) -> Membership {
    let body = match proposal.body {
        Err(outcome) => {
            Body::Ended { outcome, previous: Generation(proposal.generation.0.saturating_sub(1)) }
        }
        Ok(members) => {
            assert_eq!(members.len(), 2);
            assert!(members.iter().all(|member| member.num_ranks() <= MOST_RANKS_OF_A_NODE));
            let ranks: Vec<_> = members.iter().flat_map(|member| member.ranks.clone()).collect();
            assert!(ranks.iter().zip(0..).all(|(rank, expected)| rank.0 == expected), "{ranks:?}");
            let (job, start_from) = (serde_json::Value::Null, StartFrom::Fresh);
            Body::Formed { members, leader: NodeId(0), start_from, job, restart: false }
        }
    };
    Membership {
        run_uid: RunUid("fuzz".into()),
        generation: proposal.generation,
        writer: Writer { node: NodeId(0), incarnation: Incarnation(1), nonce: 1 },
        launch: "one".into(),
        launched_at: None,
        restarts: None,
        launch_restarts: 0,
        root: None,
        gpu_seconds: None,
        account: None,
        survivors: 0,
        at: jiff::Timestamp::UNIX_EPOCH,
        reason: proposal.reason.unwrap_or_default(),
        body,
    }
}

/// A leader, and the parts of its driver that answer at once.
struct Leader {
    machine: Machine,
    now: Duration,
    left: bool,
}

impl Leader {
    fn new() -> Self {
        let machine = Machine::new(config(), Generation(0), Duration::ZERO);
        let mut leader = Self { machine, now: Duration::ZERO, left: false };
        leader.take(Event::Seen { joins: vec![join()], newest: None });
        leader
    }

    fn take(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        let mut rounds = 0;
        while let Some(event) = events.pop_front() {
            rounds += 1;
            assert!(rounds <= MOST_ACTIONS, "it goes round in circles");
            let actions = self.machine.on(self.now, event);
            assert!(actions.len() <= MOST_ACTIONS, "{actions:?}");
            for action in actions {
                match action {
                    Action::Propose(proposal) => {
                        events.push_back(Event::Proposed(Box::new(committed(proposal))));
                    }
                    Action::KillWorkers { .. } => events
                        .push_back(Event::WorkersGone { free_port: Some(2), kept: vec![Rank(0), Rank(1)] }),
                    Action::Exit(_) => self.left = true,
                    _ => {}
                }
            }
        }
        assert!(!self.machine.reason().is_empty());
    }

    fn hear(&mut self, msg: MemberMsg) {
        self.now += Duration::from_millis(100);
        self.take(Event::FromMember { node: NodeId(1), incarnation: Incarnation(1), msg });
        self.take(Event::Tick);
    }
}

fn conversations() -> Vec<Vec<MemberMsg>> {
    let generation = Generation(1);
    let join = |known| MemberMsg::Join { offer: offer(1), known: Generation(known), stop: None };
    let beat = |rank, step, phase| Beat { rank: Rank(rank), step: Step(step), phase };
    let beats = |step, phase| MemberMsg::Heartbeat {
        generation,
        beats: vec![beat(2, step, phase), beat(3, step, phase)],
    };
    let held =
        |rank, started| MemberMsg::Held { generation, rank: Rank(rank), ask: 1, started: Step(started) };
    let finished = |rank, outcome| MemberMsg::Finished { generation, rank: Rank(rank), outcome };
    let stop = || MemberMsg::Stop { cause: "SIGTERM".into() };
    vec![
        vec![join(0), beats(0, Phase::Starting), beats(5, Phase::Training), stop(), held(2, 6), held(3, 7)],
        vec![
            join(0),
            finished(2, WorkerOutcome::Done { step: Step(9) }),
            finished(3, WorkerOutcome::Done { step: Step(9) }),
        ],
        vec![
            join(0),
            MemberMsg::Lost { generation, rank: Rank(2), cause: "killed by SIGKILL".into() },
            join(1),
            MemberMsg::GetsOn { generation: Generation(2) },
            stop(),
        ],
        vec![
            MemberMsg::Join { offer: offer(1), known: Generation(u64::MAX), stop: Some("SIGTERM".into()) },
            join(7),
        ],
    ]
}

#[test]
fn members_of_a_leader() {
    let written: Vec<_> = conversations().iter().map(|messages| wait(sent(messages))).collect();
    current("conversation", &written);
    fuzz("conversation", &corpus("conversation"), |data| {
        let mut leader = Leader::new();
        for msg in wait(received::<MemberMsg>(data)) {
            if leader.left {
                return;
            }
            leader.hear(msg);
        }
        // Silence is answered too.
        for _ in 0..100 {
            leader.now += Duration::from_millis(900);
            leader.take(Event::Tick);
        }
    });
}
