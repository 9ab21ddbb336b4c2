//! The folder of the workers' sockets: this user's alone, and short enough for the kernel.

use lockstep_run::temporary::{self, Temporary};
use std::path::{Path, PathBuf};

/// The longest path of a socket that the kernel takes, without its end. Unit: bytes.
const LONGEST_PATH: usize = 107;
/// The longest name in the folder: a generation and a rank.
const LONGEST_NAME: usize = "/18446744073709551615-4294967295".len();

/// Makes a folder that only this user can enter, in the first of `places` that takes one.
///
/// # Errors
/// Where none does; the message names each place and what is wrong with it.
pub fn private_folder(places: Vec<PathBuf>) -> anyhow::Result<Temporary> {
    let mut problems = Vec::new();
    for place in places {
        match make(&place) {
            Ok(folder) => return Ok(folder),
            Err(problem) => problems.push(format!("{}: {problem}", place.display())),
        }
    }
    anyhow::bail!("there is no place for the workers' sockets ({}); set TMPDIR to one", problems.join("; "))
}

fn make(place: &Path) -> Result<Temporary, String> {
    let longest = place.as_os_str().len() + temporary::LONGER_BY + LONGEST_NAME;
    if longest > LONGEST_PATH {
        return Err(format!(
            "sockets there would have paths of up to {longest} bytes, but at most {LONGEST_PATH} are allowed"
        ));
    }
    Temporary::make(place).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_long_or_bad_place_is_passed_over_and_the_folder_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let long = parent.path().join("x".repeat(95));
        std::fs::create_dir(&long).unwrap();
        let folder = private_folder(vec![long, "/nowhere".into(), "/tmp".into()]).unwrap();
        let mode = std::fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let socket = folder.path().join("18446744073709551615-4294967295");
        std::os::unix::net::UnixListener::bind(socket).unwrap();
    }
}
