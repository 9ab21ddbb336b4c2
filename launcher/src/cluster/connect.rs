use super::explain::{explain, no_cluster};
use k8s_openapi::NamespaceResourceScope;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use lockstep_job::JobSpec;
use std::time::Duration;

/// The longest that one request may take. Watches and log streams are not bounded by it.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// The longest that a connection may take to be made.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// The options that say which cluster is meant.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ClusterArgs {
    /// The kube context to use, instead of the job file's or the current one
    #[arg(long, value_name = "NAME", help_heading = "Cluster")]
    pub(crate) context: Option<String>,

    /// The namespace to use, instead of the job file's or the context's
    #[arg(short = 'n', long, value_name = "NAME", help_heading = "Cluster")]
    pub(crate) namespace: Option<String>,
}

impl ClusterArgs {
    /// The same for a job: the command line's context and namespace win over the job file's. The namespace is written into
    /// the job, whose objects name it.
    pub(crate) fn for_job(&self, job: &mut JobSpec) -> Self {
        let Some(section) = &mut job.kubernetes else { return self.clone() };
        section.namespace = self.namespace.clone().or_else(|| section.namespace.take());
        let context = self.context.clone().or_else(|| section.context.clone());
        Self { context, namespace: section.namespace.clone() }
    }
}

/// A namespace of a cluster, and how to speak to it.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(super) client: Client,
    /// The namespace of everything that is looked at and made.
    pub(crate) namespace: String,
    /// The kube context's name; `in-cluster` inside a pod.
    pub(crate) context: String,
    /// Address of its API server.
    server: String,
}

impl Cluster {
    /// Connects to the cluster of a kube context, or to the one around this pod where there is no kubeconfig. Asks nothing
    /// of it yet.
    ///
    /// # Errors
    /// Where no cluster is configured, or not the context that is asked for.
    pub(crate) async fn connect(args: &ClusterArgs) -> anyhow::Result<Self> {
        let (mut config, context) = config(args).await?;
        config.connect_timeout = Some(CONNECT_DEADLINE);
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| explain(&error, "connect to", &server))?;
        Ok(Self { client, namespace, context, server })
    }

    /// A cluster behind a client of the test's.
    #[cfg(test)]
    pub(super) fn fake(client: Client) -> Self {
        Self { client, namespace: "n".to_owned(), context: "fake".to_owned(), server: "here".to_owned() }
    }

    /// The objects of one kind in the namespace.
    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits for a request's answer, and turns a refusal into words. `verb` and `what` say what was asked for, as in
    /// "create Job digits".
    ///
    /// # Errors
    /// Where the cluster refuses, can't be reached, or doesn't answer within 30 s.
    pub(super) async fn call<T>(
        &self,
        verb: &str,
        what: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> anyhow::Result<T> {
        let place = format!("{what} in namespace {} of {}", self.namespace, self.context);
        match tokio::time::timeout(CALL_DEADLINE, request).await {
            Ok(answer) => {
                answer.map_err(|error| explain(&error, verb, &place).note("server", &self.server).into())
            }
            Err(_) => {
                anyhow::bail!("can't {verb} {place}: {} gave no answer within {CALL_DEADLINE:?}", self.server)
            }
        }
    }
}

async fn config(args: &ClusterArgs) -> anyhow::Result<(Config, String)> {
    let kubeconfig = match Kubeconfig::read() {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => {
            let inside = args.context.is_none().then(Config::incluster).and_then(Result::ok);
            return inside
                .map(|config| (config, "in-cluster".to_owned()))
                .ok_or_else(|| no_cluster(&error).into());
        }
    };
    let wanted =
        args.context.clone().or_else(|| kubeconfig.current_context.clone()).filter(|name| !name.is_empty());
    let known: Vec<_> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    let Some(context) = wanted else {
        return Err(crate::Failure::usage("the kubeconfig names no current context")
            .note("choose", format!("--context with one of: {}", known.join(", ")))
            .into());
    };
    if !known.contains(&context) {
        return Err(crate::Failure::usage(format!("the kubeconfig has no context {context}"))
            .note("there are", known.join(", "))
            .into());
    }
    let options = KubeConfigOptions { context: Some(context.clone()), ..Default::default() };
    match Config::from_custom_kubeconfig(kubeconfig, &options).await {
        Ok(config) => Ok((config, context)),
        Err(error) => Err(no_cluster(&error).into()),
    }
}
