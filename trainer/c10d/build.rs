//! Compiles the shim against the libtorch that torch-sys linked, and tells whoever links this crate where libtorch's
//! shared libraries are found at run time.

use std::error::Error;
use std::path::{Path, PathBuf};

const SOURCES: [&str; 18] = [
    "autocast",
    "average",
    "batch_norm",
    "cross_entropy",
    "environment",
    "gloo",
    "group",
    "guard",
    "masters",
    "one_shot",
    "optim",
    "random",
    "reads",
    "recompute",
    "reducer",
    "exchange",
    "store",
    "transfer",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=shim");
    // torch-sys (links = "tch") names the folder that it linked. The real folder is embedded, not the link to it,
    // so that a binary outlives the checkout that it was built in.
    let lib = PathBuf::from(std::env::var("DEP_TCH_LIBTORCH_LIB")?).canonicalize()?;
    let include = lib.with_file_name("include");
    println!("cargo::rustc-env=LIBTORCH_VERSION={}", version(&include)?);
    compile_shim(&include)?;
    embed_rpath(&lib)
}

/// The version that the headers say they are of.
fn version(include: &Path) -> Result<String, Box<dyn Error>> {
    let header = include.join("torch/headeronly/version.h");
    let text = std::fs::read_to_string(&header).map_err(|error| format!("{}: {error}", header.display()))?;
    let number = |part: &str| {
        let define = format!("#define TORCH_VERSION_{part} ");
        let number = text.lines().find_map(|line| line.strip_prefix(&define)).map(str::trim);
        number.ok_or_else(|| format!("{} does not define TORCH_VERSION_{part}", header.display()))
    };
    Ok(format!("{}.{}.{}", number("MAJOR")?, number("MINOR")?, number("PATCH")?))
}

/// As one unit: nearly all of the time goes into libtorch's headers, which are the same for each file.
fn compile_shim(include: &Path) -> Result<(), Box<dyn Error>> {
    let unit = Path::new(&std::env::var("OUT_DIR")?).join("shim.cpp");
    let lines: String = SOURCES.iter().map(|name| format!("#include \"{name}.cpp\"\n")).collect();
    std::fs::write(&unit, lines)?;
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .define("USE_DISTRIBUTED", None)
        .include("shim")
        .include("shim/gloo_stub")
        // As system headers, so that warnings are about the shim only.
        .flag("-isystem")
        .flag(include)
        .flag("-isystem")
        .flag(include.join("torch/csrc/api/include"))
        .extra_warnings(true)
        .debug(false)
        .file(unit)
        .compile("lockstep_c10d_shim");
    Ok(())
}

fn embed_rpath(lib: &Path) -> Result<(), Box<dyn Error>> {
    let lib = lib.to_str().ok_or("libtorch lies in a folder whose name is not UTF-8")?;
    // An image keeps the libraries in `lib` beside `bin`.
    let rpath = ["$ORIGIN/../lib", lib].join(":");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{rpath}");
    // Link arguments stop at this package: a dependent embeds the same path in its own build script, from
    // DEP_LOCKSTEP_C10D_RPATH.
    println!("cargo::metadata=rpath={rpath}");
    Ok(())
}
