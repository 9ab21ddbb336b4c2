//! What this node's GPUs do, as `lockstep-gpu` tells: this program is linked statically and can't open the driver's library.
//!
//! Nothing that trains waits for the helper. One that hangs, ends or talks nonsense is killed and not started again.

mod changes;
mod time;

pub(crate) use changes::Changes;
pub(crate) use time::GpuTime;

use anyhow::Context;
use futures::StreamExt;
use lockstep_run::{Gpu, GpuLine, GpuUuid};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::net::unix::pipe::Receiver;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::codec::{FramedRead, LinesCodec};

/// A helper that says nothing for so long hangs: it speaks every 5 s.
const SILENT_AFTER: Duration = Duration::from_secs(30);
/// Lines that come faster wait in the pipe.
const READ_EVERY: Duration = Duration::from_millis(100);
/// No node's line comes near. Unit: bytes.
const MOST_BYTES: usize = 64 << 10;

/// A running helper. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Helper {
    /// Its number may be another's once somebody reaped it, and this never is.
    process: OwnedFd,
    said: watch::Receiver<Said>,
}

/// The newest word of a helper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// It has not spoken yet.
    Nothing,
    /// What the GPUs do.
    Gpus(Vec<Gpu>),
    /// No more comes.
    Over(Over),
}

/// Why a node's GPUs are not told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Over {
    /// The image lacks the helper, or what it needs: that is how it was made.
    Missing(String),
    /// It should have gone on.
    Broke(String),
}

impl Helper {
    /// Starts `program` for those GPUs, or for all that the driver shows; a task on `reader` reads what it says.
    pub(crate) fn start(program: &Path, gpus: &[GpuUuid], reader: &Handle) -> Result<Self, Over> {
        if !program.exists() {
            return Err(Over::Missing(format!("{} is not there", program.display())));
        }
        Self::spawn(program, gpus, reader).map_err(|error| Over::Broke(format!("{error:#}")))
    }

    fn spawn(program: &Path, gpus: &[GpuUuid], reader: &Handle) -> anyhow::Result<Self> {
        let mut command =
            Command::new(std::env::current_exe().context("can't find this program's own file")?);
        command.args(["tether", "--parent"]).arg(std::process::id().to_string()).arg("--").arg(program);
        command.args(gpus.iter().map(|gpu| format!("--gpu={gpu}")));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().context("can't start it")?;
        let process = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(process) => process,
            Err(error) => {
                let _ = child.kill();
                return Err(error).context("can't hold it");
            }
        };
        let (tell, said) = watch::channel(Said::Nothing);
        let pipe = child.stdout.take().map(OwnedFd::from).context("it has no output")?;
        // Whoever reaps strays reaps it.
        drop(child);
        reader.spawn(async move {
            let over = match Receiver::from_owned_fd(pipe) {
                Ok(pipe) => follow(pipe, &tell, SILENT_AFTER).await,
                Err(error) => Over::Broke(format!("can't be read: {error}")),
            };
            let _ = tell.send(Said::Over(over));
        });
        Ok(Self { process, said })
    }

    /// What it said since this was last asked, if it said anything.
    pub(crate) fn news(&mut self) -> Option<Said> {
        let news = self.said.has_changed().unwrap_or(true);
        let said = self.said.borrow_and_update().clone();
        Some(said).filter(|said| news && *said != Said::Nothing)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.process, Signal::KILL);
    }
}

/// Passes on what a helper says, until it says no more.
async fn follow(pipe: Receiver, tell: &watch::Sender<Said>, silent_after: Duration) -> Over {
    let mut lines = FramedRead::new(pipe, LinesCodec::new_with_max_length(MOST_BYTES));
    loop {
        let line = match timeout(silent_after, lines.next()).await {
            Err(_) => return Over::Broke(format!("it said nothing for {silent_after:?}")),
            Ok(None) => return Over::Broke("it ended".to_owned()),
            Ok(Some(Err(error))) => return Over::Broke(format!("it can't be understood: {error}")),
            Ok(Some(Ok(line))) => line,
        };
        let gpus = match serde_json::from_str(&line) {
            Ok(GpuLine::Gpus(gpus)) => gpus,
            Ok(GpuLine::Missing(why)) => return Over::Missing(why),
            Err(error) => return Over::Broke(format!("it can't be understood: {error}")),
        };
        if tell.send(Said::Gpus(gpus)).is_err() {
            return Over::Broke("nobody asks any more".to_owned());
        }
        sleep(READ_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// What becomes of a helper that says so and then is silent, or ends.
    async fn heard(says: &[u8], ends: bool) -> (Said, Over) {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (says, held) = (says.to_vec(), !ends);
        // More than a pipe holds has to be read meanwhile.
        let writing = std::thread::spawn(move || {
            let _ = writer.write_all(&says);
            held.then_some(writer)
        });
        let (tell, said) = watch::channel(Said::Nothing);
        let over =
            follow(Receiver::from_owned_fd(reader.into()).unwrap(), &tell, Duration::from_millis(300)).await;
        drop(writing);
        let said = said.borrow().clone();
        (said, over)
    }

    #[tokio::test]
    async fn a_helper_that_hangs_ends_or_talks_nonsense_is_over() {
        let line = b"{\"gpus\":[]}\n";
        let long = vec![b' '; MOST_BYTES + 1];
        let nothing = Said::Nothing;
        let some = Said::Gpus(vec![]);
        for (says, ends, said, words) in [
            (&b""[..], false, &nothing, "said nothing for 300ms"),
            (b"", true, &nothing, "it ended"),
            (line, false, &some, "said nothing for 300ms"),
            (line, true, &some, "it ended"),
            (b"nonsense\n", false, &nothing, "can't be understood"),
            (b"\xff\xfe\n", false, &nothing, "can't be understood"),
            (&long, false, &nothing, "can't be understood: max line length exceeded"),
        ] {
            let (heard, over) = heard(says, ends).await;
            let Over::Broke(why) = &over else { panic!("{over:?}") };
            assert!(why.contains(words) && heard == *said, "{heard:?}: {why}, not {words}");
        }
        let (_, over) = heard(b"{\"missing\":\"no driver\"}\n", false).await;
        assert_eq!(over, Over::Missing("no driver".to_owned()));
    }
}
