//! Embeds where libtorch's shared libraries are found at run time, as lockstep-c10d's build script found out, and tells
//! the crates that depend on this one.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let rpath = std::env::var("DEP_LOCKSTEP_C10D_RPATH")?;
    println!("cargo::rustc-link-arg=-Wl,-rpath,{rpath}");
    println!("cargo::metadata=rpath={rpath}");
    Ok(())
}
