use std::time::Duration;

use crate::file::Refusal;

/// What went wrong with one object. Every variant names the full URI.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such object.
    #[error("{uri} does not exist")]
    NotFound {
        /// The object.
        uri: String,
    },
    /// The store refuses this caller.
    #[error(
        "access to {uri} was denied: {reason}; check the credentials, or the owner and mode of the folder"
    )]
    Denied {
        /// The object.
        uri: String,
        /// What the store said.
        reason: String,
    },
    /// The store shows a certificate that no authority that this process trusts has signed.
    #[error(
        "the certificate of the store of {uri} is not trusted: {reason}; let SSL_CERT_FILE name a file with the certificate of its authority"
    )]
    Untrusted {
        /// The object.
        uri: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// No answer within the time that the call was given. A write may still be applied later.
    #[error(
        "{operation} of {uri} got no answer within {after:.1?}; check the network and the store's health"
    )]
    Timeout {
        /// The object.
        uri: String,
        /// `get`, `put`, ...
        operation: &'static str,
        /// The deadline that passed.
        after: Duration,
    },
    /// The disk or the quota is full.
    #[error("no space left to write {uri}: {reason}; free some space or choose another storage location")]
    NoSpace {
        /// The object.
        uri: String,
        /// What the system said.
        reason: String,
    },
    /// The store failed, after the retries that make sense. A write may have been applied.
    #[error("{operation} of {uri} failed: {reason}")]
    Unavailable {
        /// The object.
        uri: String,
        /// `get`, `put`, ...
        operation: &'static str,
        /// What the store said, all causes in one line.
        reason: String,
    },
    /// The location is not one that [`crate::open`] understands, or its settings are incomplete.
    #[error("cannot use {uri:?} as a storage location: {reason}")]
    BadUri {
        /// The location as given.
        uri: String,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// A path that could leave the root, or that not every store can hold.
    #[error("{path:?} is not a valid path below {uri}: {reason}")]
    BadPath {
        /// The root.
        uri: String,
        /// The path as given.
        path: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// Something else than a file lies where one is expected.
    #[error("{uri} is {what}, not a file; move it away, or give another path")]
    NotAFile {
        /// The object.
        uri: String,
        /// What it is, with its article.
        what: String,
    },
    /// An object holds more than it may.
    #[error("{uri} holds {bytes} bytes, where at most {max} are expected; it is damaged or another file")]
    TooLarge {
        /// The object.
        uri: String,
        /// Its size.
        bytes: u64,
        /// What the caller takes.
        max: u64,
    },
    /// An object is no longer the one that was listed.
    #[error("{uri} was changed or replaced after it was listed")]
    Changed {
        /// The object.
        uri: String,
    },
    /// A range that is not inside the object.
    #[error("bytes {start}..{end} of {uri} were asked for, but it holds {bytes}")]
    OutOfRange {
        /// The object.
        uri: String,
        /// First byte.
        start: u64,
        /// One past the last byte.
        end: u64,
        /// The object's size.
        bytes: u64,
    },
}

/// The result of every storage call.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the object is known not to exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the same call may well succeed a moment later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Unavailable { .. })
    }

    pub(crate) fn from_io(uri: String, operation: &'static str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        if let Some(told) = error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
            return told.clone().of(uri);
        }
        let reason = error.to_string();
        match error.kind() {
            // A write makes its folder: there it is the folder that can't be made, not the object that is missing.
            Kind::NotFound if !matches!(operation, "put" | "create") => Self::NotFound { uri },
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Self::Denied { uri, reason },
            Kind::StorageFull | Kind::QuotaExceeded => Self::NoSpace { uri, reason },
            // Time doesn't make a folder of a file.
            Kind::NotADirectory if matches!(operation, "put" | "create") => {
                let reason = format!("a file is where its folder should be ({reason}); name another place");
                Self::BadUri { uri, reason }
            }
            _ => Self::Unavailable { uri, operation, reason },
        }
    }

    pub(crate) fn from_object_store(
        uri: String,
        operation: &'static str,
        error: &object_store::Error,
    ) -> Self {
        use object_store::Error as Os;
        match error {
            Os::NotFound { .. } => Self::NotFound { uri },
            Os::PermissionDenied { .. } | Os::Unauthenticated { .. } => {
                Self::Denied { uri, reason: causes(error) }
            }
            _ => {
                let reason = causes(error);
                if REFUSALS.iter().any(|status| reason.contains(status)) {
                    return Self::Denied { uri, reason };
                }
                match reason.split_once(BAD_CERTIFICATE) {
                    Some((_, what)) => {
                        Self::Untrusted { uri, reason: what.trim_start_matches(": ").to_owned() }
                    }
                    None => Self::Unavailable { uri, operation, reason },
                }
            }
        }
    }
}

/// How object_store tells of an answer of which it makes no kind of error: it does so for objects, and not for lists.
const REFUSALS: [&str; 2] = ["status code: 401 ", "status code: 403 "];
/// How rustls begins what it says of a certificate; object_store has no kind of error for it.
const BAD_CERTIFICATE: &str = "invalid peer certificate";

/// All causes in one line; many errors repeat their source's text, which is then left out.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn system_errors_become_what_the_user_can_act_on() {
        let of = |errno, operation| {
            Error::from_io("/runs/x".into(), operation, &io::Error::from_raw_os_error(errno))
        };
        const ENOENT: i32 = 2;
        const EIO: i32 = 5;
        const EACCES: i32 = 13;
        const ENOTDIR: i32 = 20;
        const ENOSPC: i32 = 28;
        const EROFS: i32 = 30;
        const EDQUOT: i32 = 122;
        assert!(matches!(of(ENOSPC, "put"), Error::NoSpace { .. }));
        assert!(matches!(of(EDQUOT, "create"), Error::NoSpace { .. }));
        assert!(matches!(of(EACCES, "put"), Error::Denied { .. }));
        assert!(matches!(of(EROFS, "put"), Error::Denied { .. }));
        assert!(matches!(of(ENOENT, "get"), Error::NotFound { .. }));
        assert!(matches!(of(ENOENT, "put"), Error::Unavailable { .. }));
        assert!(matches!(of(ENOTDIR, "create"), Error::BadUri { .. }));
        assert!(matches!(of(EIO, "get"), Error::Unavailable { .. }));
    }

    #[test]
    fn what_a_store_says_of_keys_and_certificates_is_told_apart_from_its_failures() {
        let of = |text: &str| {
            let source = Box::new(io::Error::other(text.to_owned()));
            let error = object_store::Error::Generic { store: "S3", source };
            Error::from_object_store("s3://runs/x".into(), "list", &error)
        };
        let refused = "Server returned non-2xx status code: 403 Forbidden: <Code>InvalidAccessKeyId</Code>";
        assert!(matches!(of(refused), Error::Denied { .. }));
        assert!(of("Server returned non-2xx status code: 503 Service Unavailable: ").is_transient());
        let unknown = of("HTTP error: invalid peer certificate: UnknownIssuer");
        assert!(
            matches!(&unknown, Error::Untrusted { reason, .. } if reason == "UnknownIssuer"),
            "{unknown}"
        );
        assert!(unknown.to_string().contains("SSL_CERT_FILE"), "{unknown}");
    }

    #[test]
    fn causes_are_one_line_without_repetition() {
        let inner = io::Error::other("connection\n  refused");
        let outer = io::Error::other(inner);
        assert_eq!(causes(&outer), "connection refused");
    }
}
