//! The server as a process of its own, as whole-system tests use it.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

#[test]
fn it_prints_its_port_and_ends_with_its_standard_input() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_lockstep-s3-test-server"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim().parse().unwrap();
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    drop(server.stdin.take());
    let begin = Instant::now();
    while server.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_secs(20) {
            server.kill().unwrap();
            panic!("the server goes on without its parent");
        }
        thread::sleep(Duration::from_millis(10));
    }
}
