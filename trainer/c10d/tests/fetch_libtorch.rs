//! The script that fetches libtorch, as far as it goes without a network.
#![allow(clippy::unwrap_used)] // Test code, helpers included.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// A checkout that holds the script only, with a cache of its own.
struct Checkout {
    folder: tempfile::TempDir,
}

impl Checkout {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scripts = folder.path().join("trainer/c10d/scripts");
        fs::create_dir_all(&scripts).unwrap();
        let script =
            Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("scripts/fetch-libtorch.sh");
        fs::copy(script, scripts.join("fetch-libtorch.sh")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str], env: &[(&str, &str)]) -> (Output, String) {
        let output = Command::new("bash")
            .arg(self.path("trainer/c10d/scripts/fetch-libtorch.sh"))
            .args(arguments)
            .env_remove("LIBTORCH")
            .env_remove("PYTHON")
            .env("LOCKSTEP_CACHE", self.path("cache"))
            .envs(env.iter().copied())
            .output()
            .unwrap();
        let text = String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap();
        (output, text)
    }
}

#[test]
fn a_libtorch_of_the_user_wins() {
    let checkout = Checkout::new();
    let (output, text) = checkout.run(&[], &[("LIBTORCH", "/opt/mine")]);
    assert!(output.status.success() && text.contains("/opt/mine is used"), "{text}");
    assert!(!checkout.path(".libtorch").exists() && !checkout.path("cache").exists());
}

#[test]
fn what_is_in_the_cache_is_linked_and_not_fetched() {
    let checkout = Checkout::new();
    let home = checkout.path("cache/libtorch-2.11.0-cpu/torch");
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("build-version"), "2.11.0\n").unwrap();
    for _ in 0..2 {
        let (output, text) = checkout.run(&[], &[("PYTHON", "no-such-python")]);
        assert!(output.status.success(), "{text}");
        assert_eq!(fs::read_link(checkout.path(".libtorch")).unwrap(), home);
    }
    fs::remove_file(checkout.path(".libtorch")).unwrap();
    fs::create_dir(checkout.path(".libtorch")).unwrap();
    let (output, text) = checkout.run(&[], &[]);
    assert!(!output.status.success() && text.contains("is not a link"), "{text}");
}

#[test]
fn without_a_link_the_folder_is_printed() {
    let checkout = Checkout::new();
    let home = checkout.path("cache/libtorch-2.11.0-cpu/torch");
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("build-version"), "2.11.0\n").unwrap();
    // The script's text alone, as `lockstep new` runs it.
    let script = fs::read_to_string(checkout.path("trainer/c10d/scripts/fetch-libtorch.sh")).unwrap();
    for (set, printed) in [("", home.to_str().unwrap()), ("/opt/mine", "/opt/mine")] {
        let output = Command::new("bash")
            .args(["-c", &script, "fetch-libtorch", "--no-link"])
            .env("LIBTORCH", set)
            .env("LOCKSTEP_CACHE", checkout.path("cache"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), printed, "{text}");
    }
    assert!(!checkout.path(".libtorch").exists());
}

#[test]
fn without_python_or_network_it_says_what_to_do() {
    let checkout = Checkout::new();
    let (output, text) = checkout.run(&[], &[("PYTHON", "no-such-python")]);
    assert!(!output.status.success() && text.contains("'no-such-python' is not on the PATH"), "{text}");
    // An index that is not there stands for a network that is not.
    let empty = checkout.path("no-wheels");
    let offline = [("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", empty.to_str().unwrap())];
    let (output, text) = checkout.run(&[], &offline);
    assert!(!output.status.success() && text.contains("set LIBTORCH"), "{text}");
    assert!(!checkout.path(".libtorch").exists(), "a failure leaves no link");
}

#[test]
fn help_and_wrong_arguments() {
    let checkout = Checkout::new();
    let (output, text) = checkout.run(&["--help"], &[]);
    assert!(
        output.status.success() && text.starts_with("usage: ") && text.contains("LOCKSTEP_CACHE"),
        "{text}"
    );
    let (output, text) = checkout.run(&["--fast"], &[]);
    assert_eq!(output.status.code(), Some(2), "{text}");
}
