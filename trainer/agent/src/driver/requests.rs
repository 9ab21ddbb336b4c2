//! What is asked of the live run by records: the leader looks for them, in one request to the storage at a time.

use super::{Done, Driver};
use crate::wire::LeaderMsg;
use lockstep_run::link::{AgentMsg, TraceOrder};
use lockstep_run::{Error, Generation, Rank, Result, RunDir, RunRequest, Wish};
use std::time::{Duration, Instant};

/// A request is seen so late at most, where the storage answers.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// One look reads so many requests at most; the next one goes on.
const MOST_READS: usize = 8;

/// Reads requests in the order of their numbers, each once.
#[derive(Debug)]
pub(super) struct Requests {
    dir: RunDir,
    /// The generation that is served, and the number that its next request has.
    next: Option<(Generation, u64)>,
}

impl Requests {
    pub(super) fn new(dir: RunDir) -> Self {
        Self { dir, next: None }
    }

    /// What was asked of this generation since the last look.
    pub(super) async fn look(&mut self, generation: Generation) -> Result<Vec<(u64, RunRequest)>> {
        let mut number = match self.next {
            Some((served, next)) if served == generation => next,
            _ => self.first_of(generation).await?,
        };
        self.next = Some((generation, number));
        let mut found = Vec::new();
        for _ in 0..MOST_READS {
            match self.dir.request(number).await {
                Ok(Some(request)) if request.generation == generation => found.push((number, request)),
                Ok(Some(_)) => {}
                Ok(None) => break,
                // What was heard before is not lost for it.
                Err(Error::Storage(error)) if found.is_empty() => return Err(error.into()),
                Err(Error::Storage(_)) => break,
                // Of a newer version, or damaged: those after it can be read.
                Err(error) => tracing::warn!(%error, "a request is passed over"),
            }
            number += 1;
            self.next = Some((generation, number));
        }
        Ok(found)
    }

    /// Those before it were asked of generations that are over.
    async fn first_of(&self, generation: Generation) -> Result<u64> {
        let mut first = self.dir.newest_request().await?.saturating_add(1);
        while first > 1
            && let Ok(Some(request)) = self.dir.request(first - 1).await
            && request.generation == generation
        {
            first -= 1;
        }
        Ok(first)
    }
}

impl Driver {
    /// Looks for requests, where this agent leads workers that understand them.
    pub(super) fn look_for_requests(&mut self) {
        if self.requests_looked.elapsed() < LOOK_EVERY || !self.facts.program.speaks {
            return;
        }
        let Some(generation) = self.machine.leads() else { return };
        // A look that takes long is waited for.
        let Ok(mut requests) = self.requests.clone().try_lock_owned() else { return };
        self.requests_looked = Instant::now();
        let done = self.done.clone();
        tokio::spawn(async move {
            match requests.look(generation).await {
                Ok(asked) => drop(done.send(Done::Asked(generation, asked))),
                Err(error) => tracing::debug!(%error, "can't look for requests, will try again"),
            }
        });
    }

    pub(super) fn on_asked(&mut self, generation: Generation, asked: Vec<(u64, RunRequest)>) {
        for (number, RunRequest { asked_by, wish, .. }) in asked {
            let by = asked_by.as_deref().unwrap_or("somebody");
            match wish {
                Wish::Trace { steps } => {
                    tracing::info!(number, steps, by, "asked for a trace");
                    self.on_trace_asked(generation, TraceOrder { number, steps });
                }
                Wish::Strike(strike) => self.on_strike_asked(generation, strike, by),
            }
        }
    }

    fn on_trace_asked(&self, generation: Generation, order: TraceOrder) {
        match self.machine.node_of(Rank(0)).filter(|_| self.machine.leads() == Some(generation)) {
            Some(node) if node == self.me() => self.trace(generation, order),
            Some(node) => self.to_member(node, LeaderMsg::Trace { generation, order }),
            // Whoever asked sees that the generation is over.
            None => {}
        }
    }

    /// Tells this node's rank 0.
    pub(super) fn trace(&self, generation: Generation, order: TraceOrder) {
        if self.workers.as_ref().is_some_and(|workers| workers.generation() == generation) {
            self.to_worker(Rank(0), AgentMsg::Trace(order));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use lockstep_storage_testing::Counting;

    const G: Generation = Generation(4);

    async fn ask(dir: &RunDir, generation: Generation) -> u64 {
        let wish = Wish::Trace { steps: 3 };
        dir.ask(&RunRequest { generation, asked_by: None, at: Timestamp::UNIX_EPOCH, wish }).await.unwrap()
    }

    async fn look(requests: &mut Requests, generation: Generation) -> Vec<u64> {
        requests.look(generation).await.unwrap().into_iter().map(|(number, _)| number).collect()
    }

    #[tokio::test]
    async fn each_request_is_served_once_by_the_generation_that_is_asked() {
        let store = Counting::default();
        let dir = RunDir::new(store.shared());
        for generation in [1, 1, 3, 4, 4].map(Generation) {
            ask(&dir, generation).await;
        }
        let mut requests = Requests::new(dir.clone());
        assert_eq!(look(&mut requests, G).await, [4, 5], "asked before this leader first looked");
        store.reset();
        assert_eq!(look(&mut requests, G).await, [0; 0]);
        assert_eq!(store.requests(), 1, "a look that finds nothing is one request");
        ask(&dir, Generation(3)).await;
        dir.storage().create("requests/0000000007.json", "{\"format\":99}".into()).await.unwrap();
        let mine = ask(&dir, G).await;
        assert_eq!(look(&mut requests, G).await, [mine], "what can't be read doesn't stand in the way");
        let next = ask(&dir, G.next()).await;
        assert_eq!(look(&mut requests, G.next()).await, [next], "a new generation begins with its own");
    }

    #[tokio::test]
    async fn many_requests_are_heard_in_several_looks() {
        let dir = RunDir::open("memory://").unwrap();
        for _ in 0..MOST_READS + 3 {
            ask(&dir, G).await;
        }
        let mut requests = Requests::new(dir);
        assert_eq!(look(&mut requests, G).await.len(), MOST_READS);
        assert_eq!(look(&mut requests, G).await, [9, 10, 11]);
    }
}
