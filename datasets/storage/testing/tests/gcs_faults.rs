//! Google Cloud Storage on a bad day, where it differs from S3: conditions by generation. Each test asks for faults, and
//! checks that they were really shown.

use std::time::Duration;

use bytes::Bytes;
use lockstep_storage::{Created, Error, conformance::CHECKS};
use lockstep_storage_testing::{
    Access,
    Call::{Head, Multipart, Put},
    Fault, GcsServer,
};

const PATIENT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_write_that_was_applied_is_ours_whatever_was_answered() {
    let server = GcsServer::start(Access::Open).unwrap();
    let s = server.storage("runs", PATIENT);
    for (name, fault) in [("503", Fault::AppliedThenUnavailable), ("drop", Fault::AppliedThenDropped)] {
        server.faults().add(Put, name, fault, 1);
        assert_eq!(s.create(name, "mine".into()).await.unwrap(), Created::Ours, "{name}");
        assert_eq!(s.create(name, "other".into()).await.unwrap(), Created::Theirs("mine".into()));
        let there = s.head(name).await.unwrap();
        server.faults().add(Put, name, fault, 1);
        assert!(s.replace(&there, "new".into()).await.unwrap(), "{name}");
        assert!(!s.replace(&there, "newer".into()).await.unwrap(), "{name}");
        assert_eq!(s.get(name).await.unwrap(), "new");
    }
    assert_eq!(server.faults().left(), 0);
}

#[tokio::test]
async fn what_was_changed_between_question_and_write_is_left_alone() {
    let server = GcsServer::start(Access::Open).unwrap();
    let s = server.storage("runs", PATIENT);
    s.put("object", "first".into()).await.unwrap();
    let first = s.head("object").await.unwrap();
    // The same bytes again are another generation with the same ETag: nothing that the caller knows of has changed.
    s.put("object", "first".into()).await.unwrap();
    assert!(s.replace(&first, "second".into()).await.unwrap());
    assert!(!s.replace(&first, "third".into()).await.unwrap());
    assert_eq!(s.get("object").await.unwrap(), "second");
}

#[tokio::test]
async fn short_outages_are_ridden_out() {
    let server = GcsServer::start(Access::Open).unwrap();
    let s = server.storage("runs", PATIENT);
    server.faults().add(Head, "", Fault::Unavailable, 2);
    server.faults().add(Multipart, "", Fault::Unavailable, 3);
    s.put("large", Bytes::from(vec![1; 20 << 20])).await.unwrap();
    assert_eq!(s.head("large").await.unwrap().bytes, 20 << 20);
    assert_eq!(server.faults().left(), 0);
}

#[tokio::test]
async fn a_caller_without_the_token_is_refused_by_name() {
    let server = GcsServer::start(Access::Open).unwrap();
    let s = server.storage("runs", PATIENT);
    server.faults().add(Put, "", Fault::Denied, 1);
    let error = s.create("object", "x".into()).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("gs://lockstep/runs/object"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_forgets_conditions_breaks_the_contract_of_races() {
    let server = GcsServer::start(Access::Open).unwrap();
    let s = server.storage("runs", PATIENT);
    server.faults().add(Put, "create-race", Fault::Unconditional, 1000);
    let check = CHECKS.iter().find(|check| check.name == "create-race").unwrap();
    let seen = check.run(&s, "contract").await.unwrap_err();
    assert_eq!(seen, "16 of 16 racing creates were told that they won");
}
