//! What a pod finds around it, for `lockstep doctor`: only the pod itself can tell.

use crate::args::CheckupArgs;
use anyhow::Context;
use hickory_resolver::Resolver;
use lockstep_run::checkup::{self, Checkup, Finding};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// A name that every cluster has.
const CLUSTER_NAME: &str = "kubernetes.default.svc";
/// The longest that the name server may take.
const DNS_DEADLINE: Duration = Duration::from_secs(15);
/// The longest finding; a kubelet takes 4096 bytes of last words. Unit: bytes.
const MAX_BYTES: usize = 1024;

/// Looks around, and leaves what it finds as its last words.
///
/// # Errors
/// Where they can't be left.
pub fn run(args: &CheckupArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = serde_json::to_string(&runtime.block_on(look(args)))?;
    std::fs::write(&args.last_words, &found)
        .with_context(|| format!("can't write {}", args.last_words.display()))?;
    writeln!(std::io::stdout(), "{found}").context("can't print what was found")
}

async fn look(args: &CheckupArgs) -> Checkup {
    let (dns, storage) = tokio::join!(name_server(), checkup::storage(&args.storage));
    Checkup {
        at_unix_ms: jiff::Timestamp::now().as_millisecond().try_into().unwrap_or(0),
        dns: short(dns),
        storage: short(storage),
        gpus: (args.gpus > 0).then(|| gpus(Path::new("/dev"), args.gpus)),
    }
}

/// Asks the name server as the storage's client does, without the C library's resolver.
async fn name_server() -> Finding {
    let asked = async {
        let resolver = Resolver::builder_tokio()?.build()?;
        resolver.lookup_ip(CLUSTER_NAME).await
    };
    let answer = tokio::time::timeout(DNS_DEADLINE, asked)
        .await
        .map_err(|_| format!("no answer for {CLUSTER_NAME} within {DNS_DEADLINE:?}"))?;
    let found = answer.map_err(|error| format!("{CLUSTER_NAME} is not found: {error}"))?;
    let address = found.iter().next().map_or(String::new(), |address| format!(" is {address}"));
    Ok(format!("{CLUSTER_NAME}{address}"))
}

/// Counts the NVIDIA devices in `dev`. Where machines share their GPUs there are fewer than were promised.
fn gpus(dev: &Path, promised: u32) -> Finding {
    let files = std::fs::read_dir(dev).map_err(|error| format!("can't list {}: {error}", dev.display()))?;
    let is_gpu = |name: &str| {
        let number = name.strip_prefix("nvidia").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let there = files.flatten().filter(|file| file.file_name().to_str().is_some_and(is_gpu)).count();
    match there {
        0 => Err(format!("the pod was promised {promised}, but has no device /dev/nvidia*")),
        _ => Ok(format!("{there} in /dev, {promised} promised")),
    }
}

fn short(finding: Finding) -> Finding {
    let cut = |mut text: String| {
        text.truncate(text.floor_char_boundary(MAX_BYTES));
        text
    };
    finding.map(cut).map_err(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_a_device_with_a_number() {
        let dev = tempfile::tempdir().unwrap();
        let add = |name: &str| std::fs::write(dev.path().join(name), "").unwrap();
        ["nvidiactl", "nvidia-uvm", "null"].iter().for_each(|name| add(name));
        let none = gpus(dev.path(), 2).unwrap_err();
        assert!(none.contains("promised 2, but has no device"), "{none}");
        ["nvidia0", "nvidia13"].iter().for_each(|name| add(name));
        assert_eq!(gpus(dev.path(), 2).unwrap(), "2 in /dev, 2 promised");
    }

    #[test]
    fn findings_fit_into_last_words() {
        let long = short(Err("é".repeat(MAX_BYTES))).unwrap_err();
        assert_eq!(long.len(), MAX_BYTES);
    }
}
