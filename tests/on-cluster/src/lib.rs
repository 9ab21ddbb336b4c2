//! What tests on a real cluster share: a namespace of their own, the real kubectl as judge, and `lockstep` as users run it.
//!
//! `make test-cluster` starts a cluster and says in the environment how to reach it and its object store.

mod fault;
mod survive;

pub use fault::{Broken, fault};
pub use survive::{STEPS, survives, survives_with};

use lockstep_e2e::{Finished, Launched, Workspace, repository, wait_for};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What one condition on the cluster may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A namespace under the strictest Pod Security, with the store's key in the Secret `s3`. Gone with the value.
#[derive(Debug)]
pub struct Space {
    /// Its name.
    pub name: String,
    /// Where `lockstep` is run.
    pub workspace: Workspace,
}

impl Space {
    /// A new one; its name begins with `purpose`.
    ///
    /// # Panics
    /// Where there is no cluster.
    pub fn new(purpose: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{purpose}-{}-{count}", std::process::id());
        let space = Self { name, workspace: Workspace::new() };
        space.cluster(&["create", "namespace", &space.name]);
        space.cluster(&["label", "namespace", &space.name, "pod-security.kubernetes.io/enforce=restricted"]);
        space.secret("s3", &variable("AWS_SECRET_ACCESS_KEY"));
        space
    }

    /// Makes a Secret with the store's address and the owner's key, whose secret half is `secret`.
    pub fn secret(&self, name: &str, secret: &str) {
        self.secret_of(name, &variable("AWS_ACCESS_KEY_ID"), secret);
    }

    /// The same with any key.
    pub fn secret_of(&self, name: &str, id: &str, secret: &str) {
        let literal = |key: &str, value: &str| format!("--from-literal={key}={value}");
        let words = [
            literal("AWS_ACCESS_KEY_ID", id),
            literal("AWS_SECRET_ACCESS_KEY", secret),
            literal("AWS_ENDPOINT_URL", &variable("AWS_ENDPOINT_URL")),
            literal("AWS_REGION", &variable("AWS_REGION")),
        ];
        let mut all = vec!["create", "secret", "generic", name];
        all.extend(words.iter().map(String::as_str));
        self.kubectl(&all);
    }

    /// Runs kubectl in the namespace and returns what it printed.
    ///
    /// # Panics
    /// Where it fails.
    pub fn kubectl(&self, words: &[&str]) -> String {
        let mut all = vec!["-n", self.name.as_str()];
        all.extend(words);
        self.cluster(&all)
    }

    /// Runs kubectl and returns what it printed.
    ///
    /// # Panics
    /// Where it fails.
    pub fn cluster(&self, words: &[&str]) -> String {
        let output = kubectl(words, None);
        assert!(output.status.success(), "kubectl {words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs kubectl in the namespace on manifests. Returns whether it succeeded, and all that it said.
    pub fn pipe(&self, manifests: &str, words: &[&str]) -> (bool, String) {
        let mut all = vec!["-n", self.name.as_str()];
        all.extend(words);
        let output = kubectl(&all, Some(manifests));
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }

    /// Where the namespace's runs are stored.
    pub fn storage(&self) -> String {
        format!("{}/{}", bucket(), self.name)
    }

    /// The digits job called `name`, as options of launch and render; its storage is the namespace's own.
    pub fn digits(&self, name: &str, more: &str) -> String {
        let file = repository().join("trainer/examples/digits-cluster.yaml");
        let image = image();
        let data = format!("{}/datasets/digits", bucket());
        format!(
            "-f {} --set name={name} --set storage={} --set kubernetes.namespace={} --set kubernetes.image={image} --set data.train.uri={data} --set data.eval.uri={data} {more}",
            file.display(),
            self.storage(),
            self.name
        )
    }

    /// The same for a run that takes a while.
    pub fn long(&self, name: &str, steps: u32, more: &str) -> String {
        let more = format!(
            "--set train.steps={steps} --set checkpoint.every=1000steps --set log.every=500steps --set eval.every=100000steps {more}"
        );
        self.digits(name, &more)
    }

    /// Writes a job file of two nodes that run `command`, a list in YAML, with `more` lines below `kubernetes`; returns its
    /// path.
    pub fn command(&self, name: &str, command: &str, more: &str) -> String {
        self.command_in(&image(), name, command, more)
    }

    /// The same in another image.
    pub fn command_in(&self, image: &str, name: &str, command: &str, more: &str) -> String {
        let (storage, namespace) = (self.storage(), &self.name);
        let text = format!(
            "name: {name}\nnodes: 2\ncommand: {command}\nstorage: {storage}\nkubernetes:\n  namespace: {namespace}\n  image: {image}\n  secrets: [{{ name: s3 }}]\n{more}"
        );
        self.workspace.write(&format!("{name}.yaml"), &text).to_string_lossy().into_owned()
    }

    /// Starts `lockstep` with words split at blanks.
    pub fn start(&self, words: &str) -> Launched {
        self.workspace.start(words)
    }

    /// Runs `lockstep` to its end.
    pub fn run(&self, words: &str) -> Finished {
        self.workspace.run(words)
    }

    /// `lockstep status` of a run.
    pub fn status(&self, run: &str) -> serde_json::Value {
        self.run(&format!("status {run} -n {} --output json", self.name)).expect_code(0).json()
    }

    /// Waits until a run's status is as `check` wants it.
    ///
    /// # Panics
    /// At the deadline.
    pub fn wait_for_status(
        &self,
        run: &str,
        what: &str,
        check: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        wait_for(what, PATIENCE, || Some(self.status(run)).filter(&check))
    }

    /// Hash of the parameters of a run's newest checkpoint.
    ///
    /// # Panics
    /// Where there is none.
    pub fn model_hash(&self, run: &str) -> String {
        let uri = format!("{}/{run}", self.storage());
        let list = self.run(&format!("checkpoint list {uri} --output json")).expect_code(0).json();
        list[0]["model_hash"].as_str().map(str::to_owned).unwrap_or_else(|| panic!("no checkpoint: {list:#}"))
    }

    /// Names of everything that Lockstep made here and that is still there.
    pub fn objects(&self) -> Vec<String> {
        self.labelled("lockstep.dev/job")
    }

    /// The same of one run.
    pub fn objects_of(&self, run: &str) -> Vec<String> {
        self.labelled(&format!("lockstep.dev/job={run}"))
    }

    fn labelled(&self, selector: &str) -> Vec<String> {
        let kinds = "jobs,cronjobs,pods,services,configmaps,networkpolicies,poddisruptionbudgets";
        let found = self.kubectl(&["get", kinds, "-l", selector, "-o", "name"]);
        found.lines().map(str::to_owned).collect()
    }

    /// The pod of a node that is not on its way out.
    ///
    /// # Panics
    /// Where there is none in time.
    pub fn pod(&self, run: &str, node: u32) -> String {
        let selector =
            format!("batch.kubernetes.io/job-name={run},batch.kubernetes.io/job-completion-index={node}");
        let template = "{range .items[?(@.status.phase=='Running')]}{.metadata.name}/{.metadata.deletionTimestamp}{'\\n'}{end}";
        wait_for(&format!("a pod of node {node}"), PATIENCE, || {
            let found =
                self.kubectl(&["get", "pods", "-l", &selector, "-o", &format!("jsonpath={template}")]);
            found.lines().find_map(|line| line.strip_suffix('/')).map(str::to_owned)
        })
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = kubectl(&["delete", "namespace", &self.name, "--wait=false"], None);
    }
}

/// The bucket of all tests.
fn bucket() -> String {
    std::env::var("LOCKSTEP_TEST_STORAGE").unwrap_or_else(|_| "s3://lockstep".to_owned())
}

/// Lockstep's image, where the cluster's machines find it.
pub fn image() -> String {
    std::env::var("LOCKSTEP_TEST_IMAGE").unwrap_or_else(|_| "lockstep:test".to_owned())
}

/// A variable of the cluster's environment.
///
/// # Panics
/// Where it isn't set.
pub fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: `make test-cluster` starts a cluster and sets it"))
}

fn kubectl(words: &[&str], stdin: Option<&str>) -> Output {
    use std::io::Write;
    // On a cluster of the user's own it is theirs.
    let parts = std::env::var_os("LOCKSTEP_CLUSTER_PARTS").map(PathBuf::from);
    let program = parts.map_or(PathBuf::from("kubectl"), |parts| parts.join("kubectl"));
    let mut command = Command::new(&program);
    command
        .args(words)
        .arg("--request-timeout=60s")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut run = || {
        let mut child = command.spawn()?;
        if let (Some(mut pipe), Some(text)) = (child.stdin.take(), stdin) {
            pipe.write_all(text.as_bytes())?;
        }
        child.wait_with_output()
    };
    run().unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
