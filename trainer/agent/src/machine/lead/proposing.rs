//! Records that the storage doesn't take.

use super::super::{Action, ExitCode, Machine, Time};
use super::{Lead, State};
use crate::wire::LeaderMsg;
use lockstep_run::{NodeId, Outcome};
use std::time::Duration;

/// A failed proposal is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A proposal that the storage doesn't take.
#[derive(Debug, Clone)]
pub(super) struct Failing {
    since: Time,
    /// When it is tried again; none while it is tried.
    again: Option<Time>,
    pub(super) error: String,
}

impl Failing {
    /// Whether to try again now.
    pub(super) fn is_due(&mut self, now: Time) -> bool {
        self.again.take_if(|at| now >= *at).is_some()
    }
}

impl Machine {
    /// Tries again for ever where the storage can't be reached. Where it refuses, that is within the grace period: the next
    /// process of this node may have another key, or finds at its start that it has none.
    pub(super) fn on_propose_failed(
        &mut self,
        now: Time,
        error: String,
        for_good: bool,
        out: &mut Vec<Action>,
    ) {
        let Some(Lead { state: State::Proposing { failing, .. }, .. }) = &mut self.lead else { return };
        let since = failing.as_ref().map_or(now, |failing| failing.since);
        if !for_good || now <= since + self.config.timings.grace {
            *failing = Some(Failing { since, again: Some(now + AGAIN_AFTER), error });
            return;
        }
        if let Some(lead) = &mut self.lead {
            lead.state = State::Over;
        }
        let others = (0..self.config.num_nodes).map(NodeId).filter(|node| *node != self.config.node);
        out.extend(others.map(|node| Action::ToMember { node, msg: LeaderMsg::Leave }));
        self.node.ended = Some(Outcome::Failed { error });
        self.leave(ExitCode::Stopped, out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sim::{config, timings};
    use super::super::super::{Action, Event, ExitCode, Machine, Mercy, Time};
    use lockstep_run::{Generation, Incarnation, Join, NodeId, Outcome, RunUid};
    use std::time::Duration;

    /// A machine of one node that wants to commit its first membership.
    fn proposing() -> Machine {
        let mut machine = Machine::new(config(0, 1, 1), Generation(0), Time::ZERO);
        let join = Join {
            run_uid: RunUid::random(),
            node: NodeId(0),
            incarnation: Incarnation(1),
            address: "0:1".to_owned(),
            num_ranks: 1,
            pid: 1,
            nonce: 1,
            at: jiff::Timestamp::UNIX_EPOCH,
        };
        let actions = machine.on(Time::ZERO, Event::Seen { joins: vec![join], newest: None });
        assert!(actions.iter().any(|action| matches!(action, Action::Propose(_))), "{actions:?}");
        machine
    }

    fn fail(machine: &mut Machine, at: Duration, for_good: bool) -> Vec<Action> {
        machine.on(at, Event::ProposeFailed { error: "was denied".to_owned(), for_good })
    }

    #[test]
    fn a_refusal_is_borne_for_the_grace_period() {
        let (mut machine, grace) = (proposing(), timings().grace);
        assert_eq!(fail(&mut machine, Time::ZERO, true), vec![]);
        assert_eq!(machine.trouble(), Some("was denied"));
        let again = machine.on(Duration::from_secs(1), Event::Tick);
        assert!(again.iter().any(|action| matches!(action, Action::Propose(_))), "{again:?}");
        let left = fail(&mut machine, grace + Duration::from_secs(1), true);
        assert!(left.contains(&Action::KillWorkers { mercy: Mercy::Grace }), "{left:?}");
        assert_eq!(machine.ended(), Some(&Outcome::Failed { error: "was denied".to_owned() }));
        let exit =
            machine.on(grace + Duration::from_secs(2), Event::WorkersGone { free_port: None, kept: vec![] });
        assert_eq!(exit, vec![Action::Exit(ExitCode::Stopped)]);
    }

    #[test]
    fn a_storage_that_is_away_is_waited_for() {
        let mut machine = proposing();
        for hour in 0..10 {
            assert_eq!(fail(&mut machine, Duration::from_secs(3600 * hour), false), vec![]);
        }
        assert_eq!(machine.ended(), None);
    }
}
