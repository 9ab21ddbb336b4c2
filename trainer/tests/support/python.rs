//! Scripts that run in an environment with PyTorch, which is made where it is missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a script of `trainer/tests` prints.
pub fn run(script: &str, folder: &Path) -> Vec<u8> {
    let script = here().join("tests").join(script);
    let mut command = Command::new(interpreter());
    command.arg(script).arg(folder).env("OMP_NUM_THREADS", "1");
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "the script failed, see above");
    output.stdout
}

/// Whether a module can be imported. An environment of the user's own may lack what only some tests need; then this says so.
pub fn has(module: &str) -> bool {
    let import =
        format!("import importlib.util, sys; sys.exit(importlib.util.find_spec({module:?}) is None)");
    let found = Command::new(interpreter()).args(["-c", &import]).status().unwrap().success();
    if !found {
        eprintln!(
            "NOT TESTED: the Python of LOCKSTEP_PYTHON has no {module}; install it, or unset LOCKSTEP_PYTHON"
        );
    }
    found
}

fn interpreter() -> String {
    let script = here().join("../tests/scripts/pytorch-venv.sh");
    let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "see above");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn here() -> PathBuf {
    std::env::var("CARGO_MANIFEST_DIR").unwrap().into()
}
