use crate::environment;
use rustix::fs::{Mode, OFlags};
use rustix::process::geteuid;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Name of the lock in a run's folder. It is no record, and whoever lists, copies or cleans up passes it over.
const NAME: &str = "launcher.lock";

/// A file that may be the lock of a run. The folder above it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place(pub(super) PathBuf);

impl Place {
    /// Where the lock of a run may be, the best place first: in its folder, or else, for buckets and for file systems that
    /// refuse locks, in a folder of this user alone. Neither depends on how the folder was named, or on TMPDIR.
    pub(super) fn all(uri: &str) -> impl Iterator<Item = Result<Self, String>> {
        let folder = (!uri.contains("://")).then(|| PathBuf::from(uri));
        let real = folder.as_deref().map(|folder| {
            std::fs::create_dir_all(folder)
                .and_then(|()| folder.canonicalize())
                .map_err(|error| error.to_string())
        });
        let in_folder = real.clone().map(|real| Ok(Self(real?.join(NAME))));
        let key = match real {
            Some(real) => real.ok().map(|path| path.to_string_lossy().into_owned()),
            // The same URI at another endpoint is another run.
            None => Some(format!("{}\n{uri}", environment::storage_endpoint(uri).unwrap_or_default())),
        };
        let private = key.map(|key| {
            let name = blake3::hash(key.trim_end_matches('/').as_bytes()).to_hex();
            Ok(Self(private()?.join(format!("{name}.lock"))))
        });
        in_folder.into_iter().chain(private)
    }
}

/// A folder that only this user can look into, the same for all that this user starts.
fn private() -> Result<PathBuf, String> {
    let user = geteuid().as_raw();
    let of_session =
        environment::runtime_folder().into_iter().chain([PathBuf::from(format!("/run/user/{user}"))]);
    let mut refusals = Vec::new();
    for folder in of_session {
        match check(&folder).and_then(|()| make(&folder.join("lockstep"))) {
            Ok(folder) => return Ok(folder),
            Err(refusal) => refusals.push(refusal),
        }
    }
    // Anybody may have made it first: then it is not used.
    make(Path::new(&format!("/tmp/lockstep-{user}"))).map_err(|refusal| {
        refusals.push(refusal);
        refusals.join("; ")
    })
}

/// Makes a folder of this user alone, or checks that the one there is.
pub(super) fn make(folder: &Path) -> Result<PathBuf, String> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(format!("can't make {}: {error}", folder.display())),
    }
    check(folder).map(|()| folder.to_owned())
}

/// Whether a folder is no link, this user's, and closed to all others.
fn check(folder: &Path) -> Result<(), String> {
    let refuse = |why: &str| format!("{} {why}", folder.display());
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(folder, flags, Mode::empty())
        .map_err(|error| refuse(&format!("is not usable: {error}")))?;
    let found = std::fs::File::from(opened).metadata().map_err(|error| refuse(&error.to_string()))?;
    match (found.uid() == geteuid().as_raw(), found.mode() & 0o077) {
        (true, 0) => Ok(()),
        (false, _) => Err(refuse("belongs to somebody else")),
        (true, _) => Err(refuse("is open to others; chmod 0700 closes it")),
    }
}
