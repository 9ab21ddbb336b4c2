use super::Findings;
use crate::{JobSpec, WarmStart};

/// Ends of names that hold secrets.
const SECRET: [&str; 7] = ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "API_KEY", "ACCESS_KEY", "ACCOUNT_KEY"];

fn names_a_secret(variable: &str) -> bool {
    let name = variable.to_ascii_uppercase();
    SECRET.iter().any(|end| name.ends_with(end))
}

/// A job is written to storage, to logs and into checkpoints: it holds no secret.
pub(super) fn check(job: &JobSpec, found: &mut Findings<'_>) {
    for (key, value) in job.kubernetes.iter().flat_map(|kubernetes| &kubernetes.env) {
        if names_a_secret(key) && !value.is_empty() {
            let path = format!("kubernetes.env.{key}");
            let fix =
                format!("put it into a Secret, and write secrets: [{{ name: THE-SECRET, key: {key} }}]");
            found.add(&path, format!("{path} holds a secret, and whoever may read the Job can see it"), fix);
        }
    }
    for (key, value) in job.env.iter() {
        if names_a_secret(key) && !value.is_empty() && !value.contains("${") {
            let path = format!("env.{key}");
            let fix = format!("export {key} where the run is started, and write {key}: ${{{key}}}");
            found.add(&path, format!("{path} holds a secret, and the job file is copied into the run"), fix);
        }
    }
    let data = job.data.as_ref();
    let uris = [
        ("storage", Some(&job.storage)),
        ("data.train.uri", data.map(|data| &data.train.uri)),
        ("data.eval.uri", data.and_then(|data| data.eval.as_ref()).map(|eval| &eval.uri)),
        ("warmStart.uri", job.warm_start.as_ref().and_then(WarmStart::uri)),
    ];
    for (path, uri) in uris {
        let (scheme, rest) = uri.and_then(|uri| uri.split_once("://")).unwrap_or_default();
        let authority = rest.split('/').next().unwrap_or_default();
        // abfss://container@account holds none, unless there is a colon.
        let credentials =
            authority.split_once('@').is_some_and(|(user, _)| scheme != "abfss" || user.contains(':'));
        if credentials {
            let fix = "remove what is before the @; give credentials in environment variables, like AWS_ACCESS_KEY_ID";
            found.add(
                path,
                format!("{path} holds credentials, and the job file is copied into the run"),
                fix,
            );
        }
    }
}
