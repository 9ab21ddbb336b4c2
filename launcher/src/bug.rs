use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};

use crate::Exit;
use crate::output::tell;

/// Runs `main`, so that a panic anywhere shows one clear line in place of a backtrace, and one in `main` itself ends
/// with [`Exit::Failed`].
pub fn guard(main: impl FnOnce() -> Exit) -> Exit {
    set_hook(Box::new(|info| tell(&describe(info))));
    catch_unwind(AssertUnwindSafe(main)).unwrap_or(Exit::Failed)
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("unknown cause").replace('\n', " ");
    let place = info.location().map_or(String::new(), |at| format!(" ({}:{})", at.file(), at.line()));
    format!("bug: {message}{place}; please report it with the command that led here")
}
