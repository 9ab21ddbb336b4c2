//! What a worker process needs of its agent, and no more: its orders, a key-value store, and somebody who listens.

use lockstep_c10d::{MemoryStore, Store, StoreError};
use lockstep_run::link::{self, AgentMsg, Start, StoreOp, StoreReply, WorkerMsg, WorkerOutcome};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tokio::net::UnixListener;
use tokio::sync::mpsc as async_mpsc;

/// Longer than any test's step; a test that gets here has failed.
const DEADLINE: Duration = Duration::from_secs(60);

/// The worker processes of one generation. Dropping it kills them.
pub struct Workers {
    children: Vec<Child>,
    heard: Receiver<(u32, WorkerMsg)>,
    orders: Vec<async_mpsc::UnboundedSender<AgentMsg>>,
}

impl Workers {
    /// Starts `binary` once for each order. `env` is added to the environment.
    pub fn start(binary: &Path, starts: Vec<Start>, env: &[(&str, String)], sockets: &Path) -> Self {
        let store = Arc::new(MemoryStore::new());
        let (say, heard) = channel();
        let (mut children, mut orders) = (Vec::new(), Vec::new());
        for start in starts {
            let socket = sockets.join(format!("{}-{}", start.generation, start.rank));
            let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
            listener.set_nonblocking(true).unwrap();
            let child = Command::new(binary)
                .env(link::ENV, &socket)
                .env("LOCAL_RANK", start.local_rank.to_string())
                .env("OMP_NUM_THREADS", "1")
                .envs(env.iter().map(|(name, value)| (name, value)))
                .spawn()
                .unwrap();
            children.push(child);
            let (order, inbox) = async_mpsc::unbounded_channel();
            orders.push(order);
            let (store, say) = (Arc::clone(&store), say.clone());
            std::thread::spawn(move || serve(listener, start, store, say, inbox));
        }
        Self { children, heard, orders }
    }

    /// Waits for a message that `wanted` takes; the others are thrown away.
    pub fn wait_for<T>(&self, what: &str, mut wanted: impl FnMut(u32, &WorkerMsg) -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let (rank, message) = self.heard.recv_timeout(left).unwrap_or_else(|e| panic!("no {what}: {e}"));
            if let Some(found) = wanted(rank, &message) {
                return found;
            }
        }
    }

    /// Sends an order to every worker.
    pub fn tell_all(&self, order: &AgentMsg) {
        self.orders.iter().for_each(|to| to.send(order.clone()).unwrap());
    }

    /// The agent goes, without a word.
    pub fn hang_up(&mut self) {
        self.orders.clear();
    }

    /// SIGKILL to every worker.
    pub fn kill(&mut self) {
        for child in &mut self.children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGKILL to one worker.
    pub fn kill_one(&mut self, rank: usize) {
        self.children[rank].kill().unwrap();
    }

    /// The last word of each worker, and how it left.
    pub fn finish(mut self) -> Vec<(WorkerOutcome, ExitStatus)> {
        let mut words = vec![None; self.children.len()];
        while words.iter().any(Option::is_none) {
            let last = |rank, message: &WorkerMsg| match message {
                WorkerMsg::Finished(outcome) => Some((rank, outcome.clone())),
                _ => None,
            };
            let (rank, word) = self.wait_for("last word", last);
            words[rank as usize] = Some(word);
        }
        let exits = self.children.iter_mut().map(wait);
        words.into_iter().flatten().zip(exits.collect::<Vec<_>>()).collect()
    }

    /// How one worker left, without a last word.
    pub fn exit(&mut self, rank: usize) -> ExitStatus {
        wait(&mut self.children[rank])
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    let until = Instant::now() + DEADLINE;
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status,
            None if Instant::now() > until => panic!("process {} did not leave", child.id()),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn serve(
    listener: std::os::unix::net::UnixListener,
    start: Start,
    store: Arc<MemoryStore>,
    say: Sender<(u32, WorkerMsg)>,
    mut orders: async_mpsc::UnboundedReceiver<AgentMsg>,
) {
    let rank = start.rank.0;
    super::block_on(async move {
        let (stream, _) = UnixListener::from_std(listener).unwrap().accept().await.unwrap();
        let (mut receiver, mut sender) = link::split(stream);
        assert!(matches!(receiver.recv().await.unwrap(), Some(WorkerMsg::Hello { .. })));
        sender.send(&AgentMsg::Start(Box::new(start))).await.unwrap();
        let (reply, mut replies) = async_mpsc::unbounded_channel();
        // An error of the socket means that the worker was killed, which is what these tests do.
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => if sender.send(&order).await.is_err() { return },
                    None => return,
                },
                Some(answer) = replies.recv() => if sender.send(&answer).await.is_err() { return },
                message = receiver.recv() => match message {
                    Ok(Some(WorkerMsg::Store { id, op })) => {
                        let (store, reply) = (Arc::clone(&store), reply.clone());
                        tokio::task::spawn_blocking(move || {
                            let _ = reply.send(AgentMsg::StoreReply { id, reply: answer(&store, op) });
                        });
                    }
                    Ok(Some(message)) => if say.send((rank, message)).is_err() { return },
                    Ok(None) | Err(_) => return,
                },
            }
        }
    });
}

fn answer(store: &MemoryStore, op: StoreOp) -> StoreReply {
    let ms = Duration::from_millis;
    let keys = |keys: &[String], call: &dyn Fn(&[&str]) -> Result<StoreReply, StoreError>| {
        call(&keys.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let reply = match op {
        StoreOp::Set { key, value } => store.set(&key, &value).map(|()| StoreReply::Done),
        StoreOp::Get { key, timeout_ms } => store.get(&key, ms(timeout_ms)).map(StoreReply::Value),
        StoreOp::Add { key, delta } => store.add(&key, delta).map(StoreReply::Sum),
        StoreOp::CompareSet { key, expected, desired } => {
            store.compare_set(&key, &expected, &desired).map(StoreReply::Value)
        }
        StoreOp::Delete { key } => store.delete(&key).map(StoreReply::Truth),
        StoreOp::Check { keys: all } => keys(&all, &|all| store.check(all).map(StoreReply::Truth)),
        StoreOp::Wait { keys: all, timeout_ms } => {
            keys(&all, &|all| store.wait(all, ms(timeout_ms)).map(|()| StoreReply::Done))
        }
    };
    reply.unwrap_or(StoreReply::Timeout)
}
