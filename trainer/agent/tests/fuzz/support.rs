use lockstep_run::link;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const REFRESH: &str = "LOCKSTEP_REFRESH=1 cargo test -p lockstep-agent --test fuzz";

fn folder(target: &str) -> String {
    format!("{}/tests/corpus/{target}", std::env::var("CARGO_MANIFEST_DIR").unwrap())
}

/// The inputs of a target.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    lockstep_fuzzing::corpus(folder(target))
}

/// Checks that the corpus holds what is written today.
pub(crate) fn current(target: &str, written: &[Vec<u8>]) {
    let names: Vec<_> = (0..written.len()).map(|i| format!("{i:02}")).collect();
    let files: Vec<_> = names.iter().map(String::as_str).zip(written.iter().cloned()).collect();
    lockstep_fuzzing::current(folder(target), &files, REFRESH);
}

pub(crate) fn wait<T>(call: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(call)
}

/// Messages in frames, as they are sent.
pub(crate) async fn sent<M: Serialize>(messages: &[M]) -> Vec<u8> {
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let (receiver, mut sender) = link::split(ours);
    for message in messages {
        sender.send(message).await.unwrap();
    }
    drop((receiver, sender));
    let mut stream = Vec::new();
    theirs.read_to_end(&mut stream).await.unwrap();
    stream
}

/// What comes of bytes that were sent, up to the first that are no message.
pub(crate) async fn received<M: DeserializeOwned>(sent: &[u8]) -> Vec<M> {
    let (ours, mut theirs) = tokio::io::duplex(sent.len().max(1));
    theirs.write_all(sent).await.unwrap();
    drop(theirs);
    let (mut receiver, _sender) = link::split(ours);
    let mut all = Vec::new();
    while let Ok(Some(message)) = receiver.recv().await {
        all.push(message);
    }
    all
}

/// One message in a frame.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes(), message].concat()
}
