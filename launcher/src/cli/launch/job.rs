use crate::{Failure, JobFile};
use lockstep_job::{Resolved, Source, resolve};
use std::path::{Path, PathBuf};

/// What a job is called that has neither a file nor a name.
const IN_PLACE_OF_A_FILE: &str = "command line";

/// What is launched: a job file, with changes, or a command.
#[derive(Debug, clap::Args)]
pub(super) struct JobArgs {
    /// Job file: YAML, or JSON or TOML by its extension; - reads YAML from stdin. Not needed if you give a COMMAND
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Option<PathBuf>,

    /// Change a field, such as train.steps=200; may be given several times
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,

    /// Name of the run; the same as --set name=NAME. Without a file, the default is the image's name, and
    /// with --local the program's
    #[arg(long, value_name = "NAME", help_heading = "Short for --set")]
    name: Option<String>,

    /// How many nodes train; the same as --set nodes=N
    #[arg(long, value_name = "N", help_heading = "Short for --set")]
    nodes: Option<u32>,

    /// GPUs of each node, and so its ranks; the same as --set kubernetes.gpu.count=N
    #[arg(long, value_name = "N", help_heading = "Short for --set")]
    gpus_per_node: Option<u32>,

    /// Image of the pods; the same as --set kubernetes.image=IMAGE
    #[arg(long, value_name = "IMAGE", help_heading = "Short for --set")]
    image: Option<String>,

    /// Image that provides the agent if IMAGE does not hold it; the same as --set kubernetes.agentImage=IMAGE
    #[arg(long, value_name = "IMAGE", help_heading = "Short for --set")]
    agent_image: Option<String>,

    /// Where runs are kept; the same as --set storage=URI
    #[arg(long, value_name = "URI", help_heading = "Short for --set")]
    storage: Option<String>,

    /// Program and arguments to run, as under torchrun; the same as --set command=[…]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl JobArgs {
    /// Reads and checks the job.
    pub(super) fn resolve(&self) -> anyhow::Result<Resolved> {
        let mut sets = self.short_sets()?;
        sets.extend(self.sets.iter().cloned());
        match &self.file {
            Some(file) => JobFile { file: file.clone(), sets }.resolve(),
            None if self.command.is_empty() => {
                Err(Failure::usage("there is nothing to launch: name a job file or a program")
                    .note(
                        "a job file",
                        "lockstep launch -f job.yaml      with --local on this machine, without on a cluster",
                    )
                    .note("a program", "lockstep launch --name mine --local -- python train.py")
                    .note("more", "lockstep launch --help")
                    .into())
            }
            None => {
                let text = format!("name: {}", self.default_name());
                Ok(resolve(&Source { path: IN_PLACE_OF_A_FILE.into(), text }, &sets)?)
            }
        }
    }

    /// Folder at which relative paths in the job file start: its own, where it has one.
    pub(super) fn folder(&self) -> &Path {
        // A pipe, as of `<(…)`, lies in a folder of its own kind.
        let file = self.file.as_deref().filter(|file| file.is_file());
        file.and_then(Path::parent).unwrap_or(Path::new("."))
    }

    /// The same options again, as a user would type them.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let file = self.file.as_ref().map(|file| file.to_string_lossy().into_owned());
        let nodes = self.nodes.map(|n| n.to_string());
        let gpus = self.gpus_per_node.map(|n| n.to_string());
        for (option, value) in [
            ("-f", &file),
            ("--name", &self.name),
            ("--nodes", &nodes),
            ("--gpus-per-node", &gpus),
            ("--image", &self.image),
            ("--agent-image", &self.agent_image),
            ("--storage", &self.storage),
        ] {
            words.extend(value.iter().flat_map(|value| [option.to_owned(), value.clone()]));
        }
        words.extend(self.sets.iter().flat_map(|set| ["--set".to_owned(), set.clone()]));
        words
    }

    /// The command, as the last words of a command line.
    pub(super) fn last_words(&self) -> Vec<String> {
        let dashes = (!self.command.is_empty()).then(|| "--".to_owned());
        dashes.into_iter().chain(self.command.iter().cloned()).collect()
    }

    fn short_sets(&self) -> anyhow::Result<Vec<String>> {
        let mut sets = Vec::new();
        let mut set = |path: &str, value: Option<String>| {
            sets.extend(value.map(|value| format!("{path}={value}")));
        };
        set("name", self.name.clone());
        set("nodes", self.nodes.map(|n| n.to_string()));
        set("kubernetes.image", self.image.clone());
        set("kubernetes.agentImage", self.agent_image.clone());
        set("kubernetes.gpu.count", self.gpus_per_node.map(|n| n.to_string()));
        set("storage", self.storage.clone());
        if !self.command.is_empty() {
            set("command", Some(serde_json::to_string(&self.command)?));
        }
        Ok(sets)
    }

    fn default_name(&self) -> String {
        let program = self.command.first().map(String::as_str).unwrap_or_default();
        let whole = self.image.as_deref().unwrap_or(program);
        let last = whole.rsplit('/').next().unwrap_or_default();
        let stem = last.split([':', '@', '.']).next().unwrap_or_default().to_ascii_lowercase();
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        job: JobArgs,
    }

    fn job(words: &str) -> JobArgs {
        Line::try_parse_from(std::iter::once("launch").chain(words.split(' '))).unwrap().job
    }

    #[test]
    fn a_command_line_is_a_job() {
        let words = "--nodes 2 --gpus-per-node 8 --image acme/My_Net:1.2 --storage s3://b/runs -- python train.py --lr 0.1";
        let args = job(words);
        let resolved = args.resolve().unwrap().job;
        assert_eq!(
            (resolved.name.to_string().as_str(), resolved.nodes, resolved.ranks_per_node),
            ("my-net", 2, 8)
        );
        assert_eq!(resolved.command.unwrap(), ["python", "train.py", "--lr", "0.1"]);
        assert_eq!(resolved.kubernetes.unwrap().image, "acme/My_Net:1.2");
        assert_eq!([args.words(), args.last_words()].concat().join(" "), words);
    }

    #[test]
    fn what_is_set_wins_over_what_is_short_for_it() {
        let resolved = job("--nodes 2 --set nodes=3 --name a -- true").resolve().unwrap().job;
        assert_eq!((resolved.name.to_string().as_str(), resolved.nodes), ("a", 3));
    }
}
