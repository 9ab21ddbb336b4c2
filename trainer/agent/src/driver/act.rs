use super::propose::propose;
use super::{Done, Driver, Facts, StartError, setup};
use crate::machine::{Action, Event, Mercy};
use crate::workers::{Contract, Kept, Workers};
use lockstep_run::control::Live;
use lockstep_run::link::{Failure, FailureKind, Gpus, Start, WorkerOutcome};
use lockstep_run::{Body, Code, Membership, Provenance, Rank};
use std::time::Instant;

impl Driver {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Look => {
                let (lookout, done) = (self.lookout.clone(), self.done.clone());
                tokio::spawn(async move {
                    let event = match lookout.lock().await.look().await {
                        Ok((joins, newest)) => Event::Seen { joins, newest: newest.map(Box::new) },
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
            Action::KillWorkers { mercy } => {
                self.gpus.stop(self.now());
                self.lost.get_or_insert_with(Instant::now);
                let (workers, done, facts) = (self.workers.take(), self.done.clone(), self.facts.clone());
                let kept = std::mem::take(&mut self.kept);
                let recovery = &facts.job.recovery;
                // Lockstep's own workers have nothing to save; a user's command may.
                let grace = (!facts.program.speaks).then(|| match mercy {
                    Mercy::Keep | Mercy::Revoke => recovery.revoke.duration(),
                    Mercy::Grace => recovery.grace.duration(),
                });
                let keeps = mercy == Mercy::Keep && facts.program.speaks;
                let patience = recovery.revoke.duration();
                tokio::spawn(async move {
                    let kept = match workers {
                        Some(workers) if keeps => workers.revoke(patience).await,
                        Some(workers) => {
                            drop(kept);
                            workers.end(grace).await;
                            Kept::default()
                        }
                        None if keeps => kept,
                        None => Kept::default(),
                    };
                    let ranks = kept.ranks();
                    let _ = done.send(Done::Revoked(kept));
                    let free_port = setup::free_port(&facts.args.host).ok();
                    let _ = done.send(Done::Event(Box::new(Event::WorkersGone { free_port, kept: ranks })));
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
                let (facts, done, reporter) = (self.facts.clone(), self.done.clone(), self.reporter.clone());
                let counted = self.gpus.counted(self.now());
                tokio::spawn(async move {
                    let event = match propose(&facts, proposal, counted).await {
                        Ok(record) => {
                            if record.writer == facts.writer {
                                reporter.tidy(record.members());
                            }
                            Event::Proposed(Box::new(record))
                        }
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
        let contracts = Contract::of_node(record, index, &self.facts.job);
        let starts: Vec<_> = contracts.into_iter().map(|c| (self.start_of(record, &c), c)).collect();
        let ranks: Vec<_> = starts.iter().map(|(s, _)| s.rank).collect();
        let phase = self.facts.program.first_phase();
        self.live = Live { generation: record.generation, phase, ..Live::default() };
        self.restarts = record.restarts.unwrap_or(self.restarts);
        self.survivors = record.survivors;
        self.recovering =
            matches!(record.body, Body::Formed { restart: true, .. }).then_some(record.generation);
        let of_rank_0 = ranks.contains(&Rank(0)).then_some(phase);
        self.reporter.started(record.generation, self.restarts, of_rank_0);
        self.begin_gpus(record);
        let sockets = self.sockets.path();
        let kept = std::mem::take(&mut self.kept);
        match Workers::start(&self.facts.program, starts, kept, sockets, &self.heard, &self.reporter) {
            Ok(workers) => self.workers = Some(workers),
            // What is started is this agent's own program, so it is the machine that lacks something: descriptors, memory,
            // processes. That may be over in a moment.
            Err(e) => {
                let message = format!("{e:#}");
                for rank in ranks {
                    let how = Ok(WorkerOutcome::Failed(Failure {
                        kind: FailureKind::Bug,
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
            gpus: Gpus { promised: facts.args.gpus, first: facts.args.first_gpu },
            launched_at_unix_ms: facts.launched_at_unix_ms,
            scratch: facts.args.scratch.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            provenance: provenance(facts),
        }
    }
}

/// What this node knows of where a checkpoint is from.
fn provenance(facts: &Facts) -> Provenance {
    let (args, job) = (&facts.args, &facts.job);
    let code = Code {
        digest: job.code.as_ref().map(|code| code.digest.clone()),
        git_commit: args.git_commit.clone(),
        git_dirty: args.git_dirty,
    };
    Provenance {
        launch: Some(args.launch.clone()),
        launched_by: args.launched_by.clone(),
        code: (code != Code::default()).then_some(code),
        image: job.kubernetes.as_ref().map(|kubernetes| kubernetes.image.clone()),
        ..Provenance::default()
    }
}
