//! What the kernel's control groups tell of memory: a worker that it killed for want of it was killed by SIGKILL, as by anybody.

use lockstep_job::ByteSize;
use std::path::{Path, PathBuf};

/// Where control groups are mounted: version 2 itself, version 1 with a folder for each controller.
const MOUNT: &str = "/sys/fs/cgroup";
/// No limit is larger than this; version 1 writes a number that stands for none.
const NO_LIMIT: u64 = 1 << 60;

/// How often the kernel has killed something in this control group for want of memory, at one moment.
#[derive(Debug)]
pub(super) struct OutOfMemory {
    group: Option<Group>,
    kills: u64,
    /// The limit that the job file gives to the pod.
    given: Option<ByteSize>,
}

impl OutOfMemory {
    /// As it is now.
    pub(super) fn now(given: Option<ByteSize>) -> Self {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let group = Group::find(Path::new(MOUNT), &own);
        let kills = group.as_ref().and_then(Group::kills).unwrap_or(0);
        Self { group, kills, given }
    }

    /// Where something was killed since, how that is told, with the limit and what to do about it.
    pub(super) fn words(&self) -> Option<String> {
        let group = self.group.as_ref()?;
        let killed = group.kills()? > self.kills;
        killed.then(|| words(group.limit(), self.given))
    }
}

fn words(limit: Option<ByteSize>, given: Option<ByteSize>) -> String {
    let killed = "was killed by the kernel: out of memory";
    match limit {
        None => format!("{killed} on the whole machine"),
        Some(limit) if given == Some(limit) => {
            format!("{killed} (container agent, limit {limit}); raise kubernetes.resources.memory")
        }
        Some(limit) => format!("{killed} (limit {limit}); raise the limit of its control group"),
    }
}

#[derive(Debug)]
struct Group {
    /// Has a line `oom_kill COUNT`.
    events: PathBuf,
    limit: PathBuf,
}

impl Group {
    /// The group of a process, given its `/proc/self/cgroup`. Inside a container that may name a folder which only the
    /// machine has; what is mounted there is the container's own.
    fn find(mount: &Path, own: &str) -> Option<Self> {
        let files = |version: u8, folder: &Path| match version {
            1 => Self {
                events: folder.join("memory.oom_control"),
                limit: folder.join("memory.limit_in_bytes"),
            },
            _ => Self { events: folder.join("memory.events"), limit: folder.join("memory.max") },
        };
        let places = own.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            match controllers {
                "" => Some((2, mount.to_owned(), path)),
                _ if controllers.split(',').any(|name| name == "memory") => {
                    Some((1, mount.join("memory"), path))
                }
                _ => None,
            }
        });
        let groups = places.flat_map(|(version, root, path)| {
            [files(version, &root.join(path.trim_start_matches('/'))), files(version, &root)]
        });
        groups.into_iter().find(|group| group.events.is_file())
    }

    fn kills(&self) -> Option<u64> {
        let text = std::fs::read_to_string(&self.events).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    }

    fn limit(&self) -> Option<ByteSize> {
        let text = std::fs::read_to_string(&self.limit).ok()?;
        text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT).map(ByteSize::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    #[test]
    fn both_versions_are_read_within_a_container_and_without() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let (v1, v2) = ("5:memory:/pods/a\n1:name=systemd:/x\n0::/\n", "0::/pods/a\n");
        assert!(Group::find(root, v1).is_none());
        write(root, "memory.events", "low 0\noom 9\noom_kill 2\noom_group_kill 0\n");
        write(root, "memory.max", "max\n");
        let group = Group::find(root, v2).unwrap();
        assert_eq!((group.kills(), group.limit()), (Some(2), None));
        write(root, "pods/a/memory.events", "oom_kill 3\n");
        write(root, "pods/a/memory.max", "1048576\n");
        let group = Group::find(root, v2).unwrap();
        assert_eq!((group.kills(), group.limit()), (Some(3), Some(ByteSize::new(1 << 20))));
        write(root, "memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n");
        write(root, "memory/memory.limit_in_bytes", "9223372036854771712\n");
        let group = Group::find(root, v1).unwrap();
        assert_eq!((group.kills(), group.limit()), (Some(7), None));
    }

    #[test]
    fn the_words_name_the_limit_and_what_to_raise() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "memory.events", "oom_kill 1\n");
        write(root, "memory.max", "104857600\n");
        let seen = |kills, given| OutOfMemory { group: Group::find(root, "0::/\n"), kills, given };
        assert_eq!(seen(1, None).words(), None);
        let told = seen(0, Some(ByteSize::new(100 << 20))).words().unwrap();
        assert!(
            told.contains("limit 100MiB") && told.contains("raise kubernetes.resources.memory"),
            "{told}"
        );
        let told = seen(0, None).words().unwrap();
        assert!(told.contains("limit 100MiB") && !told.contains("kubernetes"), "{told}");
    }
}
