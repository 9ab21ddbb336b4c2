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

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use lockstep_run::RunUid;
    use lockstep_storage_testing::Counting;

    const NODES: u32 = 1000;

    async fn join(dir: &RunDir, node: NodeId) {
        let record = |incarnation| Join {
            run_uid: RunUid("run".to_owned()),
            node,
            incarnation,
            address: format!("10.0.0.1:{}", node.0),
            num_ranks: 1,
            pid: 1,
            nonce: 1,
            at: Timestamp::UNIX_EPOCH,
        };
        dir.join(node, record).await.unwrap();
    }

    #[tokio::test]
    async fn a_look_is_a_few_requests_among_a_thousand_nodes() {
        let store = Counting::default();
        let dir = RunDir::new(store.shared());
        for node in (0..NODES).map(NodeId) {
            // Two lives, of which the list tells as well.
            join(&dir, node).await;
            join(&dir, node).await;
        }
        // The next membership, two pages of the list, and new records.
        let (asks, mut read) = (1 + 2, 0);
        let mut lookout = Lookout::new(dir.clone(), NodeId(NODES - 1));
        while read < NODES as usize {
            store.reset();
            let (joins, _) = lookout.look().await.unwrap();
            assert!(store.requests() <= asks + MOST_READS, "{} requests", store.requests());
            assert_eq!(joins.len(), read + MOST_READS, "the lowest come first, and none is read twice");
            assert!(joins.iter().enumerate().all(|(i, join)| join.node == NodeId(i as u32)));
            read = joins.len();
        }
        store.reset();
        lookout.look().await.unwrap();
        assert_eq!(store.requests(), asks, "what is known isn't read again");
        join(&dir, NodeId(7)).await;
        store.reset();
        let (joins, _) = lookout.look().await.unwrap();
        assert_eq!((joins[7].incarnation, store.requests()), (Incarnation(3), asks + 1));
        let mut low = Lookout::new(dir, NodeId(1));
        assert_eq!(low.look().await.unwrap().0.len(), 2, "those above can't lead this one");
    }
}
