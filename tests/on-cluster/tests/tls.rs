//! A store that speaks TLS with a certificate of a private authority: `LOCKSTEP_CLUSTER_TLS=1 tests/cluster/run-tests.sh tls`.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::{Space, image, variable};

/// How a job file gives the authority's certificate to its pods.
const TRUST: &str = r#"--set kubernetes.env={"SSL_CERT_FILE":"/authority/ca.crt"} --set kubernetes.volumes=[{"configMap":"authority","mountPath":"/authority","readOnly":true}]"#;

fn space(purpose: &str) -> Space {
    assert!(
        variable("AWS_ENDPOINT_URL").starts_with("https://"),
        "start the cluster with LOCKSTEP_CLUSTER_TLS=1"
    );
    let space = Space::new(purpose);
    let file = format!("--from-file=ca.crt={}", variable("SSL_CERT_FILE"));
    space.kubectl(&["create", "configmap", "authority", &file]);
    space
}

#[test]
fn a_run_keeps_everything_in_a_store_whose_authority_it_is_given() {
    let space = space("tls");
    space.run(&format!("launch {}", space.digits("digits", TRUST))).expect_code(0);
    let folder = format!("{}/digits", space.storage());
    space.run(&format!("checkpoint verify {folder}")).expect_code(0);
    space.run(&format!("doctor -n {} --storage {}", space.name, space.storage())).expect_code(0);
    space.leaves_nothing("digits");
}

#[test]
fn an_agent_that_is_brought_into_an_image_trusts_it_too() {
    let space = space("tls-inject");
    let store = variable("AWS_ENDPOINT_URL").replace("https://", "");
    let more = format!(
        "  agentImage: {}\n  env: {{ SSL_CERT_FILE: /authority/ca.crt }}\n  volumes: [{{ configMap: authority, mountPath: /authority, readOnly: true }}]\n",
        image()
    );
    let job = space.command_in(
        "lockstep.test/tools:1",
        "alone",
        &format!("[/peer, '7000', '0', '{store}']"),
        &more,
    );
    space.run(&format!("launch -f {job}")).expect_code(0);
    space.leaves_nothing("alone");
}

#[test]
fn who_is_not_given_the_authority_is_told_how() {
    let mut space = space("tls-unknown");
    let failed = space.run(&format!("launch {}", space.digits("digits", ""))).expect_code(1);
    for words in ["certificate of the store of s3://", "is not trusted", "UnknownIssuer", "SSL_CERT_FILE"] {
        assert!(failed.stderr.contains(words), "no {words:?} in:\n{}", failed.stderr);
    }
    space.leaves_nothing("digits");
    space.workspace.set_env("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt");
    let folder = format!("{}/digits", space.storage());
    let failed = space.run(&format!("checkpoint list {folder}")).expect_code(1);
    assert!(failed.stderr.contains("is not trusted"), "{}", failed.stderr);
}
