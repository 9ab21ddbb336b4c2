//! Records which published commit this is, so that `lockstep new` can name it as a dependency. A commit that only this
//! machine has isn't recorded, and neither is a remote that others can't reach by the same name.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    watch("config");
    let Some(url) = git(&["config", "--get", "remote.origin.url"]).and_then(|url| public(&url)) else {
        return;
    };
    watch("logs/HEAD");
    watch("refs/remotes/origin");
    let Some(revision) = git(&["rev-parse", "--verify", "HEAD"]) else { return };
    if git(&["for-each-ref", "--contains", &revision, "refs/remotes/origin"]).is_some() {
        println!("cargo::rustc-env=LOCKSTEP_BUILT_FROM={url}#{revision}");
    }
}

/// What Git prints, unless it is nothing.
fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Runs this script again when one of Git's own files changes; Cargo would always run it for one that isn't there.
fn watch(file: &str) {
    if let Some(path) = git(&["rev-parse", "--git-path", file]).filter(|path| Path::new(path).exists()) {
        println!("cargo::rerun-if-changed={path}");
    }
}

/// The remote as Cargo takes it, without a user's name and password; nothing for a folder of this machine.
fn public(url: &str) -> Option<String> {
    if let Some(rest) = url.strip_prefix("https://") {
        let (host, path) = rest.split_once('/')?;
        let host = host.rsplit('@').next()?;
        return Some(format!("https://{host}/{path}"));
    }
    if url.starts_with("ssh://") {
        return Some(url.to_owned());
    }
    match url.split_once(':') {
        Some((host, path)) if host.contains('@') && !path.starts_with("//") => {
            Some(format!("ssh://{host}/{path}"))
        }
        _ => None,
    }
}
