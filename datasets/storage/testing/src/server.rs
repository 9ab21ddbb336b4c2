//! An HTTP server on a loopback port that fails as it is told to, whatever protocol it speaks.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::CONTENT_LENGTH,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::{net::TcpListener, sync::oneshot};

use crate::{Call, Fault, Faults};

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What answers requests when no fault does.
pub(crate) trait Protocol: Clone + Send + Sync + 'static {
    /// Headers with the conditions of a write, where they can be taken off.
    const CONDITIONS: &'static [&'static str];

    /// Which call a request is; `has` tells whether its query has a parameter.
    fn call(method: &Method, has: &dyn Fn(&str) -> bool) -> Call;

    /// The answer to a whole request.
    fn answer(&self, request: Request<Bytes>) -> impl Future<Output = io::Result<Response<Body>>> + Send;
}

/// It runs on its own thread and stops when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    faults: Faults,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(name: &str, ip: IpAddr, protocol: impl Protocol) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = StdListener::bind((ip, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let faults = Faults::default();
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let served = serve(listener, protocol, faults.clone());
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! { () = served => (), _ = stopped => () }
            });
        })?;
        Ok(Self { address, faults, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: StdListener, protocol: impl Protocol, faults: Faults) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Without it small answers wait 40 ms for the client's delayed ACK.
        let _ = stream.set_nodelay(true);
        let (protocol, faults) = (protocol.clone(), faults.clone());
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(request, &protocol, &faults));
            // Ends with an error whenever a fault drops the connection.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

/// An `Err` closes the connection without an answer.
async fn answer<P: Protocol>(
    request: Request<Incoming>,
    protocol: &P,
    faults: &Faults,
) -> io::Result<Response<Body>> {
    let query = request.uri().query().unwrap_or("");
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    // Clients may escape a key's hyphens and slashes too.
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
    let fault = faults.take(P::call(request.method(), &has), &path);
    match fault {
        Some(Fault::Unavailable) => return Ok(plain(StatusCode::SERVICE_UNAVAILABLE)),
        Some(Fault::Denied) => return Ok(plain(StatusCode::FORBIDDEN)),
        Some(Fault::Silent) => std::future::pending().await,
        _ => (),
    }
    let (mut parts, body) = request.into_parts();
    if fault == Some(Fault::Unconditional) {
        P::CONDITIONS.iter().for_each(|name| drop(parts.headers.remove(*name)));
    }
    let mut body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    if let Some(Fault::UploadBitFlip(at)) = fault {
        body = flip(&body, at);
    }
    let answer = protocol.answer(Request::from_parts(parts, body)).await?;
    match fault {
        None | Some(Fault::UploadBitFlip(_) | Fault::Unconditional) => Ok(answer),
        Some(fault) => spoil(answer, fault).await,
    }
}

async fn spoil(response: Response<Body>, fault: Fault) -> io::Result<Response<Body>> {
    let (mut head, body) = response.into_parts();
    let mut body = body.collect().await?.to_bytes();
    let (sent, ending) = match fault {
        Fault::AppliedThenUnavailable => return Ok(plain(StatusCode::SERVICE_UNAVAILABLE)),
        Fault::AppliedThenDropped => return Err(io::ErrorKind::ConnectionReset.into()),
        Fault::ResetAfter(bytes) => {
            (bytes, futures::stream::iter([Err(io::ErrorKind::ConnectionReset.into())]).boxed())
        }
        Fault::Stalled(bytes) => (bytes, futures::stream::pending().boxed()),
        Fault::Truncated(bytes) => {
            head.headers.insert(CONTENT_LENGTH, body.len().min(bytes).into());
            (bytes, futures::stream::empty().boxed())
        }
        Fault::BitFlip(at) => {
            body = flip(&body, at);
            (body.len(), futures::stream::empty().boxed())
        }
        Fault::Unavailable
        | Fault::Denied
        | Fault::Silent
        | Fault::UploadBitFlip(_)
        | Fault::Unconditional => {
            unreachable!("shown before the call")
        }
    };
    body.truncate(sent);
    let start = futures::stream::iter([Ok(Frame::data(body))]);
    Ok(Response::from_parts(head, StreamBody::new(start.chain(ending)).boxed_unsync()))
}

fn flip(body: &[u8], at: usize) -> Bytes {
    let mut body = body.to_vec();
    if let Some(byte) = body.get_mut(at) {
        *byte ^= 1;
    }
    body.into()
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// A body that is there at once.
pub(crate) fn whole(body: Bytes) -> Body {
    http_body_util::Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync()
}
