//! A worker's process: it outlives its generation with what it has trained, or dies. What it does with the others is in `group`.

use super::super::{Event, Mercy, Time};
use super::group::{Heard, Stage};
use super::replica::{Content, State};
use super::store::Request;
use super::{Due, LifeId, Sim};
use crate::wire::Beat;
use lockstep_run::link::{AgentMsg, Failure, FailureKind, Phase, WorkerOutcome};
use lockstep_run::{CommitRef, Generation, Membership, Rank, StartFrom, Step};
use std::time::Duration;

/// Between two signs of life.
const BEAT: Duration = Duration::from_millis(200);
/// `recovery.revoke`.
const REVOKE: Duration = Duration::from_secs(5);
/// A checkpoint after so many steps.
const SAVE_EVERY: u64 = 20;

/// A process, by its number.
pub(crate) type Pid = usize;

pub(super) struct Worker {
    pub(super) life: LifeId,
    pub(super) lives: bool,
    pub(super) frozen_until: Time,
    pub(super) content: Content,
    /// A state that it has taken over, and that was not compared with the others' yet.
    pub(super) taken: Option<State>,
    /// Counts the generations that it began and left: what was meant for an earlier part finds another number.
    pub(super) part: u64,
    pub(super) generation: Generation,
    pub(super) rank: Rank,
    /// The last generation in which it had a state that all ranks had compared.
    pub(super) trained_in: Generation,
    pub(super) start_from: StartFrom,
    /// It has left its generation and waits for the next one.
    pub(super) waits: bool,
    pub(super) phase: Phase,
    started: u64,
    hold: Option<(u64, u64)>,
    stop: Option<u64>,
    /// The run ends with that stop, and so does this process.
    ends_with_run: bool,
    /// It would start this step, but has promised not to.
    is_held: bool,
    saved: Option<Step>,
    /// It waits for this checkpoint before it leaves.
    saves_for_good: bool,
    /// What its next collective is about.
    pub(super) stage: Stage,
    /// Collectives that it has come to, and those that it has come out of.
    pub(super) came: u64,
    pub(super) left: u64,
    /// The next state that it takes over arrives with another bit.
    pub(super) flips: bool,
    /// The next update is torn.
    pub(super) tears: bool,
}

/// What a worker does next, by itself or by what it hears.
pub(super) enum Works {
    Booted,
    Beats,
    /// It has computed its part of the next collective.
    Comes,
    Hears(Heard),
    /// It has waited for its peers as long as it may.
    LateToForm,
    /// It notices that somebody has left who took no part in this collective, or in one before.
    LostPeer(u64),
    Loaded,
    /// Its checkpoint's files are written.
    Uploaded(State),
    /// It leaves the generation, as it was told to.
    Leaves,
    Exits(Result<WorkerOutcome, String>),
}

impl Worker {
    pub(super) fn state(&self) -> Option<State> {
        match self.content {
            Content::Held(state) => Some(state),
            Content::Initial | Content::Unknown => None,
        }
    }

    fn step(&self) -> Step {
        Step(self.state().map_or(0, |state| state.step))
    }
}

impl Sim {
    pub(super) fn begin_part(&mut self, life: LifeId, record: &Membership, rank: usize) {
        let kept = self.lives[life].worker.filter(|pid| self.workers[*pid].lives && self.workers[*pid].waits);
        let pid = kept.unwrap_or_else(|| self.spawn(life));
        self.lives[life].worker = Some(pid);
        let worker = &mut self.workers[pid];
        worker.part += 1;
        (worker.generation, worker.rank) = (record.generation, Rank(rank as u32));
        if let lockstep_run::Body::Formed { start_from, .. } = &record.body {
            worker.start_from = start_from.clone();
        }
        (worker.waits, worker.phase, worker.started) = (false, Phase::Starting, 0);
        (worker.hold, worker.stop, worker.is_held) = (None, None, false);
        (worker.saved, worker.saves_for_good, worker.ends_with_run) = (None, false, false);
        (worker.stage, worker.came, worker.left) = (Stage::Forming, 0, 0);
        let boots = match (kept, self.plan.seed) {
            (Some(_), _) => Duration::from_millis(2),
            (None, None) => Duration::from_millis(20),
            (None, Some(_)) => self.random.between(50, 200),
        };
        self.group(record.generation, record.members().len()).enter(Rank(rank as u32), pid);
        self.works(boots, pid, Works::Booted);
        self.works(boots, pid, Works::Beats);
    }

    fn spawn(&mut self, life: LifeId) -> Pid {
        self.workers.push(Worker {
            life,
            lives: true,
            frozen_until: Time::ZERO,
            content: Content::Initial,
            taken: None,
            part: 0,
            generation: Generation(0),
            rank: Rank(0),
            start_from: StartFrom::Fresh,
            waits: true,
            phase: Phase::Starting,
            started: 0,
            hold: None,
            stop: None,
            ends_with_run: false,
            is_held: false,
            saved: None,
            saves_for_good: false,
            stage: Stage::Forming,
            trained_in: Generation(0),
            came: 0,
            left: 0,
            flips: false,
            tears: false,
        });
        self.workers.len() - 1
    }

    pub(super) fn works(&mut self, after: Duration, pid: Pid, works: Works) {
        let part = self.workers[pid].part;
        self.later(after, Due::Work(pid, part, works));
    }

    /// What a worker does, if it is still in the part of its life in which it was to do it.
    pub(super) fn work(&mut self, pid: Pid, part: u64, works: Works) {
        let worker = &self.workers[pid];
        if let Works::Exits(how) = works {
            return self.exited(pid, how);
        }
        if !worker.lives || worker.part != part {
            return;
        }
        if worker.frozen_until > self.now {
            return self.due.put(worker.frozen_until, Due::Work(pid, part, works));
        }
        match works {
            Works::Booted => self.come(pid, Duration::ZERO),
            Works::Beats => {
                self.beat(pid);
                self.works(BEAT, pid, Works::Beats);
            }
            Works::Comes => self.comes(pid),
            Works::Hears(heard) => self.hears(pid, heard),
            Works::LostPeer(from) => {
                let waits_for_it = worker.came > worker.left && worker.came >= from;
                if waits_for_it {
                    self.leave_part(pid, "lost its peers: connection reset");
                }
            }
            Works::LateToForm => {
                if worker.stage == Stage::Forming {
                    self.leave_part(pid, "its peers did not come within 10s");
                }
            }
            Works::Loaded => self.loaded(pid),
            Works::Uploaded(state) => self.look_before_commit(pid, state),
            Works::Leaves => self.leave_part(pid, "the generation is over"),
            Works::Exits(_) => {}
        }
    }

    pub(super) fn beat(&mut self, pid: Pid) {
        let worker = &self.workers[pid];
        let beat = Beat { rank: worker.rank, step: worker.step(), phase: worker.phase };
        let (life, generation) = (worker.life, worker.generation);
        let after = self.moment();
        self.tell(after, life, Event::WorkerBeat { generation, beat });
    }

    /// The agent speaks.
    pub(super) fn hear_agent(&mut self, pid: Pid, msg: AgentMsg) {
        let worker = &mut self.workers[pid];
        match msg {
            AgentMsg::HoldAt { ask, step } if !worker.waits => {
                if worker.hold.is_none_or(|(newest, _)| newest < ask) {
                    worker.hold = Some((ask, step.0));
                }
                let (generation, rank, life) = (worker.generation, worker.rank, worker.life);
                let started = Step(worker.started.max(worker.step().0));
                let held = Event::WorkerHeld { generation, rank, ask, started };
                let after = self.moment();
                self.tell(after, life, held);
                self.go_on_if_held(pid);
            }
            AgentMsg::StopAt { step, ends_run, .. } if !worker.waits => {
                (worker.hold, worker.stop) = (Some((u64::MAX, step.0)), Some(step.0));
                worker.ends_with_run = ends_run;
                self.go_on_if_held(pid);
            }
            _ => {}
        }
    }

    fn go_on_if_held(&mut self, pid: Pid) {
        if std::mem::take(&mut self.workers[pid].is_held) {
            self.begin_step(pid);
        }
    }

    /// Starts the next step, or ends what there is to train.
    pub(super) fn begin_step(&mut self, pid: Pid) {
        let total = self.plan.total;
        let worker = &mut self.workers[pid];
        let next = worker.step().next().0;
        if next > total || worker.stop.is_some_and(|stop| stop < next) {
            worker.phase = Phase::Saving;
            worker.stage = Stage::Agreeing;
            self.beat(pid);
            return self.come(pid, Duration::from_millis(1));
        }
        if worker.hold.is_some_and(|(_, step)| step < next) {
            worker.is_held = true;
            return;
        }
        worker.started = next;
        let phase = if worker.phase == Phase::Starting { Phase::FirstStep } else { Phase::Training };
        if std::mem::replace(&mut worker.phase, phase) != phase {
            self.beat(pid);
        }
        let takes = self.plan.step_time;
        let takes = if self.plan.seed.is_some() {
            takes / 2 + takes.mul_f64(self.random.below(100) as f64 / 100.0)
        } else {
            takes
        };
        self.come(pid, takes);
    }

    /// A step is done.
    pub(super) fn done(&mut self, pid: Pid) {
        let worker = &self.workers[pid];
        if let (Rank(0), Some(state)) = (worker.rank, worker.state())
            && state.step.is_multiple_of(SAVE_EVERY)
            && state.step < self.plan.total
        {
            self.upload(pid, state);
        }
        self.begin_step(pid);
    }

    pub(super) fn upload(&mut self, pid: Pid, state: State) {
        let takes =
            if self.plan.seed.is_some() { self.random.between(5, 200) } else { Duration::from_millis(5) };
        self.works(takes, pid, Works::Uploaded(state));
    }

    fn look_before_commit(&mut self, pid: Pid, state: State) {
        let worker = &self.workers[pid];
        let (life, generation) = (worker.life, worker.generation);
        if !self.store.is_up(self.now) {
            return self.works(Duration::from_millis(200), pid, Works::Uploaded(state));
        }
        if self.is_fenced(generation) {
            return self.leave_part(pid, "a newer generation exists");
        }
        let checkpoint = CommitRef { generation, step: Step(state.step) };
        self.ask(life, Request::Save(pid, checkpoint, state));
    }

    /// A checkpoint is there, whatever has become of whom it is from.
    pub(super) fn saved(&mut self, pid: Pid, step: Step) {
        self.workers[pid].saved = Some(step);
        let worker = &self.workers[pid];
        if worker.lives && worker.saves_for_good && !worker.waits && worker.step() == step {
            self.finish(pid);
        }
    }

    /// All ranks hold the same last state: the first one saves it, the others are done.
    pub(super) fn save_for_good(&mut self, pid: Pid) {
        let worker = &mut self.workers[pid];
        worker.saves_for_good = true;
        match (worker.rank, worker.state()) {
            (Rank(0), Some(state)) if worker.saved != Some(Step(state.step)) => self.upload(pid, state),
            _ => self.finish(pid),
        }
    }

    fn finish(&mut self, pid: Pid) {
        let worker = &self.workers[pid];
        let step = worker.step();
        match step.0 >= self.plan.total {
            true => self.exit(pid, Ok(WorkerOutcome::Done { step })),
            false if worker.ends_with_run => self.exit(pid, Ok(WorkerOutcome::Stopped { step })),
            false => self.leave_with(pid, worker.left + 1, WorkerOutcome::Stopped { step }),
        }
    }

    /// It says its last word.
    pub(super) fn exit(&mut self, pid: Pid, how: Result<WorkerOutcome, String>) {
        let worker = &mut self.workers[pid];
        if !worker.lives {
            return;
        }
        worker.lives = false;
        let from = match how {
            Ok(WorkerOutcome::Done { .. } | WorkerOutcome::Stopped { .. }) => worker.left + 1,
            _ => 0,
        };
        self.leave_group(pid, from);
        let after = self.moment();
        self.works(after, pid, Works::Exits(how));
    }

    fn exited(&mut self, pid: Pid, how: Result<WorkerOutcome, String>) {
        let Worker { life, generation, rank, .. } = self.workers[pid];
        self.tell(Duration::ZERO, life, Event::WorkerLeft { generation, rank, how });
    }

    pub(super) fn fail(&mut self, pid: Pid, message: &str) {
        let failure = Failure { kind: FailureKind::Bug, message: message.to_owned() };
        self.exit(pid, Ok(WorkerOutcome::Failed(failure)));
    }

    pub(super) fn kill_worker(&mut self, pid: Pid) {
        self.exit(pid, Err("was killed by SIGKILL".to_owned()));
    }

    /// The agent ends its node's part in a generation.
    pub(super) fn end_workers(&mut self, life: LifeId, mercy: Mercy) {
        let worker = self.lives[life].worker;
        let after = match worker {
            Some(pid) if mercy != Mercy::Keep => {
                self.kill_worker(pid);
                self.moment()
            }
            Some(pid) if !self.workers[pid].waits && self.workers[pid].lives => {
                let slow = self.plan.seed.is_some() && self.random.percent(5);
                let takes = match self.workers[pid].frozen_until > self.now {
                    // It doesn't hear it, unless it thaws in time.
                    true => REVOKE,
                    false if slow => self.random.between(100, 7000),
                    false => self.moment(),
                };
                self.works(takes, pid, Works::Leaves);
                takes.min(REVOKE)
            }
            _ => Duration::ZERO,
        };
        self.later(after, Due::Revoked(life, worker));
    }

    /// Who hasn't left by now is killed.
    pub(super) fn end_part(&mut self, life: LifeId, pid: Option<Pid>) {
        if let Some(pid) = pid.filter(|pid| !self.workers[*pid].waits) {
            self.kill_worker(pid);
        }
        let waits = pid.map(|pid| &self.workers[pid]).filter(|worker| worker.lives && worker.waits);
        let kept = waits.map(|worker| worker.rank).into_iter().collect();
        self.tell(Duration::from_millis(1), life, Event::WorkersGone { free_port: None, kept });
    }

    /// Leaves the generation in the middle with what it holds, and waits for the next one.
    pub(super) fn leave_part(&mut self, pid: Pid, why: &str) {
        let failure = Failure { kind: FailureKind::PeerLost, message: why.to_owned() };
        self.leave_with(pid, 0, WorkerOutcome::Failed(failure));
    }

    /// Those miss it who wait for it in a collective from `from` on.
    fn leave_with(&mut self, pid: Pid, from: u64, outcome: WorkerOutcome) {
        let worker = &mut self.workers[pid];
        if worker.waits || !worker.lives {
            return;
        }
        (worker.waits, worker.taken) = (true, None);
        worker.part += 1;
        let (life, generation, rank) = (worker.life, worker.generation, worker.rank);
        self.leave_group(pid, from);
        let after = self.moment();
        self.tell(after, life, Event::WorkerLeft { generation, rank, how: Ok(outcome) });
    }
}
