use super::propose::propose;
use super::{Done, Driver, StartError, setup};
use crate::machine::{Action, Event};
use crate::workers::{Contract, Workers};
use lockstep_run::link::{Failure, FailureKind, Start, WorkerOutcome};
use lockstep_run::{Body, Join, Membership, NodeId, Rank, RunDir};

impl Driver {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Look => {
                let (facts, done) = (self.facts.clone(), self.done.clone());
                tokio::spawn(async move {
                    let event = match look(&facts.dir, facts.job.nodes).await {
                        Ok((joins, newest)) => Event::Seen { joins, newest },
                        Err(e) => {
                            tracing::warn!(error = %e, "can't read the run's folder, will try again");
                            Event::Seen { joins: vec![], newest: None }
                        }
                    };
                    let _ = done.send(Done::Event(Box::new(event)));
                });
            }
            Action::Dial { node, incarnation, address } => {
                let (net, done) = (self.net.clone(), self.done.clone());
                tokio::spawn(async move {
                    let connection = net.dial(&address).await;
                    if let Err(e) = &connection {
                        tracing::debug!(%node, error = %e, "no answer");
                    }
                    let _ = done.send(Done::Dialed(node, incarnation, connection.ok()));
                });
            }
            Action::HangUp => self.leader = None,
            Action::ToLeader(msg) => self.to_leader(msg),
            Action::ToMember { node, msg } => self.to_member(node, msg),
            Action::StartWorkers(record) => self.start_workers(&record),
            Action::KillWorkers { gently } => {
                let (workers, done, facts) = (self.workers.take(), self.done.clone(), self.facts.clone());
                let grace = gently
                    .then(|| self.facts.job.recovery.grace.duration())
                    .filter(|_| !self.facts.program.speaks);
                tokio::spawn(async move {
                    if let Some(workers) = workers {
                        workers.end(grace).await;
                    }
                    let free_port = setup::free_port(&facts.args.host).ok();
                    let _ = done.send(Done::Event(Box::new(Event::WorkersGone { free_port })));
                });
            }
            Action::KillWorker(rank) => {
                if let Some(workers) = &self.workers {
                    workers.kill(rank);
                }
            }
            Action::ToWorkers(message) => {
                if let Some(workers) = &self.workers {
                    workers.send_all(&message);
                }
            }
            Action::Propose(proposal) => {
                let (facts, done) = (self.facts.clone(), self.done.clone());
                tokio::spawn(async move {
                    let event = match propose(&facts, proposal).await {
                        Ok(record) => Event::Proposed(Box::new(record)),
                        Err(e) => {
                            // Told to the user as what the run waits for.
                            tracing::debug!(error = %e, "can't commit a membership, will try again");
                            let (error, start) = (e.to_string(), StartError::from(e));
                            Event::ProposeFailed { error, for_good: matches!(start, StartError::Never(_)) }
                        }
                    };
                    let _ = done.send(Done::Event(Box::new(event)));
                });
            }
            Action::Note(note) => self.reporter.note(note),
            Action::Exit(code) => self.exit = Some(code),
        }
    }

    fn start_workers(&mut self, record: &Membership) {
        let Some(index) = record.members().iter().position(|m| m.node == self.me()) else { return };
        self.launch_restarts += u32::from(record.is_restart());
        let contracts = Contract::of_node(record, index, self.launch_restarts, &self.facts.job);
        let starts: Vec<_> = contracts.into_iter().map(|c| (self.start_of(record, &c), c)).collect();
        let ranks: Vec<_> = starts.iter().map(|(s, _)| s.rank).collect();
        let phase = self.facts.program.first_phase();
        self.live = super::setup::live(record.generation, phase);
        self.restarts += u32::from(record.is_restart());
        let of_rank_0 = ranks.contains(&Rank(0)).then_some(phase);
        self.reporter.started(record.generation, self.restarts, of_rank_0);
        match Workers::start(&self.facts.program, starts, self.sockets.path(), &self.heard) {
            Ok(workers) => self.workers = Some(workers),
            Err(e) => {
                let message = format!("{e:#}; is the path right, and may it be executed?");
                for rank in ranks {
                    let how = Ok(WorkerOutcome::Failed(Failure {
                        kind: FailureKind::Spec,
                        message: message.clone(),
                    }));
                    let event = Event::WorkerLeft { generation: record.generation, rank, how };
                    let _ = self.done.send(Done::Event(Box::new(event)));
                }
            }
        }
    }

    fn start_of(&self, record: &Membership, contract: &Contract) -> Start {
        let facts = &self.facts;
        let start_from = match &record.body {
            Body::Formed { start_from, .. } => start_from.clone(),
            Body::Ended { .. } => lockstep_run::StartFrom::Fresh,
        };
        Start {
            run_uid: record.run_uid.clone(),
            generation: record.generation,
            rank: contract.rank,
            world_size: contract.world_size,
            local_rank: contract.local_rank,
            local_world_size: contract.local_world_size,
            node: facts.writer.node,
            incarnation: facts.writer.incarnation,
            host: facts.args.host.clone(),
            run_dir: facts.args.run_dir.clone(),
            job: facts.job_json.to_string(),
            start_from,
            launched_at_unix_ms: facts.launched_at_unix_ms,
            scratch: facts.args.scratch.clone(),
        }
    }
}

async fn look(dir: &RunDir, num_nodes: u32) -> lockstep_run::Result<(Vec<Join>, Option<Membership>)> {
    let joins = (0..num_nodes).map(|node| dir.newest_join(NodeId(node)));
    let (joins, newest) =
        futures::future::join(futures::future::try_join_all(joins), dir.newest_membership()).await;
    Ok((joins?.into_iter().flatten().collect(), newest?))
}
