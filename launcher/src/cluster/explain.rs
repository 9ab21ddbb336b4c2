//! What the cluster's refusals mean, and what to do about them.

use crate::Failure;
use kube::Error;
use kube::config::KubeconfigError;

/// No cluster is configured, or not fully.
pub(super) fn no_cluster(error: &KubeconfigError) -> Failure {
    Failure::usage(format!("no cluster to talk to: {error}"))
        .note("fix", "export KUBECONFIG=FILE, or let your provider's tool write ~/.kube/config")
        .note("or", "launch on this machine: lockstep launch --local")
}

/// A request to `verb` `what` that failed.
pub(super) fn explain(error: &Error, verb: &str, what: &str) -> Failure {
    match error {
        Error::Api(status) => refused(status.code, &status.reason, &status.message, verb, what),
        Error::Auth(_) => Failure::usage(format!("can't {verb} {what}: {}", causes(error)))
            .note("fix", "log in to the cluster again; `kubectl auth whoami` shows who you are to it"),
        Error::Service(_) | Error::HyperError(_) => {
            Failure::new(format!("can't {verb} {what}: {}", causes(error))).note(
                "fix",
                "check the address in the kubeconfig, the network and VPN; `kubectl version` shows the same",
            )
        }
        _ => Failure::new(format!("can't {verb} {what}: {}", causes(error))),
    }
}

fn refused(code: u16, reason: &str, message: &str, verb: &str, what: &str) -> Failure {
    let said = Failure::new(format!("can't {verb} {what}: {message}"));
    match code {
        401 => {
            Failure::usage(format!("can't {verb} {what}: the cluster doesn't recognize you (expired token?)"))
                .note("fix", "log in again; `kubectl auth whoami` shows who you are to it")
        }
        403 if message.contains("exceeded quota") => said
            .note("fix", "ask for less, end another run, or ask for a larger ResourceQuota in the namespace"),
        403 if message.contains("is being terminated") => {
            said.note("fix", "wait until the namespace has been recreated, or use another one: -n NAME")
        }
        403 => said.note(
            "fix",
            "ask your platform team for the launcher Role of Lockstep's manifests/ in this namespace",
        ),
        404 if message.starts_with("namespaces ") => said.note(
            "fix",
            "create it with kubectl create namespace, or use another one: -n NAME, or kubernetes.namespace",
        ),
        409 if reason == "Conflict" => {
            said.note("fix", "somebody else manages these fields; use another name")
        }
        _ => said,
    }
}

/// An error and what is below it, each once, in one line.
pub(super) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_fix() {
        let quota = "pods \"x\" is forbidden: exceeded quota: small, requested: pods=2, used: pods=4, limited: pods=5";
        for (code, message, fix) in [
            (401, "Unauthorized", "log in again"),
            (403, "jobs.batch is forbidden: User \"eve\" cannot create resource \"jobs\"", "launcher Role"),
            (403, quota, "ResourceQuota"),
            (404, "namespaces \"team-b\" not found", "kubectl create namespace"),
        ] {
            let text =
                refused(code, "", message, "create", "Job digits in namespace team-b of prod").to_string();
            assert!(text.contains("can't create Job digits in namespace team-b of prod"), "{text}");
            assert!(text.contains(fix), "{text}");
        }
    }
}
