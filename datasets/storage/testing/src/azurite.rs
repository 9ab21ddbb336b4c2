use std::{
    net::{IpAddr, Ipv4Addr},
    process::Command,
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use lockstep_storage::{Storage, open_with};
use sha2::Sha256;

use crate::{
    moto::request,
    process::{Process, installed},
};

const ACCOUNT: &str = "lockstep";
const KEY: &[u8] = b"lockstep-test-key";
const CONTAINER: &str = "runs";

/// Azurite, Microsoft's own emulator of Azure's blobs, with one container in memory.
#[derive(Debug)]
pub struct Azurite {
    _process: Process,
    endpoint: String,
}

impl Azurite {
    /// Brings it into the cache if need be, and starts it on a loopback port.
    ///
    /// # Panics
    /// When it can't be had or doesn't begin in time.
    pub fn start() -> Self {
        Self::start_at(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// As [`start`](Self::start), on another address of this machine.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_at(ip: IpAddr) -> Self {
        let mut command = Command::new(installed("azurite.sh"));
        command.args(["--blobHost", &ip.to_string(), "--blobPort", "0", "--inMemoryPersistence"]);
        command.args(["--disableTelemetry", "--skipApiVersionCheck", "--disableProductStyleUrl", "--silent"]);
        command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{}", BASE64_STANDARD.encode(KEY)));
        let (process, url) = Process::start(&command, "successfully listens on ");
        let azurite = Self { _process: process, endpoint: format!("{url}/{ACCOUNT}") };
        azurite.make_container();
        azurite
    }

    /// The URI of a folder in the container.
    pub fn uri(&self, folder: &str) -> String {
        format!("az://{CONTAINER}/{folder}")
    }

    /// The variables for a child process that is to use this server.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AZURE_STORAGE_ENDPOINT", self.endpoint.clone()),
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.into()),
            ("AZURE_STORAGE_ACCOUNT_KEY", BASE64_STANDARD.encode(KEY)),
        ]
    }

    /// A storage on a folder of the container.
    pub fn storage(&self, folder: &str) -> Arc<dyn Storage> {
        open_with(&self.uri(folder), &crate::options(self.env())).unwrap()
    }

    /// object_store makes no containers. Signed by the account's key, as
    /// <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key> says.
    fn make_container(&self) {
        const VERSION: &str = "2023-11-03";
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()).unwrap();
        let empty = "\n".repeat(12);
        let resource = format!("/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container");
        let signed = format!("PUT{empty}x-ms-date:{date}\nx-ms-version:{VERSION}\n{resource}");
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
        mac.update(signed.as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let head = format!(
            "PUT /{ACCOUNT}/{CONTAINER}?restype=container HTTP/1.1\r\nContent-Length: 0\r\nx-ms-date: {date}\r\n\
             x-ms-version: {VERSION}\r\nAuthorization: SharedKey {ACCOUNT}:{signature}\r\n"
        );
        request(&self.endpoint, &head);
    }
}
