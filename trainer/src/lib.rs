//! The training library and the worker: one process per device.
