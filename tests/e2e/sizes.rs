//! What users and images get is small enough to be fetched in a moment.

use lockstep_e2e::{binary, repository};
use std::process::Command;

/// Somewhat above what they are. Raise one only with the reason in the commit.
const AT_MOST: [(&str, u64); 4] = [
    ("lockstep", 47 << 20),
    ("lockstep-agent", 18 << 20),
    ("lockstep-gpu", 3 << 20),
    ("lockstep-worker", 22 << 20),
];

#[test]
fn stripped_programs_keep_their_size_and_have_their_debug_data_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let strip = repository().join("trainer/image/strip.sh");
    let programs = AT_MOST.map(|(name, _)| binary(name));
    assert!(Command::new(strip).arg(folder.path()).args(programs).status().unwrap().success());
    for (name, most) in AT_MOST {
        let program = folder.path().join(name);
        let bytes = program.metadata().unwrap().len();
        println!("{name}: {bytes} bytes");
        assert!(bytes <= most, "{name} has {bytes} bytes, and at most {most} are meant");
        let debug = folder.path().join(format!("{name}.debug"));
        assert!(debug.metadata().unwrap().len() > bytes, "{name}'s debug data is not beside it");
        assert!(
            Command::new(program).arg("--version").output().unwrap().status.success(),
            "{name} doesn't run"
        );
    }
}
