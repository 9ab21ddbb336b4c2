use crate::layout;
use crate::record::format::{from_json, to_json};
use crate::{
    Body, Error, Generation, Incarnation, Join, Launch, Membership, NodeId, Result, RunRecord, RunUid,
};
use bytes::Bytes;
use lockstep_storage::{Created, Storage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A run's folder: the one caller of the object store for its records.
///
/// # Errors
/// A call that reads records ends with [`Error::Storage`], with
/// [`Error::BadRecord`] for one that can't be parsed, and with
/// [`Error::Format`] for one that a newer version wrote. That is "those of a read" below.
#[derive(Clone)]
pub struct RunDir(Arc<dyn Storage>);

impl fmt::Debug for RunDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.uri(""))
    }
}

/// Keys the run's control channel. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ControlKey(pub(crate) [u8; 32]);

impl fmt::Debug for ControlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ControlKey(…)")
    }
}

impl ControlKey {
    /// A new random key.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl RunDir {
    /// Opens the folder at `uri`; nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Storage`] where the URI names no storage.
    pub fn open(uri: &str) -> Result<Self> {
        Ok(Self(lockstep_storage::open(uri)?))
    }

    /// A run's folder in storage that is open already.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self(storage)
    }

    /// The storage below, for files that aren't records.
    pub fn storage(&self) -> &dyn Storage {
        self.0.as_ref()
    }

    /// Full URI of a path of the run, for messages.
    pub fn uri(&self, path: &str) -> String {
        self.0.uri(path)
    }

    /// Reads `run.json`; `None` where the run was never started.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn run(&self) -> Result<Option<RunRecord>> {
        self.read(layout::RUN, RUN_RECORD).await
    }

    /// Writes `run.json` unless somebody did; returns the one that holds.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`]. That somebody was first is none.
    pub async fn run_or_create(&self, ours: RunRecord) -> Result<RunRecord> {
        self.create(layout::RUN, RUN_RECORD, ours).await
    }

    /// Reads the control key, making it first where nobody did.
    ///
    /// # Errors
    /// As [`key`](Self::key).
    pub async fn key_or_create(&self) -> Result<ControlKey> {
        let ours = ControlKey::random();
        match self.0.create_secret(layout::CONTROL_KEY, Bytes::copy_from_slice(&ours.0)).await? {
            Created::Ours => Ok(ours),
            Created::Theirs(body) => self.parse_key(&body),
        }
    }

    /// Reads the control key.
    ///
    /// # Errors
    /// [`Error::Storage`], also where there is no key, and [`Error::BadRecord`] where it isn't one.
    pub async fn key(&self) -> Result<ControlKey> {
        self.parse_key(&self.0.get_at_most(layout::CONTROL_KEY, MAX_RECORD_BYTES).await?)
    }

    fn parse_key(&self, body: &[u8]) -> Result<ControlKey> {
        let bad = |_| Error::BadRecord {
            uri: self.uri(layout::CONTROL_KEY),
            what: "control key",
            reason: format!("it has {} bytes instead of 32", body.len()),
        };
        body.try_into().map(ControlKey).map_err(bad)
    }

    /// Reads what is known of a launch since its first step; `None` before that.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn launch(&self, name: &str) -> Result<Option<Launch>> {
        self.read(&layout::launch(name), "launch record").await
    }

    /// Records that a launch has done its first step, unless somebody did; returns the record that holds.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`]. That somebody was first is none.
    pub async fn launch_or_create(&self, ours: Launch) -> Result<Launch> {
        self.create(&layout::launch(&ours.launch), "launch record", ours).await
    }

    /// Writes a join record as the node's next incarnation, and deletes those of lives before the last: they are found
    /// one by one, so what they cost must not grow. `make` fills in the record for a given incarnation.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`]. [`Error::NoMoreLives`] after the highest number.
    pub async fn join(&self, node: NodeId, make: impl Fn(Incarnation) -> Join) -> Result<Join> {
        let mut lives = self.lives(&layout::node(node)).await?;
        loop {
            let newest = lives.last().map_or(Incarnation(0), |(_, incarnation)| *incarnation);
            if newest.next() == newest {
                return Err(Error::NoMoreLives { uri: self.uri(&layout::node(node)), last: newest.0.into() });
            }
            let join = make(newest.next());
            let path = layout::join(node, join.incarnation);
            let created = self.0.create(&path, to_json(&path, JOIN_RECORD, &join)?).await?;
            lives = self.lives(&layout::node(node)).await?;
            // Somebody else may have been faster by more than one life, and has deleted the record of this number since.
            let is_newest = lives.last().is_some_and(|(_, newest)| *newest == join.incarnation);
            if created == Created::Ours && is_newest {
                let keep = lives.len().saturating_sub(2);
                for (node, incarnation) in &lives[..keep] {
                    self.0.delete(&layout::join(*node, *incarnation)).await?;
                }
                return Ok(join);
            }
        }
    }

    /// The newest life of every node that has joined, in one request for each thousand records.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn newest_lives(&self) -> Result<BTreeMap<NodeId, Incarnation>> {
        // In order, so the newest of each node stays.
        Ok(self.lives(layout::NODES).await?.into_iter().collect())
    }

    /// The lives that have a join record below a folder, in order.
    async fn lives(&self, folder: &str) -> Result<Vec<(NodeId, Incarnation)>> {
        let records = self.0.list(folder).await?;
        let mut lives: Vec<_> = records.iter().filter_map(|meta| layout::parse_join(&meta.path)).collect();
        lives.sort_unstable();
        Ok(lives)
    }

    /// One join record; it never changes.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn join_record(&self, node: NodeId, incarnation: Incarnation) -> Result<Option<Join>> {
        self.read(&layout::join(node, incarnation), JOIN_RECORD).await
    }

    /// The newest join record of a node.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn newest_join(&self, node: NodeId) -> Result<Option<Join>> {
        match self.lives(&layout::node(node)).await?.last() {
            Some((node, incarnation)) => self.join_record(*node, *incarnation).await,
            None => Ok(None),
        }
    }

    /// The number of the newest generation; 0 before the first.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn newest_generation(&self) -> Result<Generation> {
        self.last_generation(Generation(0)).await
    }

    /// The newest membership record.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn newest_membership(&self) -> Result<Option<Membership>> {
        self.newest_since(Generation(0)).await
    }

    /// The newest membership record, if it is newer than generation `known`.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn newest_since(&self, known: Generation) -> Result<Option<Membership>> {
        match self.last_generation(known).await? {
            last if last == known => Ok(None),
            last => self.membership(last).await,
        }
    }

    /// The newest generation, `known` or a later one. Generations have no gaps, so it is found in twice as many requests as
    /// the number of those since has binary digits.
    async fn last_generation(&self, known: Generation) -> Result<Generation> {
        self.last_number(known.0, |number| layout::membership(Generation(number))).await.map(Generation)
    }

    /// The last number of records that have no gaps, `known` or a later one.
    pub(crate) async fn last_number(&self, known: u64, path: impl Fn(u64) -> String) -> Result<u64> {
        let (mut there, mut stride) = (known, 1u64);
        while self.has(&path(there.saturating_add(stride))).await? {
            there = there.saturating_add(stride);
            stride = stride.saturating_mul(2);
        }
        // The last one lies in `there..there + stride`.
        while stride > 1 {
            stride /= 2;
            if self.has(&path(there.saturating_add(stride))).await? {
                there = there.saturating_add(stride);
            }
        }
        Ok(there)
    }

    async fn has(&self, path: &str) -> Result<bool> {
        match self.0.head(path).await {
            Ok(_) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// The newest record of a generation that was formed, at or before `newest`.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn last_formed(&self, newest: Membership) -> Result<Option<Membership>> {
        let mut at = newest;
        while let Body::Ended { previous, .. } = at.body {
            match self.membership(previous).await? {
                // Of two ends in a row the later one names the earlier.
                Some(before) if before.generation < at.generation => at = before,
                _ => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// How often a fault has made a new generation, up to a record.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn restarts(&self, newest: &Membership) -> Result<u32> {
        if let Some(restarts) = newest.restarts {
            return Ok(restarts);
        }
        // A record of format 0 doesn't tell; neither do those before it.
        let mut restarts = 0;
        for number in 1..=newest.generation.0 {
            let record = self.membership(Generation(number)).await?;
            restarts += u32::from(record.is_some_and(|record| record.is_restart()));
        }
        Ok(restarts)
    }

    /// One membership record.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn membership(&self, generation: Generation) -> Result<Option<Membership>> {
        let path = layout::membership(generation);
        let record: Option<Membership> = self.read(&path, MEMBERSHIP_RECORD).await?;
        match record {
            Some(record) if record.generation != generation => {
                let reason = format!("it says that it belongs to generation {}", record.generation);
                Err(Error::BadRecord { uri: self.uri(&path), what: MEMBERSHIP_RECORD, reason })
            }
            record => Ok(record),
        }
    }

    /// Proposes a generation: the record that holds afterwards is returned, ours or another's.
    ///
    /// Of any number of racing proposers exactly one wins; an unclear answer of the store was read back before this returns.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`]. That somebody else's record holds is none.
    pub async fn propose(&self, ours: Membership) -> Result<Membership> {
        self.create(&layout::membership(ours.generation), MEMBERSHIP_RECORD, ours).await
    }

    /// True where `run_uid` is the run that lives here.
    ///
    /// # Errors
    /// Those of a read, see [`RunDir`].
    pub async fn is_run(&self, run_uid: &RunUid) -> Result<bool> {
        Ok(self.run().await?.is_some_and(|r| r.run_uid == *run_uid))
    }

    async fn create<T: Serialize + DeserializeOwned>(
        &self,
        path: &str,
        what: &'static str,
        ours: T,
    ) -> Result<T> {
        match self.0.create(path, to_json(path, what, &ours)?).await? {
            Created::Ours => Ok(ours),
            Created::Theirs(body) => from_json(&self.uri(path), what, &body),
        }
    }

    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &'static str,
    ) -> Result<Option<T>> {
        match self.0.get_at_most(path, MAX_RECORD_BYTES).await {
            Ok(body) => from_json(&self.uri(path), what, &body).map(Some),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// No record comes near; it bounds what a file in its place can make a process read.
pub(crate) const MAX_RECORD_BYTES: u64 = 64 << 20;

const RUN_RECORD: &str = "run record";
const JOIN_RECORD: &str = "join record";
const MEMBERSHIP_RECORD: &str = "membership record";
