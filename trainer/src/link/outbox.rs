use lockstep_run::link::WorkerMsg;
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

    /// Sends a message. Where the agent is gone nothing happens: the link's thread then ends this process.
    pub fn send(&self, message: WorkerMsg) {
        let _ = self.0.send(message);
    }
}
