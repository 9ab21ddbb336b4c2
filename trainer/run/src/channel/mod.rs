//! The control channel: TCP, encrypted and authenticated with the run's own key.
//!
//! Noise (<https://noiseprotocol.org>, pattern `NNpsk0`) with the 32 bytes of `control.key` as the pre-shared key and
//! the run's uid as prologue: a peer of another run, or without the key, fails the handshake and learns nothing.

mod noise;

use crate::link::{decode, encode};
use crate::{ControlKey, Error, Result, RunUid};
use noise::{Opener, Sealer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::net::TcpStream;

/// A peer that doesn't finish the handshake by then is dropped.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(2);

/// Both halves of a connection whose peer holds the run's key.
#[derive(Debug)]
pub struct Channel {
    receiver: Receiver,
    sender: Sender,
}

/// Receives messages.
#[derive(Debug)]
pub struct Receiver(Opener, String);

/// Sends messages.
#[derive(Debug)]
pub struct Sender(Sealer, String);

impl Channel {
    /// Connects and shakes hands as the initiator, within [`HANDSHAKE_DEADLINE`].
    pub async fn connect(address: &str, run: &RunUid, key: &ControlKey) -> Result<Self> {
        let connect = async {
            let stream = TcpStream::connect(address).await.map_err(|e| Error::channel(address, e))?;
            noise::initiate(stream, run, key).await.map_err(|e| Error::channel(address, e))
        };
        Self::by_deadline(address.to_owned(), connect).await
    }

    /// Shakes hands as the responder, within [`HANDSHAKE_DEADLINE`].
    pub async fn accept(stream: TcpStream, run: &RunUid, key: &ControlKey) -> Result<Self> {
        let peer = stream.peer_addr().map_or_else(|_| "a peer".to_owned(), |a| a.to_string());
        let accept = async { noise::respond(stream, run, key).await.map_err(|e| Error::channel(&peer, e)) };
        Self::by_deadline(peer.clone(), accept).await
    }

    async fn by_deadline(
        peer: String,
        shake: impl Future<Output = Result<(Opener, Sealer)>>,
    ) -> Result<Self> {
        let seconds = HANDSHAKE_DEADLINE.as_secs_f64();
        let late = |_| Error::Deadline { peer: peer.clone(), what: "shake hands", seconds };
        let (opener, sealer) = tokio::time::timeout(HANDSHAKE_DEADLINE, shake).await.map_err(late)??;
        Ok(Self { receiver: Receiver(opener, peer.clone()), sender: Sender(sealer, peer) })
    }

    /// Sends a message.
    pub async fn send<M: Serialize>(&mut self, message: &M) -> Result<()> {
        self.sender.send(message).await
    }

    /// The next message; `None` once the peer is gone.
    pub async fn recv<M: DeserializeOwned>(&mut self) -> Result<Option<M>> {
        self.receiver.recv().await
    }

    /// Splits into halves that may live in different tasks.
    pub fn split(self) -> (Receiver, Sender) {
        (self.receiver, self.sender)
    }
}

impl Receiver {
    /// The next message; `None` once the peer is gone. Must not be dropped while it waits: bytes would be lost.
    pub async fn recv<M: DeserializeOwned>(&mut self) -> Result<Option<M>> {
        match self.0.open().await.map_err(|e| Error::channel(&self.1, e))? {
            Some(plain) => decode(&plain).map(Some),
            None => Ok(None),
        }
    }
}

impl Sender {
    /// Sends a message.
    pub async fn send<M: Serialize>(&mut self, message: &M) -> Result<()> {
        let plain = encode(message)?;
        self.0.seal(&plain).await.map_err(|e| Error::channel(&self.1, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn pair(
        ours: (&RunUid, &ControlKey),
        theirs: (&RunUid, &ControlKey),
    ) -> (Result<Channel>, Result<Channel>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let accept = async { Channel::accept(listener.accept().await.unwrap().0, theirs.0, theirs.1).await };
        tokio::join!(Channel::connect(&address, ours.0, ours.1), accept)
    }

    #[tokio::test]
    async fn large_and_small_messages_cross_both_ways() {
        let (run, key) = (RunUid::random(), ControlKey::random());
        let (a, b) = pair((&run, &key), (&run, &key)).await;
        let (mut a, mut b) = (a.unwrap(), b.unwrap());
        for size in [0usize, 1, 65_519, 65_520, 300_000] {
            let sent: Vec<u8> = (0..size).map(|i| i as u8).collect();
            let (sending, got) = tokio::join!(a.send(&sent), b.recv::<Vec<u8>>());
            sending.unwrap();
            assert_eq!(got.unwrap().unwrap(), sent, "{size} bytes");
        }
        b.send(&"back").await.unwrap();
        assert_eq!(a.recv::<String>().await.unwrap().unwrap(), "back");
        drop(a);
        assert!(matches!(b.recv::<String>().await, Ok(None) | Err(_)));
    }

    #[tokio::test]
    async fn another_key_or_another_run_gets_nothing() {
        let (run, key) = (RunUid::random(), ControlKey::random());
        for (theirs, what) in [((&run, &ControlKey::random()), "key"), ((&RunUid::random(), &key), "run")] {
            let (a, b) = pair((&run, &key), theirs).await;
            assert!(a.is_err() && b.is_err(), "another {what} must fail the handshake");
        }
    }

    #[tokio::test]
    async fn garbage_ends_the_connection() {
        use tokio::io::AsyncWriteExt;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut raw = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        raw.write_all(&[0xff; 200]).await.unwrap();
        let accepted =
            Channel::accept(listener.accept().await.unwrap().0, &RunUid::random(), &ControlKey::random())
                .await;
        assert!(accepted.is_err());
    }
}
