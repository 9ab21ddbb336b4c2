//! Where the training thread and the link meet: which step may start, where to stop, how far this rank is.

use crate::{Error, Result};
use lockstep_c10d::ProcessGroup;
use lockstep_run::Step;
use lockstep_run::link::{Phase, TraceOrder};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// State shared by the training thread and the link's thread.
///
/// A stop is agreed in two rounds. First every rank promises not to start a step after some step S
/// ([`Control::hold_at`]); once all have, S is the last step on all of them ([`Control::stop_at`]). A rank that had
/// started a later step already says so, and is asked again with a greater S.
#[derive(Debug, Default)]
pub struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    started: Step,
    done: Step,
    hold: Option<Hold>,
    stop: Option<Stop>,
    traces: VecDeque<TraceOrder>,
    /// The generation is over.
    is_revoked: bool,
    /// What its training thread may be waiting in.
    groups: Vec<Weak<dyn ProcessGroup>>,
}

/// What a group that is revoked says of itself.
const REVOKED: &str = "the generation is over";

#[derive(Debug)]
struct Hold {
    ask: u64,
    step: Step,
}

/// An agreed stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The last step.
    pub step: Step,
    /// Who or what asked.
    pub reason: String,
    /// The run ends with it; else this process waits for the next generation.
    pub ends_run: bool,
}

/// Whether a step may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permit {
    /// Yes, and it counts as started.
    Go,
    /// No: save what there is and leave.
    Stop(Stop),
}

impl Control {
    /// Asks to start a step; waits while this rank has promised to hold before it.
    ///
    /// # Errors
    /// [`Error::HeldTooLong`] where no decision came within `deadline`: whoever asked to hold is gone. [`Error::Revoked`] where the
    /// generation is over.
    pub fn begin(&self, step: Step, deadline: Duration) -> Result<Permit> {
        let until = Instant::now() + deadline;
        let mut state = self.lock();
        loop {
            if state.is_revoked {
                return Err(Error::Revoked { step });
            }
            if let Some(stop) = state.stop.as_ref().filter(|stop| stop.step < step) {
                return Ok(Permit::Stop(stop.clone()));
            }
            if state.hold.as_ref().is_none_or(|hold| step <= hold.step) {
                state.started = step;
                return Ok(Permit::Go);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::HeldTooLong { step: state.done, seconds: deadline.as_secs_f64() });
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Promises not to start any step after `step`; returns the last one that was started, which may be a later one.
    /// An older ask than the last one is ignored.
    pub fn hold_at(&self, ask: u64, step: Step) -> Step {
        let mut state = self.lock();
        if state.hold.as_ref().is_none_or(|hold| hold.ask < ask) {
            state.hold = Some(Hold { ask, step });
            self.changed.notify_all();
        }
        state.started
    }

    /// Every rank holds: `stop.step` is the last one.
    pub fn stop_at(&self, stop: Stop) {
        let mut state = self.lock();
        state.hold = Some(Hold { ask: u64::MAX, step: stop.step });
        state.stop = Some(stop);
        self.changed.notify_all();
    }

    /// Whether a stop was agreed after which this process stays.
    pub fn outlives_stop(&self) -> bool {
        self.lock().stop.as_ref().is_some_and(|stop| !stop.ends_run)
    }

    /// The generation is over: whatever the training thread waits for with other ranks fails at once.
    pub fn revoke(&self) {
        let groups = {
            let mut state = self.lock();
            state.is_revoked = true;
            self.changed.notify_all();
            std::mem::take(&mut state.groups)
        };
        groups.iter().filter_map(Weak::upgrade).for_each(|group| group.abort(REVOKED));
    }

    /// A group that this rank may wait in.
    pub(crate) fn waits_in(&self, group: &Arc<dyn ProcessGroup>) {
        let mut state = self.lock();
        if state.is_revoked {
            group.abort(REVOKED);
        } else {
            state.groups.push(Arc::downgrade(group));
        }
    }

    /// Keeps a request for a trace until the training thread asks for it.
    pub fn order_trace(&self, order: TraceOrder) {
        self.lock().traces.push_back(order);
    }

    /// The oldest request for a trace that was not obeyed yet.
    pub fn next_trace(&self) -> Option<TraceOrder> {
        self.lock().traces.pop_front()
    }

    /// Says what this rank does now; true where it did something else before.
    pub fn enter(&self, phase: Phase) -> bool {
        let before = std::mem::replace(&mut self.lock().phase, phase);
        before != phase
    }

    /// Says that a step is done, or that its state was loaded.
    pub fn done(&self, step: Step) {
        let mut state = self.lock();
        state.done = step;
        state.started = state.started.max(step);
    }

    /// What a heartbeat tells: steps done and phase.
    pub fn pulse(&self) -> (Step, Phase) {
        let state = self.lock();
        (state.done, state.phase)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each field is valid by itself, so what a panicking thread left behind can be used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(10);

    fn stop(step: u64) -> Stop {
        Stop { step: Step(step), reason: "SIGTERM".into(), ends_run: true }
    }

    #[test]
    fn a_hold_lets_earlier_steps_through_and_a_stop_ends_the_wait() {
        let control = Arc::new(Control::default());
        assert_eq!(control.begin(Step(1), LONG).unwrap(), Permit::Go);
        assert_eq!(control.hold_at(1, Step(2)), Step(1));
        assert_eq!(control.begin(Step(2), LONG).unwrap(), Permit::Go);
        let (told, answer) = mpsc::channel();
        let waiter = Arc::clone(&control);
        let thread = std::thread::spawn(move || told.send(waiter.begin(Step(3), LONG).unwrap()).unwrap());
        assert_eq!(control.hold_at(2, Step(2)), Step(2), "step 3 has not started");
        control.stop_at(stop(2));
        assert_eq!(answer.recv_timeout(LONG).unwrap(), Permit::Stop(stop(2)));
        thread.join().unwrap();
    }

    #[test]
    fn a_rank_that_is_too_late_says_so_and_goes_on_once_asked_higher() {
        let control = Control::default();
        control.begin(Step(1), LONG).unwrap();
        control.begin(Step(2), LONG).unwrap();
        assert_eq!(control.hold_at(1, Step(1)), Step(2));
        assert!(control.begin(Step(3), Duration::ZERO).is_err(), "it holds although it was late");
        assert_eq!(control.hold_at(2, Step(3)), Step(2));
        assert_eq!(control.hold_at(1, Step(1)), Step(2), "an old ask changes nothing");
        assert_eq!(control.begin(Step(3), Duration::ZERO).unwrap(), Permit::Go);
        control.stop_at(stop(3));
        assert_eq!(control.begin(Step(4), Duration::ZERO).unwrap(), Permit::Stop(stop(3)));
    }

    #[test]
    fn a_revoked_generation_begins_no_step_and_ends_a_wait() {
        let control = Arc::new(Control::default());
        control.hold_at(1, Step(0));
        let (told, answer) = mpsc::channel();
        let waiter = Arc::clone(&control);
        let thread = std::thread::spawn(move || told.send(waiter.begin(Step(1), LONG)).unwrap());
        control.revoke();
        let ended = answer.recv_timeout(LONG).unwrap();
        assert!(matches!(ended, Err(Error::Revoked { step: Step(1) })), "{ended:?}");
        thread.join().unwrap();
        assert!(control.begin(Step(1), LONG).is_err());
    }

    #[test]
    fn a_hold_without_a_decision_ends_at_the_deadline() {
        let control = Control::default();
        control.done(Step(7));
        control.hold_at(1, Step(7));
        let error = control.begin(Step(8), Duration::from_millis(1)).unwrap_err();
        assert!(matches!(error, Error::HeldTooLong { step: Step(7), .. }));
    }
}
