use bytes::Bytes;
use lockstep_run::RunDir;
use lockstep_storage::Storage;
use std::path::Path;
use std::sync::Arc;

/// How a corpus is written anew.
pub(crate) const REFRESH: &str = "LOCKSTEP_REFRESH=1 cargo test -p lockstep-run --test fuzz";

/// Where the inputs of a target lie.
pub(crate) fn folder(target: &str) -> String {
    format!("{}/tests/corpus/{target}", std::env::var("CARGO_MANIFEST_DIR").unwrap())
}

/// The inputs of a target, and what lies in `fixtures` of a run of format 0.
pub(crate) fn corpus(target: &str, fixtures: &[&str]) -> Vec<Vec<u8>> {
    let mut inputs = lockstep_fuzzing::corpus(folder(target));
    let old = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../tests/fixtures/format-0");
    for fixture in fixtures.iter().map(|name| old.join(name)) {
        match fixture.is_dir() {
            true => inputs.extend(lockstep_fuzzing::corpus(fixture)),
            false => inputs.push(std::fs::read(fixture).unwrap()),
        }
    }
    inputs
}

/// Checks that the corpus holds what is written today.
pub(crate) fn current(target: &str, written: &[(&str, Vec<u8>)]) {
    lockstep_fuzzing::current(folder(target), written, REFRESH);
}

/// Runs calls from a plain test.
pub(crate) struct Waiter(tokio::runtime::Runtime);

impl Waiter {
    pub(crate) fn new() -> Self {
        Self(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap())
    }

    pub(crate) fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        self.0.block_on(call)
    }

    /// A run's folder in memory that holds one object.
    pub(crate) fn dir_with(&self, path: &str, data: &[u8]) -> RunDir {
        let storage: Arc<dyn Storage> = lockstep_storage::open("memory://").unwrap();
        self.wait(storage.put(path, Bytes::copy_from_slice(data))).unwrap();
        RunDir::new(storage)
    }
}
