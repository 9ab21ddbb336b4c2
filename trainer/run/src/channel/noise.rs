use crate::{ControlKey, RunUid};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use snow::{Builder, HandshakeState, StatelessTransportState};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::codec::{Framed, FramedRead, FramedWrite, LengthDelimitedCodec};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
/// Noise allows 65,535 bytes a message; 16 are the tag, one says whether more follows.
const MAX_PIECE_BYTES: usize = 65_535 - 16 - 1;
/// No control message is near this; a peer that claims more is refused before anything is allocated.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

pub(super) struct Opener {
    frames: FramedRead<OwnedReadHalf, LengthDelimitedCodec>,
    keys: Arc<StatelessTransportState>,
    nonce: u64,
}

pub(super) struct Sealer {
    frames: FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>,
    keys: Arc<StatelessTransportState>,
    nonce: u64,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener({} messages)", self.nonce)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({} messages)", self.nonce)
    }
}

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().length_field_type::<u16>().max_frame_length(65_535).new_codec()
}

fn failed(e: snow::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("handshake or decryption failed ({e}): another run's key, or a damaged message"),
    )
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection during the handshake")
}

pub(super) async fn initiate(
    stream: TcpStream,
    run: &RunUid,
    key: &ControlKey,
) -> io::Result<(Opener, Sealer)> {
    let mut noise = builder(run, key)?.build_initiator().map_err(failed)?;
    let mut frames = frame(stream)?;
    say(&mut noise, &mut frames).await?;
    hear(&mut noise, &mut frames).await?;
    transport(noise, frames)
}

pub(super) async fn respond(
    stream: TcpStream,
    run: &RunUid,
    key: &ControlKey,
) -> io::Result<(Opener, Sealer)> {
    let mut noise = builder(run, key)?.build_responder().map_err(failed)?;
    let mut frames = frame(stream)?;
    hear(&mut noise, &mut frames).await?;
    say(&mut noise, &mut frames).await?;
    transport(noise, frames)
}

fn builder<'a>(run: &'a RunUid, key: &'a ControlKey) -> io::Result<Builder<'a>> {
    let params = PATTERN.parse().map_err(failed)?;
    Builder::new(params).prologue(run.0.as_bytes()).and_then(|b| b.psk(0, &key.0)).map_err(failed)
}

fn frame(stream: TcpStream) -> io::Result<Framed<TcpStream, LengthDelimitedCodec>> {
    stream.set_nodelay(true)?;
    Ok(Framed::new(stream, codec()))
}

async fn say(
    noise: &mut HandshakeState,
    frames: &mut Framed<TcpStream, LengthDelimitedCodec>,
) -> io::Result<()> {
    let mut out = vec![0; 256];
    let n = noise.write_message(&[], &mut out).map_err(failed)?;
    out.truncate(n);
    frames.send(Bytes::from(out)).await
}

async fn hear(
    noise: &mut HandshakeState,
    frames: &mut Framed<TcpStream, LengthDelimitedCodec>,
) -> io::Result<()> {
    let frame = frames.next().await.ok_or_else(gone)??;
    noise.read_message(&frame, &mut vec![0; frame.len()]).map_err(failed)?;
    Ok(())
}

fn transport(
    noise: HandshakeState,
    frames: Framed<TcpStream, LengthDelimitedCodec>,
) -> io::Result<(Opener, Sealer)> {
    let keys = Arc::new(noise.into_stateless_transport_mode().map_err(failed)?);
    let parts = frames.into_parts();
    let (read, write) = parts.io.into_split();
    let mut reader = FramedRead::new(read, codec());
    // What came right behind the handshake is already in the buffer.
    *reader.read_buffer_mut() = parts.read_buf;
    let opener = Opener { frames: reader, keys: keys.clone(), nonce: 0 };
    Ok((opener, Sealer { frames: FramedWrite::new(write, codec()), keys, nonce: 0 }))
}

impl Opener {
    /// The next whole message; `None` at the end of the stream.
    pub(super) async fn open(&mut self) -> io::Result<Option<BytesMut>> {
        let mut message = BytesMut::new();
        loop {
            let Some(frame) = self.frames.next().await.transpose()? else { return Ok(None) };
            let mut plain = vec![0; frame.len()];
            let n = self.keys.read_message(self.nonce, &frame, &mut plain).map_err(failed)?;
            self.nonce += 1;
            let Some((more, piece)) = plain[..n].split_first() else { return Err(gone()) };
            if message.len() + piece.len() > MAX_MESSAGE_BYTES {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "it sent a message of more than 64 MiB",
                ));
            }
            message.extend_from_slice(piece);
            if *more == 0 {
                return Ok(Some(message));
            }
        }
    }
}

impl Sealer {
    /// Sends one message in as many pieces as it takes.
    pub(super) async fn seal(&mut self, message: &Bytes) -> io::Result<()> {
        let num_pieces = message.len().div_ceil(MAX_PIECE_BYTES).max(1);
        for i in 0..num_pieces {
            let piece = &message[i * MAX_PIECE_BYTES..message.len().min((i + 1) * MAX_PIECE_BYTES)];
            let mut plain = Vec::with_capacity(piece.len() + 1);
            plain.put_u8(u8::from(i + 1 < num_pieces));
            plain.extend_from_slice(piece);
            let mut sealed = vec![0; plain.len() + 16];
            let n = self.keys.write_message(self.nonce, &plain, &mut sealed).map_err(failed)?;
            self.nonce += 1;
            sealed.truncate(n);
            self.frames.feed(Bytes::from(sealed)).await?;
        }
        SinkExt::<Bytes>::flush(&mut self.frames).await
    }
}
