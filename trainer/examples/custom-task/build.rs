//! Embeds where libtorch's shared libraries are found at run time: each worker binary needs this.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", std::env::var("DEP_LOCKSTEP_TRAINER_RPATH")?);
    Ok(())
}
