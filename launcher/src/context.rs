use crate::Output;

/// What every command is given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context {
    /// Where results go.
    pub output: Output,
}
