use futures::future::try_join_all;
use lockstep_run::{Generation, Incarnation, Join, Membership, NodeId, Result, RunDir};
use std::collections::BTreeMap;

/// Join records that one look reads at most; who waits longer reads more of them.
const MOST_READS: usize = 8;

/// What an agent that looks for a leader knows of the run's folder. Records never change, so each is read once; only nodes
/// below this one and itself can lead it, so the others' aren't read at all.
#[derive(Debug)]
pub(super) struct Lookout {
    dir: RunDir,
    me: NodeId,
    known: Generation,
    newest: Option<Membership>,
    joins: BTreeMap<NodeId, Join>,
}

impl Lookout {
    pub(super) fn new(dir: RunDir, me: NodeId) -> Self {
        Self { dir, me, known: Generation(0), newest: None, joins: BTreeMap::new() }
    }

    /// The newest join records of the nodes that may lead, as far as they were read, and the newest membership.
    ///
    /// Asks for the list of join records, for the next generation, and for what is new of both.
    pub(super) async fn look(&mut self) -> Result<(Vec<Join>, Option<Membership>)> {
        if let Some(newer) = self.dir.newest_since(self.known).await? {
            self.known = newer.generation;
            self.newest = Some(newer);
        }
        let lives = self.dir.newest_lives().await?;
        let lives: Vec<_> = lives.into_iter().filter(|(node, _)| *node <= self.me).collect();
        let is_read = |(node, life): &(NodeId, Incarnation)| {
            self.joins.get(node).is_some_and(|join| join.incarnation == *life)
        };
        let unread = lives.iter().filter(|life| !is_read(life)).take(MOST_READS);
        let read = unread.map(|(node, life)| self.dir.join_record(*node, *life));
        let read: Vec<Option<Join>> = try_join_all(read).await?;
        self.joins.extend(read.into_iter().flatten().map(|join| (join.node, join)));
        let current = |(node, life): &(NodeId, Incarnation)| {
            self.joins.get(node).filter(|join| join.incarnation == *life).cloned()
        };
        Ok((lives.iter().filter_map(current).collect(), self.newest.clone()))
    }
}
