//! A store for ranks that are processes: a `MemoryStore` behind a Unix socket, one JSON line for each call.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lockstep_c10d::{MemoryStore, Store, StoreError};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
enum Call {
    Set(String, Vec<u8>),
    Get(String, Duration),
    Add(String, i64),
    CompareSet(String, Vec<u8>, Vec<u8>),
    Delete(String),
    Check(Vec<String>),
    Wait(Vec<String>, Duration),
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Done,
    Value(Vec<u8>),
    Sum(i64),
    Bool(bool),
    Late(String, Duration),
    Failed(String, String),
}

/// Serves `store` at `socket` until the process ends.
pub fn serve(store: Arc<MemoryStore>, socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let store = store.clone();
            thread::spawn(move || serve_one(&store, &stream.unwrap()));
        }
    });
}

/// Until the client hangs up.
fn serve_one(store: &MemoryStore, stream: &UnixStream) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let answer = answer(store, serde_json::from_str(&line).unwrap());
        let mut text = serde_json::to_vec(&answer).unwrap();
        text.push(b'\n');
        let mut stream = stream;
        if stream.write_all(&text).is_err() {
            return;
        }
    }
}

fn answer(store: &MemoryStore, call: Call) -> Answer {
    let keys = |keys: &[String], call: &dyn Fn(&[&str]) -> Result<Answer, StoreError>| {
        call(&keys.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let result = match call {
        Call::Set(key, value) => store.set(&key, &value).map(|()| Answer::Done),
        Call::Get(key, timeout) => store.get(&key, timeout).map(Answer::Value),
        Call::Add(key, amount) => store.add(&key, amount).map(Answer::Sum),
        Call::CompareSet(key, expected, desired) => {
            store.compare_set(&key, &expected, &desired).map(Answer::Value)
        }
        Call::Delete(key) => store.delete(&key).map(Answer::Bool),
        Call::Check(all) => keys(&all, &|keys| store.check(keys).map(Answer::Bool)),
        Call::Wait(all, timeout) => keys(&all, &|keys| store.wait(keys, timeout).map(|()| Answer::Done)),
    };
    result.unwrap_or_else(|error| match error {
        StoreError::Timeout { key, waited } => Answer::Late(key, waited),
        error => Answer::Failed(String::new(), error.to_string()),
    })
}

/// One rank's connection.
#[derive(Debug)]
pub struct SocketStore {
    stream: Mutex<BufReader<UnixStream>>,
}

impl SocketStore {
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        Self { stream: Mutex::new(BufReader::new(stream)) }
    }

    fn call(&self, call: Call) -> Result<Answer, StoreError> {
        let mut stream = self.stream.lock().unwrap();
        let mut line = serde_json::to_string(&call).unwrap();
        line.push('\n');
        stream.get_mut().write_all(line.as_bytes()).unwrap();
        line.clear();
        stream.read_line(&mut line).unwrap();
        match serde_json::from_str(&line).unwrap() {
            Answer::Late(key, waited) => Err(StoreError::Timeout { key, waited }),
            Answer::Failed(key, reason) => Err(StoreError::Failed { key, reason }),
            answer => Ok(answer),
        }
    }
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

impl Store for SocketStore {
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.call(Call::Set(key.to_owned(), value.to_owned())).map(drop)
    }

    fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, StoreError> {
        match self.call(Call::Get(key.to_owned(), timeout))? {
            Answer::Value(value) => Ok(value),
            answer => panic!("{answer:?}"),
        }
    }

    fn add(&self, key: &str, amount: i64) -> Result<i64, StoreError> {
        match self.call(Call::Add(key.to_owned(), amount))? {
            Answer::Sum(sum) => Ok(sum),
            answer => panic!("{answer:?}"),
        }
    }

    fn compare_set(&self, key: &str, expected: &[u8], desired: &[u8]) -> Result<Vec<u8>, StoreError> {
        match self.call(Call::CompareSet(key.to_owned(), expected.to_owned(), desired.to_owned()))? {
            Answer::Value(value) => Ok(value),
            answer => panic!("{answer:?}"),
        }
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        match self.call(Call::Delete(key.to_owned()))? {
            Answer::Bool(removed) => Ok(removed),
            answer => panic!("{answer:?}"),
        }
    }

    fn check(&self, keys: &[&str]) -> Result<bool, StoreError> {
        match self.call(Call::Check(owned(keys)))? {
            Answer::Bool(present) => Ok(present),
            answer => panic!("{answer:?}"),
        }
    }

    fn wait(&self, keys: &[&str], timeout: Duration) -> Result<(), StoreError> {
        self.call(Call::Wait(owned(keys), timeout)).map(drop)
    }
}
