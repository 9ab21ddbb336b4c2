//! `GET /healthz` on the agent's port, for the kubelet's probes.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An agent whose loop doesn't answer by then isn't well.
const ANSWER_DEADLINE: Duration = Duration::from_secs(1);
/// A connection lasts no longer.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(5);

/// Serves one connection. What the agent does is found out by `ask`, which comes to `None` where nobody is left to tell.
pub(crate) async fn serve<A: Future<Output = Option<String>>>(stream: TcpStream, ask: impl Fn() -> A) {
    let answer = service_fn(|request| answer(request, ask()));
    let served = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    // A probe that leaves early has its answer from the status line, or doesn't want one.
    let _ = timeout(CONNECTION_DEADLINE, served).await;
}

async fn answer<B>(
    request: Request<B>,
    asked: impl Future<Output = Option<String>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match request.uri().path() {
        "/healthz" => match timeout(ANSWER_DEADLINE, asked).await {
            Ok(Some(reason)) => (StatusCode::OK, reason),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "the agent's loop does not answer".to_owned()),
        },
        _ => (StatusCode::NOT_FOUND, "there is only /healthz".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text + "\n")));
    *response.status_mut() = status;
    Ok(response)
}
