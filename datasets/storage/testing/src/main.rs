//! The S3 test server as a process: prints its port, serves until its standard input is closed.

use std::io::{self, Read, Write};

use lockstep_storage_testing::S3Server;

fn main() -> io::Result<()> {
    let server = S3Server::start()?;
    println!("{}", server.port());
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
