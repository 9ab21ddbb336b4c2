use crate::control::Control;
use lockstep_run::link::{Phase, WorkerMsg};
use tokio::sync::mpsc;

/// Takes messages for the agent from any thread, without waiting.
#[derive(Debug, Clone)]
pub struct Outbox(mpsc::UnboundedSender<WorkerMsg>);

impl Outbox {
    /// An outbox and what comes out of it.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<WorkerMsg>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Says what this rank does now; the agent hears of a change at once, not with the next heartbeat.
    pub(crate) fn enter(&self, control: &Control, phase: Phase) {
        if control.enter(phase) {
            let (step, phase) = control.pulse();
            self.send(WorkerMsg::Heartbeat { step, phase });
        }
    }

    /// Sends a message. Where the agent is gone nothing happens: the link's thread then ends this process.
    pub fn send(&self, message: WorkerMsg) {
        let _ = self.0.send(message);
    }
}
