//! Tells whoever links this crate where libtorch's shared libraries are found at run time.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    // torch-sys (links = "tch") names the folder that it linked. The real folder is embedded, not the link to it,
    // so that a binary outlives the checkout that it was built in.
    let lib = PathBuf::from(std::env::var("DEP_TCH_LIBTORCH_LIB")?).canonicalize()?;
    let lib = lib.to_str().ok_or("libtorch lies in a folder whose name is not UTF-8")?;
    // An image keeps the libraries in `lib` beside `bin`.
    let rpath = ["$ORIGIN/../lib", lib].join(":");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{rpath}");
    // Link arguments stop at this package: a dependent embeds the same path in its own build script, from
    // DEP_LOCKSTEP_C10D_RPATH.
    println!("cargo::metadata=rpath={rpath}");
    Ok(())
}
