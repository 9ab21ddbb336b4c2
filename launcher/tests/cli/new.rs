//! `lockstep new`, as far as it goes without a compiler: `tests/scripts/new-crate.sh` builds and trains what it writes.

#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{lockstep, outcome, root};
use serde_json::Value;

/// A folder to make crates in, and something that looks like a libtorch.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(place.at("libtorch/lib")).unwrap();
        fs::write(place.at("libtorch/lib/libtorch_cpu.so"), "").unwrap();
        fs::create_dir(place.at("work")).unwrap();
        place
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn run(&self, arguments: &[&str], env: &[(&str, &str)]) -> (i32, String, String) {
        let libtorch = self.at("libtorch");
        let mut command = lockstep(arguments);
        command.current_dir(self.at("work")).env("LIBTORCH", libtorch).env_remove("CARGO_TARGET_DIR");
        outcome(command.env("HOME", self.at("home")).envs(env.iter().copied()))
    }

    /// `lockstep new` with this checkout.
    fn make(&self, name: &str) -> (i32, String, String) {
        self.run(&["new", name, "--lockstep", &checkout()], &[])
    }

    /// What lies in the folder that crates are made in.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.at("work")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn checkout() -> String {
    root().canonicalize().unwrap().to_str().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_crate_is_whole_and_the_two_commands_are_told() {
    let place = Place::new();
    let (code, stdout, stderr) = place.make("my-model");
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout, "cd my-model && cargo build --release\nlockstep launch -f job.yaml --local\n");
    assert_eq!(place.left(), ["my-model"]);

    let made = place.at("work/my-model");
    let example = root().join("trainer/examples/custom-task");
    for file in ["src/main.rs", "build.rs"] {
        assert_eq!(read(&made.join(file)), read(&example.join(file)), "{file}");
    }
    let config = read(&made.join(".cargo/config.toml"));
    let libtorch = format!("LIBTORCH = {{ value = \"{}\", force = false", place.at("libtorch").display());
    assert!(config.contains(&libtorch), "{config}");
    for file in ["Cargo.toml", "job.yaml", "README.md", ".cargo/config.toml", ".gitignore"] {
        let text = read(&made.join(file));
        for leftover in ["NAME", "LOCKSTEP", "VERSION", "LIBTORCH_FOLDER", "custom-task", "../"] {
            assert!(!text.contains(leftover), "{leftover} in {file}: {text}");
        }
    }
}

#[test]
fn cargo_understands_the_manifest_and_lockstep_the_job_and_the_data() {
    let place = Place::new();
    assert_eq!(place.make("my-model").0, 0);
    let made = place.at("work/my-model");
    let metadata = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(&made)
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let package = &metadata["packages"][0];
    assert_eq!((&package["name"], &package["edition"]), (&"my-model".into(), &"2024".into()));
    assert_eq!(package["dependencies"][0]["path"], format!("{}/trainer", checkout()));
    assert_eq!(metadata["workspace_root"], made.to_str().unwrap());

    let job = made.join("job.yaml").display().to_string();
    let (code, stdout, stderr) = place.run(&["validate", "-f", &job, "--output", "json"], &[]);
    assert_eq!(code, 0, "{stderr}");
    let job: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(job["job"]["name"], "my-model");
    let (code, stdout, stderr) = place.run(&["data", "verify", "my-model/data/digits"], &[]);
    assert!(code == 0 && stdout.contains("is good: 1797 good samples"), "{stdout}{stderr}");
}

#[test]
fn a_path_is_quoted_and_an_empty_folder_is_filled() {
    let place = Place::new();
    fs::create_dir_all(place.at("work/my models/cnn")).unwrap();
    let (code, stdout, stderr) = place.make("my models/cnn");
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("cd 'my models/cnn' && cargo build"), "{stdout}");
    assert!(place.at("work/my models/cnn/Cargo.toml").exists());
    let (code, stdout, _) = place.run(&["new", "deep/er", "--lockstep", &checkout(), "-o", "json"], &[]);
    let made: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &made["commands"][0]), (0, &"cd deep/er && cargo build --release".into()));
}

#[test]
fn a_url_becomes_a_dependency_on_a_repository() {
    let place = Place::new();
    let url = "https://example.org/lockstep.git#0123abc";
    assert_eq!(place.run(&["new", "cnn", "--lockstep", url], &[]).0, 0);
    let manifest = read(&place.at("work/cnn/Cargo.toml"));
    let expected = "lockstep-trainer = { git = \"https://example.org/lockstep.git\", rev = \"0123abc\" }\n";
    assert!(manifest.contains(expected), "{manifest}");
}

#[test]
fn what_is_there_is_not_touched() {
    let place = Place::new();
    fs::create_dir(place.at("work/cnn")).unwrap();
    fs::write(place.at("work/cnn/notes"), "mine").unwrap();
    let (code, stdout, stderr) = place.make("cnn");
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("is not empty") && stderr.contains("take another name"), "{stderr}");
    let (code, _, stderr) = place.make("cnn/notes");
    assert!(code == 2 && stderr.contains("is there and no folder"), "{stderr}");
    assert_eq!(read(&place.at("work/cnn/notes")), "mine");
}

#[test]
fn a_refusal_says_what_to_do_and_leaves_nothing() {
    let place = Place::new();
    let (code, _, stderr) = place.make("My_Model");
    assert!(code == 2 && stderr.contains("lockstep new my-model"), "{stderr}");
    let (code, _, stderr) = place.make("self");
    assert!(code == 2 && stderr.contains("my-self"), "{stderr}");
    let (code, _, stderr) = place.run(&["new", "cnn", "--lockstep", "/nowhere"], &[]);
    assert!(code == 2 && stderr.contains("/nowhere is no checkout of Lockstep"), "{stderr}");
    let (code, _, stderr) =
        place.run(&["new", "cnn", "--lockstep", &checkout()], &[("LIBTORCH", "/opt/mine")]);
    assert!(code == 2 && stderr.contains("/opt/mine, which has no lib/libtorch_cpu.so"), "{stderr}");
    let python =
        [("LIBTORCH", ""), ("PYTHON", "no-such-python"), ("XDG_CACHE_HOME", ""), ("LOCKSTEP_CACHE", "")];
    let (code, _, stderr) = place.run(&["new", "cnn", "--lockstep", &checkout()], &python);
    assert!(code == 1 && stderr.contains("'no-such-python' is not on the PATH"), "{stderr}");
    assert!(stderr.contains("libtorch could not be fetched; the reason is above"), "{stderr}");
    assert_eq!(place.left(), Vec::<String>::new());
}
