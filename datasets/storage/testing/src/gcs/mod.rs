mod answers;
mod objects;

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use hyper::{Method, Request, Response, StatusCode, header::AUTHORIZATION};
use lockstep_storage::{Limits, Options, Storage, open_with};

use crate::{
    Call, Faults,
    server::{Body, Protocol, Server},
};
use answers::{Query, error, json, route};
use objects::Objects;

const BUCKET: &str = "lockstep";
/// What a machine's metadata server, which this server plays too, hands out.
const TOKEN: &str = "test-token";
const TOKEN_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// A service account for servers that look at no signature. (object_store's `skip_signature` doesn't hold for writes.)
const UNSIGNED: &str = r#"{"private_key":"","private_key_id":"","client_email":"","disable_oauth":true}"#;

/// Who may use a [`GcsServer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody, unsigned.
    Open,
    /// Who brings the token that the metadata server on the same port hands out.
    ByToken,
}

/// A server of Google Cloud Storage's XML API, with one bucket in memory. It runs on its own thread and stops when dropped.
///
/// It knows what object_store asks for: objects, preconditions on generations, listings in pages, uploads in parts. Not
/// modelled: keys of service accounts, IAM, versions, holds, the limit of one write a second to a name.
#[derive(Debug)]
pub struct GcsServer {
    server: Server,
    access: Access,
    objects: Arc<Mutex<Objects>>,
}

impl GcsServer {
    /// Starts a server with an empty bucket on a loopback port.
    ///
    /// # Errors
    /// When no port or no thread can be had.
    pub fn start(access: Access) -> io::Result<Self> {
        Self::start_at(IpAddr::V4(Ipv4Addr::LOCALHOST), access)
    }

    /// As [`start`](Self::start), on another address of this machine.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_at(ip: IpAddr, access: Access) -> io::Result<Self> {
        let objects = Arc::default();
        let google = Google { access, objects: Arc::clone(&objects) };
        Ok(Self { server: Server::start("gcs-test-server", ip, google)?, access, objects })
    }

    /// Where to ask for failures.
    pub fn faults(&self) -> &Faults {
        self.server.faults()
    }

    /// How many objects the bucket holds.
    pub fn num_objects(&self) -> usize {
        self.objects.lock().unwrap().len()
    }

    /// The URI of a folder in the bucket.
    pub fn uri(&self, folder: &str) -> String {
        format!("gs://{BUCKET}/{folder}")
    }

    /// The variables for a child process that is to use this server.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let address = self.server.address();
        let url = ("GOOGLE_BASE_URL", format!("http://{address}"));
        match self.access {
            Access::Open => vec![url, ("GOOGLE_SERVICE_ACCOUNT_KEY", UNSIGNED.into())],
            // The second is asked where the first doesn't answer, and would be an address on the network.
            Access::ByToken => {
                vec![
                    url,
                    ("GCE_METADATA_HOST", address.to_string()),
                    ("GCE_METADATA_IP", address.to_string()),
                ]
            }
        }
    }

    /// A storage on a folder of the bucket of a server that is open to everybody. The address of a metadata server is taken
    /// from a process's environment only.
    pub fn storage(&self, folder: &str, call: Duration) -> Arc<dyn Storage> {
        assert_eq!(self.access, Access::Open);
        let limits = Limits { call, ..Limits::default() };
        open_with(&self.uri(folder), &Options { limits, ..crate::options(self.env()) }).unwrap()
    }
}

#[derive(Debug, Clone)]
struct Google {
    access: Access,
    objects: Arc<Mutex<Objects>>,
}

impl Protocol for Google {
    const CONDITIONS: &'static [&'static str] = &[answers::IF_GENERATION];

    fn call(method: &Method, has: &dyn Fn(&str) -> bool) -> Call {
        match *method {
            Method::HEAD => Call::Head,
            Method::GET if has("list-type") => Call::List,
            Method::GET => Call::Get,
            _ if has("uploads") || has("uploadId") => Call::Multipart,
            Method::DELETE => Call::Delete,
            _ => Call::Put,
        }
    }

    async fn answer(&self, request: Request<Bytes>) -> io::Result<Response<Body>> {
        let signed =
            request.headers().get(AUTHORIZATION).is_some_and(|held| held == &format!("Bearer {TOKEN}"));
        if request.uri().path() == TOKEN_PATH {
            return Ok(json(&format!(
                r#"{{"access_token":"{TOKEN}","expires_in":3600,"token_type":"Bearer"}}"#
            )));
        }
        if self.access == Access::ByToken && !signed {
            return Ok(error(StatusCode::UNAUTHORIZED, "AuthenticationRequired"));
        }
        let path =
            percent_encoding::percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
        let (bucket, key) =
            path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        if bucket != BUCKET {
            return Ok(error(StatusCode::NOT_FOUND, "NoSuchBucket"));
        }
        let query = Query::of(request.uri().query().unwrap_or(""));
        Ok(route(&mut self.objects.lock().unwrap(), key, &query, &request))
    }
}
