//! The folder of the workers' sockets: this user's alone, and short enough for the kernel.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The longest path of a socket that the kernel takes, without its end. Unit: bytes.
const LONGEST_PATH: usize = 107;
/// The longest name in the folder: a generation and a rank.
const LONGEST_NAME: usize = "/18446744073709551615-4294967295".len();
/// Where else there is room for sockets, where the folder for temporary files has too long a name.
const SHORT: [&str; 3] = ["/tmp", "/dev/shm", "/var/tmp"];

/// Makes a folder that only this user can enter, in the first of `preferred` and some places with short names that takes one.
///
/// # Errors
/// Where none does; the message names each place and what is wrong with it.
pub fn private_folder(preferred: Vec<PathBuf>) -> anyhow::Result<TempDir> {
    let mut problems = Vec::new();
    for place in preferred.into_iter().chain(SHORT.map(PathBuf::from)) {
        match make(&place) {
            Ok(folder) => return Ok(folder),
            Err(problem) => problems.push(format!("{}: {problem}", place.display())),
        }
    }
    anyhow::bail!("there is no place for the workers' sockets ({}); set TMPDIR to one", problems.join("; "))
}

fn make(place: &Path) -> Result<TempDir, String> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("lockstep-").rand_bytes(8).permissions(Permissions::from_mode(0o700));
    let longest = place.as_os_str().len() + "/lockstep-12345678".len() + LONGEST_NAME;
    if longest > LONGEST_PATH {
        return Err(format!("sockets would have paths of up to {longest} bytes, {LONGEST_PATH} are allowed"));
    }
    builder.tempdir_in(place).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_or_bad_place_is_passed_over_and_the_folder_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let long = parent.path().join("x".repeat(95));
        std::fs::create_dir(&long).unwrap();
        let folder = private_folder(vec![long, "/nowhere".into()]).unwrap();
        let mode = std::fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let socket = folder.path().join("18446744073709551615-4294967295");
        std::os::unix::net::UnixListener::bind(socket).unwrap();
    }
}
