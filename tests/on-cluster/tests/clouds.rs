//! The same run on each cloud's protocol, in pods: data, checkpoints and credentials as that cloud's users give them.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::{Space, variable};
use lockstep_e2e::repository;
use lockstep_storage_testing::{Access, Azurite, GcsServer};
use std::net::{IpAddr, Ipv4Addr};

/// This machine's own end of the cluster's network, where pods reach a server of the test's own.
fn here() -> IpAddr {
    let url = variable("AWS_ENDPOINT_URL");
    let hub: Ipv4Addr = url.split_once("://").unwrap().1.split(':').next().unwrap().parse().unwrap();
    let [a, b, c, _] = hub.octets();
    // As tests/cluster/lib/address.sh lays it out.
    IpAddr::from([a, b, c, 254])
}

/// A run whose data and records are in a bucket that `env` leads to; its pods have that as the Secret `cloud`.
fn trains(purpose: &str, bucket: &str, env: Vec<(&str, String)>) {
    let mut space = Space::new(purpose);
    let literals: Vec<_> = env.iter().map(|(name, value)| format!("--from-literal={name}={value}")).collect();
    let mut words = vec!["create", "secret", "generic", "cloud"];
    words.extend(literals.iter().map(String::as_str));
    space.kubectl(&words);
    for (name, value) in &env {
        space.workspace.set_env(name, value);
    }
    let (storage, data) = (format!("{bucket}{}", space.name), format!("{bucket}digits"));
    space.run(&format!("data copy {} {data}", repository().join("datasets/digits").display())).expect_code(0);
    let more = format!(
        "--set storage={storage} --set data.train.uri={data} --set data.eval.uri={data} --set kubernetes.secrets=[{{\"name\":\"cloud\"}}]"
    );
    space.run(&format!("launch {}", space.digits("digits", &more))).expect_code(0);
    assert_eq!(space.status("digits")["phase"], "done");
    let run = format!("{storage}/digits");
    space.run(&format!("checkpoint verify {run}")).expect_code(0);
    let stored = space.run(&format!("status {run} --output json")).expect_code(0).json();
    assert_eq!(stored["phase"], "done", "{stored:#}");
    space.leaves_nothing("digits");
}

#[test]
fn a_run_on_google_cloud_storage_gets_its_token_from_the_metadata_server() {
    let server = GcsServer::start_at(here(), Access::ByToken).unwrap();
    trains("gcs", &server.uri(""), server.env());
}

#[test]
fn a_run_on_azure_has_its_accounts_key() {
    let server = Azurite::start_at(here());
    trains("azure", &server.uri(""), server.env());
}
