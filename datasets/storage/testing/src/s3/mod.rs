mod backend;

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Method, Request, Response};
use lockstep_storage::{Limits, Options, Storage, open_with};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};

use crate::{
    Call, Faults,
    server::{Body, Protocol, Server},
};
use backend::{BUCKET, Backend};

const ACCESS_KEY: &str = "test";
const SECRET_KEY: &str = "test-secret";

/// An S3 server on a loopback port with one bucket in memory. It runs on its own thread and stops when dropped.
#[derive(Debug)]
pub struct S3Server(Server);

impl S3Server {
    /// Starts a server with an empty bucket.
    ///
    /// # Errors
    /// When no port or no thread can be had.
    pub fn start() -> io::Result<Self> {
        let mut builder = S3ServiceBuilder::new(Backend::default());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Server::start("s3-test-server", loopback, Amazon(builder.build())).map(Self)
    }

    /// The loopback port.
    pub fn port(&self) -> u16 {
        self.0.address().port()
    }

    /// Where to ask for failures.
    pub fn faults(&self) -> &Faults {
        self.0.faults()
    }

    /// The URI of a folder in the bucket.
    pub fn uri(&self, folder: &str) -> String {
        format!("s3://{BUCKET}/{folder}")
    }

    /// The `AWS_*` variables for a child process that is to use this server.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", format!("http://{}", self.0.address())),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
            ("AWS_REGION", "us-east-1".into()),
        ]
    }

    /// The same settings for [`open_with`], with the default deadlines.
    pub fn options(&self) -> Options {
        crate::options(self.env())
    }

    /// A storage on a folder of the bucket, whose calls (without retries that help) end within `call`.
    pub fn storage(&self, folder: &str, call: Duration) -> Arc<dyn Storage> {
        let limits = Limits { call, ..Limits::default() };
        open_with(&self.uri(folder), &Options { limits, ..self.options() }).unwrap()
    }
}

#[derive(Clone)]
struct Amazon(S3Service);

impl Protocol for Amazon {
    // They are signed: without them the signature would be wrong.
    const CONDITIONS: &'static [&'static str] = &[];

    fn call(method: &Method, has: &dyn Fn(&str) -> bool) -> Call {
        match *method {
            Method::HEAD => Call::Head,
            Method::GET if has("list-type") => Call::List,
            Method::GET => Call::Get,
            Method::POST if has("delete") => Call::Delete,
            Method::DELETE if !has("uploadId") => Call::Delete,
            Method::PUT if !has("partNumber") => Call::Put,
            _ => Call::Multipart,
        }
    }

    async fn answer(&self, request: Request<Bytes>) -> io::Result<Response<Body>> {
        let answer = self.0.call(request.map(s3s::Body::from)).await;
        let answer = answer.map_err(|error| io::Error::other(format!("{error:?}")))?;
        Ok(answer.map(|body| body.map_err(io::Error::other).boxed_unsync()))
    }
}
