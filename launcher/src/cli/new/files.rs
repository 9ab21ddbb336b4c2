//! What is in a new crate. Its code is that of `trainer/examples/custom-task`, which is built and tested with Lockstep.

use super::{dependency::Dependency, libtorch};

/// A file of this repository, by its path there.
macro_rules! repository {
    ($path:literal) => {
        include_str!(concat!("../../../../", $path))
    };
}

/// The digits: path in the crate, content.
macro_rules! digits {
    ($($file:literal),+ $(,)?) => {
        &[$((concat!("data/digits/", $file), include_bytes!(concat!("../../../../datasets/digits/", $file)))),+]
    };
}

const DIGITS: &[(&str, &[u8])] = digits![
    "README.md",
    "train/index.json",
    "train/shard.00000.mds.zstd",
    "train/shard.00001.mds.zstd",
    "train/shard.00002.mds.zstd",
    "train/shard.00003.mds.zstd",
    "test/index.json",
    "test/shard.00000.mds.zstd",
];

/// Paths in the crate and contents.
pub(super) fn all(name: &str, dependency: &Dependency, libtorch: &str) -> Vec<(&'static str, Vec<u8>)> {
    let manifest = include_str!("template/manifest.toml");
    let config = include_str!("template/config.toml");
    let readme = include_str!("template/README.md");
    let quoted = toml::Value::String(libtorch.to_owned()).to_string();
    let texts = [
        ("Cargo.toml", manifest.replace("NAME", name).replace("LOCKSTEP", &dependency.in_manifest())),
        // The versions that Lockstep is tested with; Cargo leaves out what isn't needed.
        ("Cargo.lock", repository!("Cargo.lock").to_owned()),
        (".cargo/config.toml", config.replace("LIBTORCH_FOLDER", &quoted)),
        (".gitignore", include_str!("template/gitignore").to_owned()),
        ("README.md", readme.replace("NAME", name).replace("VERSION", libtorch::version())),
        ("build.rs", repository!("trainer/examples/custom-task/build.rs").to_owned()),
        ("src/main.rs", repository!("trainer/examples/custom-task/src/main.rs").to_owned()),
        ("job.yaml", job(name)),
    ];
    let texts = texts.into_iter().map(|(path, text)| (path, text.into_bytes()));
    texts.chain(DIGITS.iter().map(|(path, bytes)| (*path, bytes.to_vec()))).collect()
}

/// The example's job file, as seen from a crate that stands alone.
fn job(name: &str) -> String {
    repository!("trainer/examples/custom-task/job.yaml")
        .replace(" -p custom-task", "")
        .replace("../../../datasets/", "data/")
        .replace("../../../target/", "target/")
        .replace("custom-task", name)
}
