use crate::output;
use lockstep_run::checkup::Finding;
use lockstep_storage::conformance;
use serde::Serialize;

/// One line of what the doctor says.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) check: &'static str,
    pub(super) ok: bool,
    pub(super) detail: String,
    pub(super) fix: Option<String>,
}

impl Check {
    pub(super) fn new(check: &'static str, found: Finding, fix: &str) -> Self {
        match found {
            Ok(detail) => Self { check, ok: true, detail, fix: None },
            Err(detail) => Self { check, ok: false, detail, fix: Some(fix.to_owned()) },
        }
    }

    /// What a storage promised, and whether it kept that.
    pub(super) fn promise(promise: &conformance::Check, outcome: &conformance::Outcome) -> Self {
        let seen = outcome.clone().map(|()| promise.promise.to_owned());
        let seen = seen.map_err(|seen| format!("not kept: {}. Seen: {seen}", promise.promise));
        Self::new(promise.name, seen, &format!("keep runs elsewhere; here {}", promise.danger))
    }
}

pub(super) fn table(checks: &[Check]) -> String {
    let row = |check: &Check| {
        let fix = check.fix.as_ref().map_or(String::new(), |fix| format!("\nfix: {fix}"));
        let verdict = if check.ok { "ok" } else { "missing" };
        [check.check.to_owned(), verdict.to_owned(), format!("{}{fix}", check.detail)]
    };
    output::columns(&["CHECK", "RESULT", "DETAIL"], checks.iter().map(row))
}
