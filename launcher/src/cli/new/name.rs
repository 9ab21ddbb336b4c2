//! What a crate may be called: it names a run, too.

use std::path::Path;

use anyhow::Result;
use lockstep_job::RunName;

use crate::Failure;

/// Cargo and rustc refuse these: Rust's keywords, its own crates, folders that Cargo makes, and what the crate depends on.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "lockstep-trainer",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// The name that a crate in this folder has.
///
/// # Errors
/// Where the folder is named otherwise than a crate and a run can be.
pub(super) fn of(folder: &Path) -> Result<String> {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let wrong = |what: String, fix: String| Failure::usage(what).note("fix", fix);
    if let Err(error) = name.parse::<RunName>() {
        let mut failure = wrong(format!("{name:?} can't be the name of a crate and its run"), error.fix);
        if let Some(similar) = similar(&name) {
            failure = failure.note("for example", format!("lockstep new {similar}"));
        }
        return Err(failure.into());
    }
    if TAKEN.contains(&name.as_str()) {
        let what = format!("a crate can't be named {name}: Rust, Cargo or a dependency has that name");
        return Err(wrong(what, format!("take another one, such as my-{name}")).into());
    }
    Ok(name)
}

/// A name like that one that is allowed.
fn similar(name: &str) -> Option<String> {
    let allowed = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let allowed: String = allowed.collect();
    let trimmed = allowed.trim_start_matches(|c: char| !c.is_ascii_lowercase()).trim_end_matches('-');
    let fits = trimmed.parse::<RunName>().is_ok() && !TAKEN.contains(&trimmed);
    fits.then(|| trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_a_crate_and_of_a_run() {
        for good in ["my-model", "a", "cnn2", "digits"] {
            assert_eq!(of(&Path::new("/tmp").join(good)).unwrap(), good);
        }
        for (bad, says) in [
            ("My_Model", "lockstep new my-model"),
            ("2nd", "lockstep new nd"),
            ("model-", "lockstep new model"),
            ("ä", "starting with a letter"),
            ("fn", "my-fn"),
            ("lockstep-trainer", "my-lockstep-trainer"),
        ] {
            let said = of(&Path::new("/tmp").join(bad)).unwrap_err().to_string();
            assert!(said.contains(says), "{bad}: {said}");
        }
        assert!(of(Path::new("/")).is_err());
    }
}
