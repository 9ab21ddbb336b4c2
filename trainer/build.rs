//! Embeds where libtorch's shared libraries are found at run time, as lockstep-c10d's build script found out.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", std::env::var("DEP_LOCKSTEP_C10D_RPATH")?);
    Ok(())
}
