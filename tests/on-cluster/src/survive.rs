//! Whatever happens, a run ends with the same bytes as an undisturbed one.

use crate::Space;
use lockstep_e2e::Launched;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Steps of a run that is disturbed: enough for the trouble to come in the middle of it.
pub const STEPS: u32 = 12_000;
/// The step whose checkpoint is waited for before the trouble begins.
const AFTER: &str = "checkpoint 1000";

/// Runs in a namespace whose name begins with `purpose`, does `strike` after the first checkpoint, and compares the end
/// with that of an undisturbed run. Returns the run's status.
///
/// # Panics
/// Where the run doesn't get to its end, its end differs, or it was there before the trouble began.
pub fn survives(purpose: &str, strike: impl FnOnce(&Space, &mut Launched)) -> Value {
    survives_with(purpose, "", strike)
}

/// The same with more options of `launch`.
///
/// # Panics
/// As [`survives`].
pub fn survives_with(purpose: &str, more: &str, strike: impl FnOnce(&Space, &mut Launched)) -> Value {
    let space = Space::new(purpose);
    let calm = calm(&space, more);
    let status = space.survives("struck", &space.long("struck", STEPS, more), strike);
    assert_eq!(space.model_hash("struck"), calm, "{status:#}");
    space.leaves_nothing("struck");
    status
}

/// Hash of the parameters at the end of an undisturbed run with these options, which is made once in a process.
fn calm(space: &Space, more: &str) -> String {
    static KNOWN: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let run = || {
        space.run(&format!("launch {}", space.long("calm", STEPS, more))).expect_code(0);
        space.model_hash("calm")
    };
    known.entry(more.to_owned()).or_insert_with(run).clone()
}

impl Space {
    /// Launches `run`, does `strike` after the first checkpoint, and follows it to its end.
    ///
    /// # Panics
    /// Where it doesn't get there, or was there before the trouble began.
    pub fn survives(&self, run: &str, job: &str, strike: impl FnOnce(&Self, &mut Launched)) -> Value {
        let mut struck = self.start(&format!("launch {job}"));
        struck.wait_for_text(AFTER);
        let before = self.status(run);
        assert_eq!(before["phase"], "running", "too late to strike: {before:#}");
        strike(self, &mut struck);
        // Who suspends a run ends the launch that follows it; the next launch lets it go on.
        if struck.finish().code == Some(4) {
            let again = self.run(&format!("launch {job}")).expect_code(0);
            assert!(again.stderr.contains("was suspended and goes on"), "{}", again.stderr);
        }
        let status = self.status(run);
        assert_eq!((&status["phase"], &status["step"]), (&"done".into(), &STEPS.into()), "{status:#}");
        status
    }

    /// Deletes a run, and makes sure that none of its objects is left.
    ///
    /// # Panics
    /// Where one is.
    pub fn leaves_nothing(&self, run: &str) {
        self.run(&format!("delete {run} -n {}", self.name)).expect_code(0);
        let left: Vec<_> = self.objects_of(run);
        assert!(left.is_empty(), "left: {left:?}");
    }
}
