//! S3 as it is on a bad day. Each test asks for faults, and checks that they were really shown.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lockstep_storage::{Created, Error, Options, open_with};
use lockstep_storage_testing::{
    Call::{Delete, Get, Head, List, Multipart, Put},
    Fault, S3Server,
};

const PATIENT: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_secs(2);

fn body() -> Bytes {
    Bytes::from((0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>())
}

#[tokio::test]
async fn a_create_that_was_applied_is_ours_whatever_was_answered() {
    let server = S3Server::start().unwrap();
    let s = server.storage("runs", PATIENT);
    for (name, fault) in [("503", Fault::AppliedThenUnavailable), ("drop", Fault::AppliedThenDropped)] {
        server.faults().add(Put, name, fault, 1);
        assert_eq!(s.create(name, "mine".into()).await.unwrap(), Created::Ours, "{name}");
        assert_eq!(s.create(name, "other".into()).await.unwrap(), Created::Theirs("mine".into()));
    }
    assert_eq!(server.faults().left(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_creates_have_one_winner_under_faults() {
    let server = S3Server::start().unwrap();
    let s = server.storage("runs", PATIENT);
    for round in 0..5 {
        let path = format!("race-{round}");
        server.faults().add(Put, &path, Fault::AppliedThenUnavailable, 3);
        server.faults().add(Put, &path, Fault::AppliedThenDropped, 3);
        server.faults().add(Put, &path, Fault::Unavailable, 3);
        let racers: Vec<_> = (0..16)
            .map(|writer| {
                let (s, path) = (s.clone(), path.clone());
                tokio::spawn(async move { s.create(&path, format!("writer {writer}").into()).await.unwrap() })
            })
            .collect();
        let answers = futures::future::join_all(racers).await;
        let ours = answers.into_iter().filter(|created| *created.as_ref().unwrap() == Created::Ours).count();
        assert_eq!(ours, 1, "{path}");
    }
    assert_eq!(server.faults().left(), 0);
}

#[tokio::test]
async fn short_outages_are_ridden_out() {
    let server = S3Server::start().unwrap();
    let s = server.storage("runs", PATIENT);
    for call in [Put, Head, Get, List, Delete] {
        server.faults().add(call, "", Fault::Unavailable, 2);
    }
    s.put("object", body()).await.unwrap();
    s.head("object").await.unwrap();
    assert_eq!(s.get("object").await.unwrap(), body());
    assert_eq!(s.list("").await.unwrap().len(), 1);
    s.delete("object").await.unwrap();
    server.faults().add(Multipart, "", Fault::Unavailable, 3);
    s.put("large", Bytes::from(vec![1; 20 << 20])).await.unwrap();
    assert_eq!(s.head("large").await.unwrap().bytes, 20 << 20);
    assert_eq!(server.faults().left(), 0);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_fetched_again_or_refused() {
    let server = S3Server::start().unwrap();
    let s = server.storage("runs", PATIENT);
    s.put("object", body()).await.unwrap();
    server.faults().add(Get, "object", Fault::ResetAfter(1000), 2);
    match s.get("object").await {
        Ok(whole) => assert_eq!(whole, body()),
        Err(error) => assert!(matches!(error, Error::Unavailable { .. }), "{error:?}"),
    }
    server.faults().clear();
    assert_eq!(s.get("object").await.unwrap(), body());
}

#[tokio::test]
async fn an_outage_and_silence_end_in_bounded_time() {
    let server = S3Server::start().unwrap();
    let s = server.storage("runs", SHORT);
    s.put("object", body()).await.unwrap();
    for (name, fault) in
        [("503", Fault::Unavailable), ("silent", Fault::Silent), ("stalled", Fault::Stalled(10))]
    {
        server.faults().add(Get, "object", fault, 1000);
        server.faults().add(Put, name, fault, 1000);
        let begin = Instant::now();
        let error = s.get("object").await.unwrap_err();
        assert!(error.is_transient(), "{name}: {error:?}");
        assert!(error.to_string().contains("s3://lockstep/runs/object"), "{error}");
        assert!(begin.elapsed() < 3 * SHORT, "{name} took {:?}", begin.elapsed());
        server.faults().clear();
    }
}

#[tokio::test]
async fn a_denied_call_is_not_retried() {
    let server = S3Server::start().unwrap();
    let s = server.storage("runs", PATIENT);
    server.faults().add(Put, "", Fault::Denied, 2);
    let error = s.create("object", "x".into()).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert_eq!(server.faults().left(), 1);
}

#[tokio::test]
async fn an_upload_that_was_damaged_on_the_way_is_not_stored() {
    let server = S3Server::start().unwrap();
    let s = server.storage("runs", PATIENT);
    server.faults().add(Put, "object", Fault::UploadBitFlip(500), 1);
    s.put("object", body()).await.unwrap_err();
    assert!(s.get("object").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn wrong_keys_and_a_wrong_bucket_are_told_apart_from_absence() {
    let server = S3Server::start().unwrap();
    let mut options: Options = server.options();
    options.config.push(("aws_secret_access_key".into(), "wrong".into()));
    let s = open_with(&server.uri("runs"), &options).unwrap();
    let error = s.get("object").await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");

    let s = open_with("s3://no-such-bucket/runs", &server.options()).unwrap();
    let error = s.put("object", "x".into()).await.unwrap_err();
    assert!(error.to_string().contains("s3://no-such-bucket/runs/object"), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_an_error_in_bounded_time() {
    let server = S3Server::start().unwrap();
    let s = server.storage("runs", SHORT);
    drop(server);
    let begin = Instant::now();
    let error = s.create("object", "x".into()).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(begin.elapsed() < 3 * SHORT, "{:?}", begin.elapsed());
}
