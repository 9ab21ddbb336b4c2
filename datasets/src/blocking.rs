use std::{io, thread};

use crate::{Error, Result};

/// Runs I/O to its end on a thread of its own, so that the caller may itself be inside a runtime.
pub(crate) fn run<T: Send>(work: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let failed =
        |source: io::Error| Error::Io { operation: "start a thread for", path: "storage".into(), source };
    thread::scope(|scope| {
        let io = thread::Builder::new().name("lockstep-data-io".into()).spawn_scoped(scope, || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
            let done = runtime.block_on(work);
            // A file system that hangs must not keep the caller.
            runtime.shutdown_background();
            done
        });
        let io = io.map_err(failed)?;
        io.join().unwrap_or_else(|_| Err(failed(io::Error::other("the thread ended early"))))
    })
}
