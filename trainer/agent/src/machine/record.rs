//! Membership records as tests of machines write them.

use lockstep_run::{Body, Generation, Membership, RunUid, Writer};

/// One that says this, and nothing beside it.
pub(super) fn record_of(writer: Writer, generation: Generation, body: Body) -> Membership {
    Membership {
        run_uid: RunUid("run".to_owned()),
        generation,
        writer,
        launch: "one".to_owned(),
        launched_at: None,
        restarts: None,
        launch_restarts: 0,
        root: None,
        gpu_seconds: None,
        account: None,
        survivors: 0,
        at: jiff::Timestamp::UNIX_EPOCH,
        reason: String::new(),
        body,
    }
}
