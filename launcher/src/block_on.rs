/// Runs a command's asynchronous part on this very thread.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(future);
    // A disk that hangs holds a thread for ever. Its result was given up already, and so nobody waits for it here either.
    runtime.shutdown_background();
    result
}
