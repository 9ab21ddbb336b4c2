use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    sync::Arc,
};

use lockstep_storage::{Storage, open_with};

use crate::process::{Process, installed};

/// moto's S3 server, in Python, with one bucket in memory.
#[derive(Debug)]
pub struct Moto {
    _process: Process,
    endpoint: String,
}

impl Moto {
    /// Brings it into the cache if need be, and starts it on a loopback port.
    ///
    /// # Panics
    /// When it can't be had or doesn't begin in time.
    pub fn start() -> Self {
        let mut command = Command::new(installed("moto.sh"));
        command.args(["-H", "127.0.0.1", "-p", "0"]);
        let (process, endpoint) = Process::start(&command, "Running on ");
        request(&endpoint, "PUT /lockstep HTTP/1.1\r\nContent-Length: 0\r\nAuthorization: AWS test:test\r\n");
        Self { _process: process, endpoint }
    }

    /// A storage on a folder of the bucket.
    pub fn storage(&self, folder: &str) -> Arc<dyn Storage> {
        let env = vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "test".into()),
            ("AWS_REGION", "us-east-1".into()),
        ];
        open_with(&format!("s3://lockstep/{folder}"), &crate::options(env)).unwrap()
    }
}

/// Sends a request without a body, which the server must accept.
pub(crate) fn request(endpoint: &str, head: &str) {
    let host = endpoint.trim_start_matches("http://").split('/').next().unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "{head}Host: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let accepted = answer.split_whitespace().nth(1).is_some_and(|status| status.starts_with('2'));
    assert!(accepted, "{head}{answer}");
}
