//! Stops that somebody asked for: of one node, or of the whole run.

use super::super::stop::Stop;
use super::super::{Action, Machine, Note, Time};
use super::{Lead, STOP_WINDOW, State, Whole};
use crate::wire::LeaderMsg;
use lockstep_run::segment::EventKind;
use lockstep_run::{Generation, Rank, Step};
use std::time::Duration;

impl Machine {
    pub(super) fn stop_if_all(&mut self, now: Time, cause: &str, out: &mut Vec<Action>) -> bool {
        let all = self.lead.as_ref().is_some_and(|l| l.stops.len() as u32 >= self.config.num_nodes);
        if all {
            self.stop_whole(now, cause.to_owned(), false, out);
        }
        all
    }

    pub(super) fn on_held(
        &mut self,
        generation: Generation,
        rank: Rank,
        ask: u64,
        started: Step,
        out: &mut Vec<Action>,
    ) {
        let Some(Lead { state: State::Leading(leading), .. }) = &mut self.lead else { return };
        let num_ranks = leading.ranks.len();
        // The promise of a rank that there isn't would stand for one that somebody still owes.
        let counts = leading.generation == generation && leading.ranks.contains_key(&rank);
        let Some(stop) = leading.stop.as_mut().filter(|_| counts) else { return };
        if stop.on_held(rank, ask, started, num_ranks) {
            self.tell_stop(out);
        }
    }

    pub(super) fn stop_whole(&mut self, now: Time, cause: String, for_good: bool, out: &mut Vec<Action>) {
        let Some(lead) = &mut self.lead else { return };
        if lead.whole.is_some() {
            return;
        }
        lead.whole = Some(Whole { cause: cause.clone(), since: now, for_good });
        let (kind, node, rank) = (EventKind::Stopping, None, None);
        out.push(Action::Note(Note { kind, generation: self.known, node, rank, text: cause }));
        self.begin_stop(now, out);
        self.settle(now, out);
    }

    /// Asks the ranks to hold, where a stop is wanted and they run.
    pub(super) fn begin_stop(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(lead) = &mut self.lead else { return };
        let State::Leading(leading) = &mut lead.state else { return };
        if leading.stop.is_some() || (lead.whole.is_none() && lead.stops.is_empty()) {
            return;
        }
        if !self.config.workers_beat {
            // A user's own command knows no steps: it gets SIGTERM and the grace period.
            let first = lead.stops.values().min().copied().unwrap_or(now);
            return match lead.whole.clone() {
                Some(whole) => self.end(whole.outcome(), out),
                None if now >= first + STOP_WINDOW => {
                    self.revoke(now, "a node was asked to stop".to_owned(), Duration::ZERO, out)
                }
                None => {}
            };
        }
        leading.stop = Some(Stop::begin(leading.newest_step()));
        self.tell_stop(out);
    }

    pub(super) fn tell_stop(&mut self, out: &mut Vec<Action>) {
        let Some(lead) = &self.lead else { return };
        let State::Leading(leading) = &lead.state else { return };
        let generation = leading.generation;
        let reason = lead
            .whole
            .as_ref()
            .map_or_else(|| "a node was asked to stop".to_owned(), |whole| whole.cause.clone());
        let msg = match &leading.stop {
            None => return,
            Some(Stop::Holding { ask, step, .. }) => LeaderMsg::HoldAt { generation, ask: *ask, step: *step },
            Some(Stop::At(step)) => {
                LeaderMsg::StopAt { generation, step: *step, reason, ends_run: lead.whole.is_some() }
            }
        };
        out.extend(leading.members.iter().map(|m| Action::ToMember { node: m.node, msg: msg.clone() }));
    }
}
