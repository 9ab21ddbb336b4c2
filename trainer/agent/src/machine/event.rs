use super::ExitCode;
use crate::wire::{Beat, LeaderMsg, MemberMsg};
use lockstep_run::link::{AgentMsg, WorkerOutcome};
use lockstep_run::{Account, Generation, Incarnation, Join, Member, Membership, NodeId, Outcome, Rank, Step};

/// What happens to an agent.
#[derive(Debug, Clone)]
pub enum Event {
    /// Time passes; sent a few times in each heartbeat interval.
    Tick,
    /// Answer to [`Action::Look`].
    Seen {
        /// The newest join record of each node.
        joins: Vec<Join>,
        /// The newest membership record.
        newest: Option<Box<Membership>>,
    },
    /// Answer to [`Action::Dial`].
    Dialed {
        /// The node that was called.
        node: NodeId,
        /// The life of its agent that was called.
        incarnation: Incarnation,
        /// Whether it answered and holds the run's key.
        ok: bool,
    },
    /// The connection to the leader is gone.
    LeaderGone,
    /// The leader speaks.
    FromLeader(LeaderMsg),
    /// A worker of this node reported its step.
    WorkerBeat {
        /// Its generation.
        generation: Generation,
        /// What it said.
        beat: Beat,
    },
    /// A user's own command on this node gets on: it has printed for a while, or touched the file that says so.
    CommandGetsOn {
        /// Its generation.
        generation: Generation,
    },
    /// A worker of this node answered a hold.
    WorkerHeld {
        /// Its generation.
        generation: Generation,
        /// The worker.
        rank: Rank,
        /// The request.
        ask: u64,
        /// The last step that it has started.
        started: Step,
    },
    /// A worker of this node said its last word, or left without one.
    WorkerLeft {
        /// Its generation.
        generation: Generation,
        /// The worker.
        rank: Rank,
        /// Its last word, or how it ended.
        how: Result<WorkerOutcome, String>,
    },
    /// Answer to [`Action::KillWorkers`]: no worker of this node is in a generation.
    WorkersGone {
        /// A port for the next generation, if there is one: the last one's may be why it failed.
        free_port: Option<u16>,
        /// Those that live on and wait for the next one: they show signs of life from its start on.
        kept: Vec<Rank>,
    },
    /// This agent was told to stop.
    StopRequested {
        /// By whom or what.
        cause: String,
    },
    /// To the leader: a member speaks.
    FromMember {
        /// Who.
        node: NodeId,
        /// Which life of it.
        incarnation: Incarnation,
        /// What.
        msg: MemberMsg,
    },
    /// To the leader: the connection to a member is gone.
    MemberGone {
        /// Who.
        node: NodeId,
        /// Which life of it.
        incarnation: Incarnation,
    },
    /// To the leader: answer to [`Action::Propose`], the record that holds for the proposed generation.
    Proposed(Box<Membership>),
    /// To the leader: the storage did not take the proposal; nothing was decided.
    ProposeFailed {
        /// What it says.
        error: String,
        /// Whether it will say the same to this process again.
        for_good: bool,
    },
    /// To the leader: a client asks for the end of the run.
    CancelRequested {
        /// By whom or what.
        cause: String,
    },
}

impl Event {
    pub(super) fn is_for_leader(&self) -> bool {
        matches!(
            self,
            Event::FromMember { .. }
                | Event::MemberGone { .. }
                | Event::Proposed(_)
                | Event::ProposeFailed { .. }
                | Event::CancelRequested { .. }
        )
    }
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Read the join records and the newest membership; answer with [`Event::Seen`].
    Look,
    /// Call a node; answer with [`Event::Dialed`]. Only one call is under way at a time.
    Dial {
        /// The node.
        node: NodeId,
        /// The life of its agent.
        incarnation: Incarnation,
        /// Where.
        address: String,
    },
    /// Close the connection to the leader, if there is one.
    HangUp,
    /// Send to the leader.
    ToLeader(MemberMsg),
    /// Send to a member.
    ToMember {
        /// The member.
        node: NodeId,
        /// The message.
        msg: LeaderMsg,
    },
    /// Start this node's workers of a generation.
    StartWorkers(Box<Membership>),
    /// End this node's part in a generation; answer with [`Event::WorkersGone`] once none of its workers is in it.
    KillWorkers {
        /// How long they may take to end by themselves.
        mercy: Mercy,
    },
    /// Kill one worker that hangs; its exit is reported as usual.
    KillWorker(Rank),
    /// Send to every worker of this node.
    ToWorkers(AgentMsg),
    /// Try to commit a record; answer with [`Event::Proposed`] or [`Event::ProposeFailed`].
    Propose(Proposal),
    /// Tell the user.
    Note(Note),
    /// Leave.
    Exit(ExitCode),
}

/// How long a user's own command may take to end by itself after SIGTERM. Lockstep's workers have nothing to save: they get SIGKILL
/// at once, or outlive the generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mercy {
    /// `recovery.revoke`: others wait for it. Lockstep's workers keep what they hold, those that leave the generation in that time.
    Keep,
    /// `recovery.revoke`: this agent leaves.
    Revoke,
    /// `recovery.grace`: it was asked to stop.
    Grace,
}

/// A record that the leader wants to commit. What it starts from is found out by the driver.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Its generation.
    pub generation: Generation,
    /// Why the one before ended, if this machine knows.
    pub reason: Option<String>,
    /// What the run's time has gone to, where one of the nodes knows.
    pub account: Option<Box<Account>>,
    /// Workers that outlive the generation before.
    pub survivors: u32,
    /// The nodes of a new generation, or how the run ended.
    pub body: Result<Vec<Member>, Outcome>,
}

/// Why a generation ended whose leader can't say it.
pub fn leader_is_gone(leader: NodeId) -> String {
    format!("the leader, node {leader}, is gone")
}

/// Something to tell the user, kept among the run's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What sort.
    pub kind: lockstep_run::segment::EventKind,
    /// The generation that it concerns.
    pub generation: Generation,
    /// The node that it concerns.
    pub node: Option<NodeId>,
    /// The worker that it concerns.
    pub rank: Option<Rank>,
    /// What happened.
    pub text: String,
}
