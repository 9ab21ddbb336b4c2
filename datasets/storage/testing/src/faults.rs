use std::sync::{Arc, Mutex};

/// The calls that a fault can be bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// GetObject.
    Get,
    /// HeadObject.
    Head,
    /// PutObject.
    Put,
    /// Any call of a multipart upload.
    Multipart,
    /// ListObjectsV2.
    List,
    /// DeleteObject and DeleteObjects.
    Delete,
}

/// One way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 503, nothing done.
    Unavailable,
    /// 403, nothing done.
    Denied,
    /// Done, but answered with 503.
    AppliedThenUnavailable,
    /// Done, and the connection dropped without an answer.
    AppliedThenDropped,
    /// The connection drops after this many bytes of the answer's body.
    ResetAfter(usize),
    /// A well-formed answer whose body ends after this many bytes.
    Truncated(usize),
    /// This many bytes of the body, and then silence.
    Stalled(usize),
    /// One bit of this byte of the answer's body is flipped.
    BitFlip(usize),
    /// One bit of this byte of the upload is flipped before the server verifies it.
    UploadBitFlip(usize),
    /// Never an answer.
    Silent,
    /// The conditions of a write are not looked at, as by servers that don't know them. On Google's protocol only.
    Unconditional,
}

#[derive(Debug)]
struct Rule {
    call: Call,
    key: String,
    fault: Fault,
    left: usize,
}

/// The faults that a server is about to show, shared with its test.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Rule>>>);

impl Faults {
    /// The next `times` such calls on keys that contain `key` show `fault`.
    pub fn add(&self, call: Call, key: &str, fault: Fault, times: usize) {
        let rule = Rule { call, key: key.to_owned(), fault, left: times };
        self.0.lock().unwrap().push(rule);
    }

    /// How many faults were asked for and not shown yet.
    pub fn left(&self) -> usize {
        self.0.lock().unwrap().iter().map(|rule| rule.left).sum()
    }

    /// Takes back what was not shown yet.
    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    pub(crate) fn take(&self, call: Call, key: &str) -> Option<Fault> {
        let mut rules = self.0.lock().unwrap();
        let hit =
            rules.iter_mut().find(|rule| rule.left > 0 && rule.call == call && key.contains(&rule.key))?;
        hit.left -= 1;
        Some(hit.fault)
    }
}
