//! The libtorch that a new crate is built against.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::{Failure, environment, runs};

/// The script that fetches it for a checkout, with the one list of wheels.
const FETCH: &str = include_str!("../../../../trainer/c10d/scripts/fetch-libtorch.sh");

/// The folder that LIBTORCH names, else the one in the cache, which is fetched if need be.
///
/// # Errors
/// Where LIBTORCH names something else, or it can't be fetched.
pub(super) fn folder() -> anyhow::Result<String> {
    match environment::variable("LIBTORCH").filter(|folder| !folder.is_empty()) {
        Some(folder) => of_the_user(&folder),
        None => fetch(),
    }
}

/// The version that is fetched.
pub(super) fn version() -> &'static str {
    FETCH.lines().find_map(|line| line.strip_prefix("version=")).unwrap_or_default()
}

fn of_the_user(folder: &str) -> anyhow::Result<String> {
    let folder = runs::absolute(folder)?;
    if Path::new(&folder).join("lib/libtorch_cpu.so").exists() {
        return Ok(folder);
    }
    Err(Failure::usage(format!("LIBTORCH names {folder}, which has no lib/libtorch_cpu.so"))
        .note("fix", format!("name the folder of a libtorch {} that holds `lib` and `include`", version()))
        .note("or", "unset LIBTORCH, and it is fetched")
        .into())
}

fn fetch() -> anyhow::Result<String> {
    let output = Command::new("bash")
        .args(["-c", FETCH, "fetch-libtorch", "--no-link"])
        .env("LOCKSTEP_CACHE", environment::cache()?)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("can't run bash, which fetches libtorch; install it, or set LIBTORCH")?;
    if !output.status.success() {
        return Err(Failure::new("libtorch could not be fetched; the reason is above")
            .note("fix", format!("mend that and run this again, or set LIBTORCH to a libtorch {}", version()))
            .into());
    }
    let folder = String::from_utf8(output.stdout).context("the cache lies in a folder that is not UTF-8")?;
    Ok(folder.trim_end_matches('\n').to_owned())
}
