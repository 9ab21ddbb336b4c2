use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
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
use lockstep_storage::{Limits, Options, Storage, open_with};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use tokio::{net::TcpListener, sync::oneshot};

use crate::{Call, Fault, Faults, backend::Backend};

pub(crate) const BUCKET: &str = "lockstep";
const ACCESS_KEY: &str = "test";
const SECRET_KEY: &str = "test-secret";

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An S3 server on a loopback port with one bucket in memory. It runs on its own thread and stops when dropped.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    faults: Faults,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl S3Server {
    /// Starts a server with an empty bucket.
    ///
    /// # Errors
    /// When no port or no thread can be had.
    pub fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let faults = Faults::default();
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let served = serve(listener, faults.clone());
        let thread = thread::Builder::new().name("s3-test-server".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! { () = served => (), _ = stopped => () }
            });
        })?;
        Ok(Self { address, faults, stop: Some(stop), thread: Some(thread) })
    }

    /// The loopback port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Where to ask for failures.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The URI of a folder in the bucket.
    pub fn uri(&self, folder: &str) -> String {
        format!("s3://{BUCKET}/{folder}")
    }

    /// The `AWS_*` variables for a child process that is to use this server.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
            ("AWS_REGION", "us-east-1".into()),
        ]
    }

    /// The same settings for [`open_with`], with the default deadlines.
    pub fn options(&self) -> Options {
        let config = self.env().into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        Options { config, limits: Limits::default() }
    }

    /// A storage on a folder of the bucket, whose calls (without retries that help) end within `call`.
    pub fn storage(&self, folder: &str, call: Duration) -> Arc<dyn Storage> {
        let limits = Limits { call, ..Limits::default() };
        open_with(&self.uri(folder), &Options { limits, ..self.options() }).unwrap()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener, faults: Faults) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut builder = S3ServiceBuilder::new(Backend::default());
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = builder.build();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Without it small answers wait 40 ms for the client's delayed ACK.
        let _ = stream.set_nodelay(true);
        let (service, faults) = (service.clone(), faults.clone());
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(request, &service, &faults));
            // Ends with an error whenever a fault drops the connection.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

/// An `Err` closes the connection without an answer.
async fn answer(
    request: Request<Incoming>,
    service: &S3Service,
    faults: &Faults,
) -> io::Result<Response<Body>> {
    let fault = faults.take(call(&request), request.uri().path());
    match fault {
        None => forward(request.map(s3s::Body::from), service).await,
        Some(Fault::Unavailable) => Ok(plain(StatusCode::SERVICE_UNAVAILABLE)),
        Some(Fault::Denied) => Ok(plain(StatusCode::FORBIDDEN)),
        Some(Fault::Silent) => std::future::pending().await,
        Some(Fault::UploadBitFlip(at)) => {
            let (parts, body) = request.into_parts();
            let mut body = body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec();
            flip(&mut body, at);
            forward(Request::from_parts(parts, s3s::Body::from(body)), service).await
        }
        Some(fault) => spoil(forward(request.map(s3s::Body::from), service).await?, fault).await,
    }
}

async fn forward(request: Request<s3s::Body>, service: &S3Service) -> io::Result<Response<Body>> {
    let response = service.call(request).await.map_err(|error| io::Error::other(format!("{error:?}")))?;
    Ok(response.map(|body| body.map_err(io::Error::other).boxed_unsync()))
}

async fn spoil(response: Response<Body>, fault: Fault) -> io::Result<Response<Body>> {
    let (mut head, body) = response.into_parts();
    let mut body = body.collect().await?.to_bytes().to_vec();
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
            flip(&mut body, at);
            (body.len(), futures::stream::empty().boxed())
        }
        Fault::Unavailable | Fault::Denied | Fault::Silent | Fault::UploadBitFlip(_) => {
            unreachable!("shown before the call")
        }
    };
    body.truncate(sent);
    let start = futures::stream::iter([Ok(Frame::data(Bytes::from(body)))]);
    Ok(Response::from_parts(head, StreamBody::new(start.chain(ending)).boxed_unsync()))
}

fn flip(body: &mut [u8], at: usize) {
    if let Some(byte) = body.get_mut(at) {
        *byte ^= 1;
    }
}

fn plain(status: StatusCode) -> Response<Body> {
    let body = http_body_util::Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn call(request: &Request<Incoming>) -> Call {
    let query = request.uri().query().unwrap_or("");
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    match *request.method() {
        Method::HEAD => Call::Head,
        Method::GET if has("list-type") => Call::List,
        Method::GET => Call::Get,
        Method::POST if has("delete") => Call::Delete,
        Method::DELETE if !has("uploadId") => Call::Delete,
        Method::PUT if !has("partNumber") => Call::Put,
        _ => Call::Multipart,
    }
}
