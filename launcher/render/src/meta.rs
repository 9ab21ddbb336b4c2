//! Names, labels and annotations: how objects, pods, the command line and other tools find one another.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use lockstep_job::{JobSpec, Kubernetes};

/// The port on which agents speak to each other.
pub const AGENT_PORT: u16 = 29400;
/// Label of everything that belongs to a job: the job's name. A scheduled job's runs all have it.
pub const JOB_LABEL: &str = "lockstep.dev/job";
/// Annotation of a Job: the folder in which all runs are, as the job file says.
pub const STORAGE_ANNOTATION: &str = "lockstep.dev/storage";
/// Annotation of a Job: the folder of its run. A scheduled run's is its storage and the Job's name.
pub const RUN_DIR_ANNOTATION: &str = "lockstep.dev/run-dir";
/// Annotation of a Job: a digest of the resolved job file.
pub const SPEC_ANNOTATION: &str = "lockstep.dev/spec";

/// The pods' one container.
pub(crate) const CONTAINER: &str = "agent";
/// Label that the Job controller gives each pod: the Job's uid.
pub(crate) const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
/// Label that the Job controller gives each pod: the Job's name.
pub(crate) const JOB_NAME_LABEL: &str = "batch.kubernetes.io/job-name";

const QUEUE_LABEL: &str = "kueue.x-k8s.io/queue-name";
const WHOLE_ANNOTATION: &str = "kueue.x-k8s.io/job-completions-equal-parallelism";

type Pairs = BTreeMap<String, String>;

pub(crate) struct Meta<'a> {
    job: &'a JobSpec,
    kubernetes: &'a Kubernetes,
    digest: String,
}

impl<'a> Meta<'a> {
    pub(crate) fn new(job: &'a JobSpec, kubernetes: &'a Kubernetes, file: &str) -> Self {
        Self { job, kubernetes, digest: blake3::hash(file.as_bytes()).to_hex()[..16].to_owned() }
    }

    /// The name of the job and of most objects.
    pub(crate) fn name(&self) -> &str {
        &self.job.name
    }

    /// Where the runs are.
    pub(crate) fn storage(&self) -> &str {
        self.job.storage.trim_end_matches('/')
    }

    /// The ConfigMap's name: another one for another content. A scheduled job may change while a run of it reads the old
    /// one, and a kubelet keeps what it once read of an immutable ConfigMap, even if one of the same name is made anew.
    pub(crate) fn config_map(&self) -> String {
        format!("{}-{}", self.name(), &self.digest[..8])
    }

    /// What all pods of the job have in common, and nothing else has.
    pub(crate) fn selector(&self) -> Pairs {
        pairs([(JOB_LABEL, self.name())])
    }

    pub(crate) fn label_selector(&self) -> LabelSelector {
        LabelSelector { match_labels: Some(self.selector()), ..Default::default() }
    }

    pub(crate) fn labels(&self) -> Pairs {
        let mut labels = self.selector();
        labels.extend(pairs([
            ("app.kubernetes.io/name", "lockstep"),
            ("app.kubernetes.io/instance", self.name()),
            ("app.kubernetes.io/component", "trainer"),
            ("app.kubernetes.io/part-of", "lockstep"),
            ("app.kubernetes.io/managed-by", "lockstep"),
            ("app.kubernetes.io/version", env!("CARGO_PKG_VERSION")),
        ]));
        labels
    }

    /// Of an object of this name.
    pub(crate) fn of(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: self.kubernetes.namespace.clone(),
            labels: Some(self.labels()),
            ..Default::default()
        }
    }

    /// Of what Kueue and the command line look at: a Job, or the template of a scheduled one.
    pub(crate) fn of_job(&self) -> ObjectMeta {
        let mut labels = self.labels();
        let mut annotations = pairs([(STORAGE_ANNOTATION, self.storage()), (SPEC_ANNOTATION, &self.digest)]);
        if let Some(queue) = &self.kubernetes.queue {
            labels.extend(pairs([(QUEUE_LABEL, queue)]));
            annotations.extend(pairs([(WHOLE_ANNOTATION, "true")]));
        }
        ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..Default::default() }
    }

    /// Of the pods: their labels, and a word to everybody who would move them or put something into them.
    pub(crate) fn of_pods(&self) -> ObjectMeta {
        let mut labels = self.labels();
        labels.extend(pairs([("sidecar.istio.io/inject", "false")]));
        let annotations = pairs([
            ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
            ("karpenter.sh/do-not-disrupt", "true"),
            ("kubectl.kubernetes.io/default-container", CONTAINER),
            ("sidecar.istio.io/inject", "false"),
        ]);
        ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..Default::default() }
    }
}

pub(crate) fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Pairs {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A list, unless it is empty.
pub(crate) fn some<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    Some(items.collect::<Vec<_>>()).filter(|items| !items.is_empty())
}
