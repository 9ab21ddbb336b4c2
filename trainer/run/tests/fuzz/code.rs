//! Packed folders: whatever the archive says, nothing happens outside the folder that it is unpacked to.

use crate::support::{corpus, current};
use lockstep_fuzzing::fuzz;
use lockstep_run::code::{pack, unpack};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tempfile::TempDir;

const BLOCK: usize = 512;
/// What the job says that its files have.
const MOST_BYTES: u64 = 64 << 10;

/// A folder in memory, where there are such.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A folder to unpack to, with one beside it that must stay as it is.
struct Sandbox(TempDir);

impl Sandbox {
    fn new() -> Self {
        let dir = scratch();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/file"), "before").unwrap();
        fs::set_permissions(dir.path().join("outside"), PermissionsExt::from_mode(0o750)).unwrap();
        Self(dir)
    }

    fn unpack(&self, archive: &[u8]) {
        let place = self.0.path().join("place");
        let unpacked = unpack(archive, &place, MOST_BYTES);
        let names = |folder: &Path| {
            let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(self.0.path()), ["outside", "place"]);
        let outside = self.0.path().join("outside");
        assert_eq!(names(&outside), ["file"]);
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "before");
        assert_eq!(fs::metadata(&outside).unwrap().permissions().mode() & 0o7777, 0o750);
        let held = size(&place);
        assert!(held <= MOST_BYTES, "{held} bytes");
        if unpacked.is_ok() && !ignores_something(&place) {
            again(&place);
        }
    }
}

/// Bytes of all files below a folder, of which all are files or links that only their owner may run as themselves.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let sizes = entries.map(|entry| {
        let about = entry.metadata().unwrap();
        assert!(about.is_dir() || about.is_file() || about.is_symlink(), "{entry:?}");
        assert!(about.is_symlink() || about.permissions().mode() & 0o7000 == 0, "{entry:?}");
        if about.is_dir() { size(&entry.path()) } else { about.len() }
    });
    sizes.sum()
}

/// Whether a file says that others stay behind.
fn ignores_something(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).any(|entry| {
        [".git", ".gitignore", ".lockstepignore"].iter().any(|name| entry.file_name() == *name)
            || entry.file_type().unwrap().is_dir() && ignores_something(&entry.path())
    })
}

/// Packed again it is unpacked to the same.
fn again(place: &Path) {
    let Ok(packed) = pack(place) else { return };
    let other = scratch();
    unpack(&packed.archive, &other.path().join("code"), packed.num_bytes).unwrap();
    let second = pack(&other.path().join("code")).unwrap();
    assert_eq!((second.digest, second.num_bytes), (packed.digest, packed.num_bytes));
}

/// A folder with all that there may be in one.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("train.py"), "print('a')\n").unwrap();
    fs::set_permissions(dir.path().join("train.py"), PermissionsExt::from_mode(0o755)).unwrap();
    fs::create_dir(dir.path().join("lib")).unwrap();
    fs::write(dir.path().join("lib").join("long-".repeat(30)), "m").unwrap();
    fs::write(dir.path().join("lib/empty"), "").unwrap();
    symlink("train.py", dir.path().join("main.py")).unwrap();
    symlink("../outside", dir.path().join("out")).unwrap();
    dir
}

#[test]
fn archives() {
    current("code", &[("current", pack(folder().path()).unwrap().archive.to_vec())]);
    let sandbox = Sandbox::new();
    fuzz("code", &corpus("code", &[]), |data| sandbox.unpack(data));
}

#[test]
fn contents_of_archives() {
    let packed = pack(folder().path()).unwrap().archive;
    current("tar", &[("current", zstd::decode_all(&*packed).unwrap())]);
    let sandbox = Sandbox::new();
    fuzz("tar", &corpus("tar", &[]), |data| {
        let mut tar = data.to_vec();
        repair(&mut tar);
        sandbox.unpack(&zstd::encode_all(&*tar, 1).unwrap());
    });
}

/// Gives each header the checksum that it needs to be believed.
fn repair(tar: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + BLOCK) {
        let octal = |bytes: &[u8]| {
            let digits = bytes.iter().filter(|b| (b'0'..b'8').contains(b));
            digits.fold(0_usize, |sum, digit| sum.saturating_mul(8).saturating_add(usize::from(digit - b'0')))
        };
        let size = octal(&header[124..136]);
        if header.iter().any(|byte| *byte != 0) {
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        at = at.saturating_add(BLOCK).saturating_add(size.saturating_add(BLOCK - 1) / BLOCK * BLOCK);
        if at > tar.len() {
            return;
        }
    }
}
