//! What a worker started and left behind becomes this agent's child, as it does for PID 1 of a pod: nobody else would
//! end it or reap it.

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};
use std::time::Duration;
use tokio::time::Instant;

/// How long killed strays are waited for.
const DEADLINE: Duration = Duration::from_secs(2);

/// Makes this process the parent of its descendants' orphans.
pub fn adopt() -> std::io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Reaps strays that have ended by themselves. `known` are the children that somebody else waits for.
pub(crate) fn reap(known: &[Pid]) {
    for stray in children().into_iter().filter(|pid| !known.contains(pid)) {
        let _ = waitpid(Some(stray), WaitOptions::NOHANG);
    }
}

/// Kills and reaps every child of this process but those that are `known`; for when no other worker runs.
pub(crate) async fn end_all(known: &[Pid]) {
    let until = Instant::now() + DEADLINE;
    loop {
        let strays: Vec<_> = children().into_iter().filter(|pid| !known.contains(pid)).collect();
        if strays.is_empty() || Instant::now() > until {
            return;
        }
        for stray in strays {
            let _ = kill_process(stray, Signal::KILL);
            let _ = waitpid(Some(stray), WaitOptions::NOHANG);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// All children of this process; none where the kernel doesn't tell (CONFIG_PROC_CHILDREN).
pub(crate) fn children() -> Vec<Pid> {
    let me = getpid().as_raw_nonzero();
    let text = std::fs::read_to_string(format!("/proc/{me}/task/{me}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}
