//! The conformance suite on every implementation.

use std::time::Duration;

use lockstep_storage::open;
use lockstep_storage_testing::{S3Server, conformance};

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
    conformance::run(server.storage("", Duration::from_secs(30))).await;
    conformance::run(server.storage("some/prefix", Duration::from_secs(30))).await;
}
