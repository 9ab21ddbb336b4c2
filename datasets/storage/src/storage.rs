use std::{fmt::Debug, ops::Range};

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;

/// What a store knows about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Relative to the root of the storage.
    pub path: String,
    /// Size of the object.
    pub bytes: u64,
    /// Changes whenever the content does, where the store has such a thing; [`Storage::get_listed`] compares it.
    pub etag: Option<String>,
    /// As [`etag`](Self::etag), but kept by a copy where it can be: for files it is the time of the last change.
    pub version: Option<String>,
}

/// More than any record holds: what is read whole without its size being known beforehand is read up to here.
pub const RECORD_BYTES: u64 = 64 << 20;

/// Who made the object that a [`Storage::create`] asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The object holds exactly this caller's content.
    Ours,
    /// Somebody else was first; this is what they wrote.
    Theirs(Bytes),
}

/// Objects below one root.
///
/// # Contract
///
/// 1. **Atomic visibility.** A reader sees a whole object or none, also when the writer is killed halfway.
/// 2. **Durability.** When a write returns `Ok`, it survives a power cut.
/// 3. **Conditional create.** Of any number of racing [`create`](Storage::create) calls for one path exactly one
///    content wins, for ever; every other caller is told what won.
/// 4. **Read-back.** An unclear answer (timeout, 5xx, dropped connection, "already exists" to one's own retry) never
///    decides: `create` reads the object and compares it with its own content. Therefore the content must hold
///    something that is unique to its writer.
/// 5. **List after write.** [`list`](Storage::list) shows each object whose write returned before the list began.
/// 6. **Nothing is updated in place.** A path is created once, or put by the one writer whose name it carries; callers
///    never read-modify-write, except by [`replace`](Storage::replace), which a change by somebody else makes void.
/// 7. **Errors leave the outcome open.** After an error a write may be applied, now or later. Asking again is safe.
/// 8. **Every call is bounded** by [`Limits`](crate::Limits), retries included, and one that hangs in the system doesn't
///    keep its process from ending.
/// 9. **Sizes come first.** [`get_at_most`](Storage::get_at_most) and [`get_listed`](Storage::get_listed) compare the
///    size before they take memory for the content, and never take more.
/// 10. **Only plain objects are opened.** A FIFO, a socket or a device where a file is expected is
///     [`Error::NotAFile`](crate::Error), at once.
/// 11. **Others' files are passed over.** What file managers, editors and file systems leave (`.DS_Store`, `._x`, `.nfs1`,
///     `x~`, ...) is not listed, at any depth, and can't be written under such a name; nor are links that lead nowhere or in
///     circles.
///
/// Paths are relative, `/`-separated plain names (no empty name, `.`, `..`, backslash or control character); no path is
/// the folder of another one.
///
/// # Errors
/// Every call may end with [`BadPath`](crate::Error::BadPath), [`Denied`](crate::Error::Denied),
/// [`Untrusted`](crate::Error::Untrusted), [`Timeout`](crate::Error::Timeout) and
/// [`Unavailable`](crate::Error::Unavailable), and a write with [`NoSpace`](crate::Error::NoSpace). What a call adds to these is
/// said there.
#[async_trait]
pub trait Storage: Send + Sync + Debug + 'static {
    /// The full URI of a path; an empty path gives the root. For messages, and it can be opened again.
    fn uri(&self, path: &str) -> String;

    /// A whole object of whatever size. Where the size is known or has a bound, [`get_at_most`](Storage::get_at_most) and
    /// [`get_listed`](Storage::get_listed) keep a wrong object from filling the memory.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound), and [`NotAFile`](crate::Error::NotAFile) in a folder.
    async fn get(&self, path: &str) -> Result<Bytes> {
        self.get_at_most(path, u64::MAX).await
    }

    /// A whole object, unless it holds more than `max` bytes.
    ///
    /// # Errors
    /// As [`get`](Storage::get), and [`TooLarge`](crate::Error::TooLarge).
    async fn get_at_most(&self, path: &str, max: u64) -> Result<Bytes>;

    /// The very object that [`list`](Storage::list) or [`head`](Storage::head) told of.
    ///
    /// # Errors
    /// As [`get`](Storage::get), and [`Changed`](crate::Error::Changed) where size or etag are others by now.
    async fn get_listed(&self, listed: &Meta) -> Result<Bytes>;

    /// The bytes `range` of an object.
    ///
    /// # Errors
    /// As [`get`](Storage::get), and [`OutOfRange`](crate::Error::OutOfRange) for a range that isn't inside the object.
    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes>;

    /// Size, etag and version.
    ///
    /// # Errors
    /// As [`get`](Storage::get).
    async fn head(&self, path: &str) -> Result<Meta>;

    /// Creates an object unless the path exists; see 3 and 4 of the contract.
    ///
    /// # Errors
    /// Those of every write. That the path is taken is no error.
    async fn create(&self, path: &str, body: Bytes) -> Result<Created>;

    /// As [`create`](Storage::create), for a secret: on local files only the owner may read it.
    ///
    /// # Errors
    /// As [`create`](Storage::create).
    async fn create_secret(&self, path: &str, body: Bytes) -> Result<Created> {
        self.create(path, body).await
    }

    /// Writes an object whose path is unique to its writer (a data file), replacing an earlier try. In parts when it is large.
    ///
    /// # Errors
    /// Those of every write.
    async fn put(&self, path: &str, body: Bytes) -> Result<()>;

    /// Replaces the very object that `old` tells of; `false` where it is another by now, and nothing was done. Of racing
    /// calls with the same `old` at most one content wins, and its writers are told `true`.
    ///
    /// # Errors
    /// Those of every write. That the object is another by now, or gone, is no error.
    async fn replace(&self, old: &Meta, body: Bytes) -> Result<bool>;

    /// All objects below a folder (empty: the root), recursively, sorted by path. A folder that is not there is empty.
    ///
    /// # Errors
    /// Those of every call.
    async fn list(&self, folder: &str) -> Result<Vec<Meta>>;

    /// Names of the folders directly below a folder (empty: the root), sorted, without reading what is in them. Every
    /// folder with an object below it is named; one whose objects were all deleted may be.
    ///
    /// # Errors
    /// Those of every call.
    async fn folders(&self, folder: &str) -> Result<Vec<String>>;

    /// Removes an object; fine if it does not exist.
    ///
    /// # Errors
    /// Those of every call.
    async fn delete(&self, path: &str) -> Result<()>;
}
