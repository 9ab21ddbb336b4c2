//! Faults that were asked for.

use super::{Driver, unix_now};
use crate::wire::LeaderMsg;
use jiff::Timestamp;
use lockstep_run::segment::{Event, EventKind};
use lockstep_run::{Blow, Generation, Step, Strike, Target};
use std::time::Duration;

/// A blow to this agent comes so much later, when the event that tells of it is written.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// What a process says that was killed: 128 and SIGKILL's number.
const KILLED: i32 = 137;

impl Driver {
    /// To the leader: passes a fault on to the node that it is meant for.
    pub(super) fn on_strike_asked(&mut self, generation: Generation, strike: Strike, by: &str) {
        let node = match strike.target {
            Target::Worker(rank) => self.machine.node_of(rank),
            Target::Agent(node) => Some(node),
        };
        let by = by.to_owned();
        match node.filter(|_| self.machine.leads() == Some(generation)) {
            Some(node) if node == self.me() => self.strike(generation, strike, &by),
            Some(node) => self.to_member(node, LeaderMsg::Strike { generation, strike, by }),
            // Whoever asked sees that the generation is over, or that there is no such rank.
            None => {}
        }
    }

    /// Does it to a process of this node.
    pub(super) fn strike(&mut self, generation: Generation, strike: Strike, by: &str) {
        let Some(workers) = self.workers.as_ref().filter(|workers| workers.generation() == generation) else {
            return;
        };
        let event = self.reporter.here(generation, EventKind::Struck, format!("{strike}, as {by} asked"));
        match (strike.target, strike.blow) {
            (Target::Worker(rank), blow) => {
                self.reporter.tell(Event { rank: Some(rank), ..event });
                match blow {
                    Blow::Kill => workers.kill(rank),
                    Blow::Stop => workers.stop(rank),
                }
            }
            (Target::Agent(node), Blow::Kill) if node == self.me() => {
                let at = Timestamp::from_millisecond((unix_now() + TOLD_AFTER).as_millis() as i64);
                self.reporter.tell(Event { at: at.unwrap_or(event.at), ..event });
                let told = self.reporter.clone().close();
                tokio::spawn(async move {
                    // Workers report on meanwhile, so what is to be written may have no end.
                    let at = tokio::time::Instant::now() + TOLD_AFTER;
                    let _ = tokio::time::timeout_at(at, told).await;
                    tokio::time::sleep_until(at).await;
                    // As PID 1 of a pod it gets no SIGKILL of its own.
                    std::process::exit(KILLED);
                });
            }
            // An agent that stands still couldn't be told from one that was asked to.
            (Target::Agent(_), _) => {}
        }
    }

    /// Rank 0 is on this node, and has done the first step of a generation that follows a fault.
    pub(super) fn tell_recovered(&mut self, generation: Generation, step: Step) {
        let seconds = self.lost.take().map(|lost| lost.elapsed().as_secs_f64());
        let after = seconds.map(|s| format!(", {s:.2} s after the last generation ended here"));
        let text = format!("step {step} is done{}", after.unwrap_or_default());
        let event = self.reporter.here(generation, EventKind::Recovered, text);
        self.reporter.tell(Event { step: Some(step), seconds, ..event });
    }
}
