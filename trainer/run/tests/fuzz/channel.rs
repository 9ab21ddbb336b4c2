//! The encrypted channel, against strangers and against who stands between two agents.

use crate::support::{REFRESH, Waiter, corpus, current, folder};
use lockstep_fuzzing::fuzz;
use lockstep_run::channel::Channel;
use lockstep_run::control::Opening;
use lockstep_run::{ControlKey, RunUid, layout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Two bytes of length, a point of the curve, a tag.
const HELLO_BYTES: usize = 2 + 32 + 16;

/// The same key each time, so that what was once said with it is in the corpus.
fn run_and_key(waiter: &Waiter) -> (RunUid, ControlKey) {
    let key = waiter.wait(waiter.dir_with(layout::CONTROL_KEY, &[7; 32]).key()).unwrap();
    (RunUid("00c0ffee00c0ffee00c0ffee00c0ffee".into()), key)
}

/// One place to call for all inputs: a new one for each would be looked for longer each time.
fn listener(waiter: &Waiter) -> (TcpListener, String) {
    let listener = waiter.wait(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

async fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let (one, other) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (one.unwrap(), other.unwrap().0)
}

/// Says what it has to say, and then no more.
async fn say(mut stream: TcpStream, data: &[u8]) {
    let _ = stream.write_all(data).await;
    let _ = stream.shutdown().await;
    // What comes back is heard out, so that nothing of what was said is lost to a reset.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[test]
fn strangers() {
    let waiter = Waiter::new();
    let (run, key) = run_and_key(&waiter);
    let (listener, _) = listener(&waiter);
    fuzz("handshake", &corpus("handshake", &[]), |data| {
        waiter.wait(async {
            let (stream, ours) = pair(&listener).await;
            let accept = async {
                // Who repeats what a member once said gets an answer, and has nothing to say after it.
                if let Ok(mut channel) = Channel::accept(ours, &run, &key).await {
                    assert!(!matches!(channel.recv::<Opening>().await, Ok(Some(_))), "a stranger was heard");
                }
            };
            tokio::join!(say(stream, data), accept);
        });
    });
}

#[test]
fn false_leaders() {
    let waiter = Waiter::new();
    let (run, key) = run_and_key(&waiter);
    let (listener, address) = listener(&waiter);
    fuzz("handshake-answer", &corpus("handshake", &[]), |data| {
        waiter.wait(async {
            let answer = async { say(listener.accept().await.unwrap().0, data).await };
            let (connected, ()) = tokio::join!(Channel::connect(&address, &run, &key), answer);
            assert!(connected.is_err(), "it believes what was said to another");
        });
    });
}

/// Changes what is under way as `orders` say: four bytes for each change.
fn meddle(stream: &mut Vec<u8>, orders: &[u8]) {
    for order in orders.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([order[0], order[1]])) * 2 % (stream.len() + 1);
        let end = stream.len().min(at + usize::from(order[3]));
        match order[2] % 5 {
            0 => stream.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= order[3]),
            1 => stream.truncate(at),
            2 => drop(stream.drain(at..end)),
            3 => {
                let again = stream[at..end].to_vec();
                stream.splice(at..at, again);
            }
            _ => stream.splice(at..at, [order[3]]).for_each(drop),
        }
    }
}

#[test]
fn meddlers() {
    let waiter = Waiter::new();
    let (run, key) = run_and_key(&waiter);
    let (listener, address) = listener(&waiter);
    let sent: [Vec<u8>; 4] = [vec![], vec![1; 10], vec![2; 70_000], vec![3]];
    fuzz("sealed", &corpus("sealed", &[]), |orders| {
        waiter.wait(async {
            let (to_receiver, receiver) = pair(&listener).await;
            let between = async {
                let (mut left, mut right) = (listener.accept().await.unwrap().0, to_receiver);
                let mut hello = [0; HELLO_BYTES];
                left.read_exact(&mut hello).await.unwrap();
                right.write_all(&hello).await.unwrap();
                right.read_exact(&mut hello).await.unwrap();
                left.write_all(&hello).await.unwrap();
                let mut stream = Vec::new();
                left.read_to_end(&mut stream).await.unwrap();
                meddle(&mut stream, orders);
                say(right, &stream).await;
            };
            let send = async {
                let mut channel = Channel::connect(&address, &run, &key).await.unwrap();
                for message in &sent {
                    channel.send(message).await.unwrap();
                }
            };
            let receive = async {
                let mut channel = Channel::accept(receiver, &run, &key).await.unwrap();
                let mut got = Vec::new();
                while let Ok(Some(message)) = channel.recv::<Vec<u8>>().await {
                    got.push(message);
                }
                got
            };
            let ((), (), got) = tokio::join!(between, send, receive);
            assert!(sent.starts_with(&got), "something else arrived than was sent");
            assert!(!orders.is_empty() || got.len() == sent.len());
        });
    });
}

/// The first words of a member, which are others each time: only where there are none yet.
#[test]
fn first_words() {
    if std::env::var_os("LOCKSTEP_REFRESH").is_some() {
        let waiter = Waiter::new();
        let (run, key) = run_and_key(&waiter);
        let mut hello = vec![0; HELLO_BYTES];
        let (listener, address) = listener(&waiter);
        waiter.wait(async {
            let listen = async {
                let mut stream = listener.accept().await.unwrap().0;
                stream.read_exact(&mut hello).await.unwrap();
            };
            let _ = tokio::join!(Channel::connect(&address, &run, &key), listen);
        });
        current("handshake", &[("member", hello)]);
    }
    let member = std::fs::read(folder("handshake") + "/member").unwrap_or_default();
    assert_eq!(member.len(), HELLO_BYTES, "there are none; make them with: {REFRESH}");
}
