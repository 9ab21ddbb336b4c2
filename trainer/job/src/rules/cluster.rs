//! What a job needs besides, where it is to run on a cluster.

use super::Findings;
use crate::{JobSpec, WarmStart};

pub(super) fn check(job: &JobSpec, found: &mut Findings<'_>) {
    if job.kubernetes.is_none() {
        let fix = "add kubernetes: { image: registry/name:tag }, or run it on this machine: launch --local";
        found.add("kubernetes", "there is no `kubernetes` section to say which image the pods run", fix);
    }
    if !is_bucket(&job.storage) {
        let what = format!("storage is `{}`, which pods on different machines don't share", job.storage);
        let fix = "write a bucket that all pods reach, like s3://bucket/runs, gs://bucket/runs or az://container/runs";
        found.add("storage", what, fix);
    }
    let data = job.data.as_ref();
    let paths = [
        ("data.train.uri", data.map(|data| &data.train.uri)),
        ("data.eval.uri", data.and_then(|data| data.eval.as_ref()).map(|eval| &eval.uri)),
        ("warmStart.uri", job.warm_start.as_ref().and_then(WarmStart::uri)),
        ("worker", job.worker.as_ref()),
    ];
    for (path, value) in paths {
        let Some(value) = value.filter(|value| !value.contains("://") && !value.starts_with('/')) else {
            continue;
        };
        let fix = match path {
            "worker" => "write its absolute path in the image",
            "warmStart.uri" => {
                "write a bucket, like s3://bucket/weights, or an absolute path in the image or a volume"
            }
            _ => "write a bucket, like s3://bucket/dataset, or an absolute path in the image or a volume",
        };
        found.add(
            path,
            format!("{path} is `{value}`, a path relative to the job file, which pods don't have"),
            fix,
        );
    }
}

/// How URIs of buckets begin.
const BUCKETS: [&str; 4] = ["s3", "gs", "az", "abfss"];

fn is_bucket(uri: &str) -> bool {
    uri.split_once("://").is_some_and(|(scheme, rest)| BUCKETS.contains(&scheme) && !rest.is_empty())
}
