//! The conformance suite on every implementation and protocol.

use std::time::Duration;

use lockstep_storage::open;
use lockstep_storage_testing::{Access, Azurite, GcsServer, S3Server, conformance};

const PATIENT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory() {
    conformance::run(open("memory://").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn local_files() {
    let folder = tempfile::tempdir().unwrap();
    conformance::run(open(folder.path().join("not/made/yet").to_str().unwrap()).unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    conformance::run(open(&format!("file://{}", folder.path().display())).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s3() {
    let server = S3Server::start().unwrap();
    conformance::run(server.storage("some/prefix", PATIENT)).await;
    let server = S3Server::start().unwrap();
    conformance::run(server.storage("", PATIENT)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn gcs() {
    let server = GcsServer::start(Access::Open).unwrap();
    conformance::run(server.storage("some/prefix", PATIENT)).await;
    let server = GcsServer::start(Access::Open).unwrap();
    conformance::run(server.storage("", PATIENT)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn azurite() {
    conformance::run(Azurite::start().storage("some/prefix")).await;
    conformance::run(Azurite::start().storage("")).await;
}
