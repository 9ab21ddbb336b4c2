use lockstep_job::AgentExit;
use lockstep_run::Error;
use lockstep_storage::Scheme;

/// Why an agent could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It may well begin a moment later.
    #[error("{0:#}")]
    Again(anyhow::Error),
    /// It never will, unless somebody changes the job, the image, or what its storage lets it do.
    #[error("{0:#}")]
    Never(anyhow::Error),
}

impl StartError {
    /// Whether another start is of use.
    pub fn exit_code(&self) -> AgentExit {
        match self {
            Self::Again(_) => AgentExit::Again,
            Self::Never(_) => AgentExit::RunOver,
        }
    }
}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        use lockstep_storage::Error as Storage;
        match &error {
            Error::Storage(
                Storage::Unavailable { .. } | Storage::Timeout { .. } | Storage::NoSpace { .. },
            ) => Self::Again(error.into()),
            // Every object that is looked for at the start may be absent, so it is what holds them that is.
            Error::Storage(Storage::NotFound { uri }) if Scheme::of(uri).is_some() => Self::Never(
                anyhow::anyhow!("the bucket of {uri} does not exist; make it, or correct `storage`"),
            ),
            Error::Storage(_) | Error::BadRecord { .. } => Self::Never(error.into()),
            _ => Self::Again(error.into()),
        }
    }
}
