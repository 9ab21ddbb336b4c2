use crate::layout;
use crate::{Error, Generation, Incarnation, Join, Membership, NodeId, Result, RunRecord, RunUid};
use bytes::Bytes;
use lockstep_storage::{Created, Storage};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A run's folder: the one caller of the object store for its records.
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
    pub async fn run(&self) -> Result<Option<RunRecord>> {
        self.read(layout::RUN, "run record").await
    }

    /// Writes `run.json` unless somebody did; returns the one that holds.
    pub async fn run_or_create(&self, ours: RunRecord) -> Result<RunRecord> {
        let body = to_json(layout::RUN, &ours)?;
        match self.0.create(layout::RUN, body).await? {
            Created::Ours => Ok(ours),
            Created::Theirs(body) => self.parse(layout::RUN, "run record", &body),
        }
    }

    /// Reads the control key, making it first where nobody did.
    pub async fn key_or_create(&self) -> Result<ControlKey> {
        let ours = ControlKey::random();
        match self.0.create_secret(layout::CONTROL_KEY, Bytes::copy_from_slice(&ours.0)).await? {
            Created::Ours => Ok(ours),
            Created::Theirs(body) => self.parse_key(&body),
        }
    }

    /// Reads the control key.
    pub async fn key(&self) -> Result<ControlKey> {
        self.parse_key(&self.0.get(layout::CONTROL_KEY).await?)
    }

    fn parse_key(&self, body: &[u8]) -> Result<ControlKey> {
        let bad = |_| Error::BadRecord {
            uri: self.uri(layout::CONTROL_KEY),
            what: "control key",
            reason: format!("it has {} bytes instead of 32", body.len()),
        };
        body.try_into().map(ControlKey).map_err(bad)
    }

    /// Writes a join record as the node's next incarnation. `make` fills in the record for a given incarnation.
    pub async fn join(&self, node: NodeId, make: impl Fn(Incarnation) -> Join) -> Result<Join> {
        let taken = self.0.list(&layout::node(node)).await?;
        let newest = taken.iter().filter_map(|m| layout::parse_number(&m.path)).max().unwrap_or(0);
        let mut incarnation = Incarnation(newest as u32 + 1);
        loop {
            let join = make(incarnation);
            let path = layout::join(node, incarnation);
            match self.0.create(&path, to_json(&path, &join)?).await? {
                Created::Ours => return Ok(join),
                Created::Theirs(_) => incarnation = incarnation.next(),
            }
        }
    }

    /// The newest join record of a node.
    pub async fn newest_join(&self, node: NodeId) -> Result<Option<Join>> {
        let records = self.0.list(&layout::node(node)).await?;
        match records.last() {
            Some(meta) => self.read(&meta.path, "join record").await,
            None => Ok(None),
        }
    }

    /// All membership records by generation.
    pub async fn memberships(&self) -> Result<BTreeMap<Generation, Membership>> {
        let mut all = BTreeMap::new();
        for meta in self.0.list(layout::MEMBERSHIP).await? {
            let record: Membership =
                self.parse(&meta.path, "membership record", &self.0.get(&meta.path).await?)?;
            all.insert(record.generation, record);
        }
        Ok(all)
    }

    /// The number of the newest generation; 0 before the first.
    pub async fn newest_generation(&self) -> Result<Generation> {
        let records = self.0.list(layout::MEMBERSHIP).await?;
        Ok(Generation(records.iter().filter_map(|m| layout::parse_number(&m.path)).max().unwrap_or(0)))
    }

    /// The newest membership record.
    pub async fn newest_membership(&self) -> Result<Option<Membership>> {
        match self.newest_generation().await? {
            Generation(0) => Ok(None),
            generation => self.membership(generation).await,
        }
    }

    /// One membership record.
    pub async fn membership(&self, generation: Generation) -> Result<Option<Membership>> {
        self.read(&layout::membership(generation), "membership record").await
    }

    /// Proposes a generation: the record that holds afterwards is returned, ours or another's.
    ///
    /// Of any number of racing proposers exactly one wins; an unclear answer of the store was read back before this returns.
    pub async fn propose(&self, ours: Membership) -> Result<Membership> {
        let path = layout::membership(ours.generation);
        match self.0.create(&path, to_json(&path, &ours)?).await? {
            Created::Ours => Ok(ours),
            Created::Theirs(body) => self.parse(&path, "membership record", &body),
        }
    }

    /// True where `run_uid` is the run that lives here.
    pub async fn is_run(&self, run_uid: &RunUid) -> Result<bool> {
        Ok(self.run().await?.is_some_and(|r| r.run_uid == *run_uid))
    }

    async fn read<T: DeserializeOwned>(&self, path: &str, what: &'static str) -> Result<Option<T>> {
        match self.0.get(path).await {
            Ok(body) => self.parse(path, what, &body).map(Some),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    pub(crate) fn parse<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &'static str,
        body: &[u8],
    ) -> Result<T> {
        serde_json::from_slice(body).map_err(|e| Error::BadRecord {
            uri: self.uri(path),
            what,
            reason: e.to_string(),
        })
    }
}

fn to_json<T: serde::Serialize>(path: &str, record: &T) -> Result<Bytes> {
    serde_json::to_vec_pretty(record).map(Bytes::from).map_err(|e| Error::BadRecord {
        uri: path.to_owned(),
        what: "record",
        reason: e.to_string(),
    })
}
