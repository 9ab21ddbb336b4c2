//! Does what a kubelet's liveness probe does. In a task of its own: a store that is slow delays nobody else.

use lockstep_run::control::{self, Request};
use lockstep_run::{ControlKey, NodeId, RunDir, RunUid};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long an agent may take to answer.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(1);

/// One life of a node's agent.
pub(super) type Life = (NodeId, u64);

/// What is known of a run's agents beside their processes.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// What opens the run's control channel; it never changes.
    seal: Option<(RunUid, ControlKey)>,
    /// Where agents answered.
    addresses: BTreeMap<Life, String>,
}

/// What came of asking once.
#[derive(Debug)]
pub(super) struct Probed {
    /// When it began.
    pub(super) since: Instant,
    /// Those that were asked, and whether they may live.
    pub(super) alive: Vec<(Life, bool)>,
    /// For the next time.
    pub(super) known: Known,
}

/// Asks each of `agents` whether it lives.
pub(super) async fn probe(dir: RunDir, mut known: Known, agents: Vec<Life>) -> Probed {
    let since = Instant::now();
    known.addresses.retain(|life, _| agents.contains(life));
    if known.seal.is_none()
        && let (Ok(Some(run)), Ok(key)) = (dir.run().await, dir.key().await)
    {
        known.seal = Some((run.run_uid, key));
    }
    let answers = match &known.seal {
        Some(seal) => {
            let address = |life: &Life| known.addresses.get(life).cloned();
            let ask = |life: Life| ask(&dir, seal, life, address(&life));
            futures::future::join_all(agents.into_iter().map(ask)).await
        }
        None => vec![],
    };
    let mut alive = Vec::new();
    for (life, may_live, address) in answers {
        match address {
            Some(address) => drop(known.addresses.insert(life, address)),
            // Where one that hangs was found once, it is found again.
            None if may_live => drop(known.addresses.remove(&life)),
            None => {}
        }
        alive.push((life, may_live));
    }
    Probed { since, alive, known }
}

/// Whether it may live, and where it answered. Nobody there yet is no sign of a hang; a port that takes the call and then
/// stays silent is.
async fn ask(
    dir: &RunDir,
    (run, key): &(RunUid, ControlKey),
    life: Life,
    address: Option<String>,
) -> (Life, bool, Option<String>) {
    let address = match address {
        Some(address) => address,
        None => match dir.newest_join(life.0).await {
            Ok(Some(join)) => join.address,
            Ok(None) | Err(_) => return (life, true, None),
        },
    };
    match control::ask_at(&address, run, key, Request::Status, ANSWER_DEADLINE).await {
        Ok(Some(_)) => (life, true, Some(address)),
        Ok(None) => (life, true, None),
        Err(_) => (life, false, None),
    }
}
