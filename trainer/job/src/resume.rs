use std::str::FromStr;

/// What a launch starts from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resume {
    /// The newest good checkpoint, or nothing where there is none.
    #[default]
    Auto,
    /// The newest good checkpoint; it is an error where there is none.
    Must,
    /// The checkpoint of this step.
    At(u64),
    /// Nothing: it starts over, and what is there stays, under older generations.
    Fresh,
}

impl Resume {
    /// The option that says this, to the launcher as to an agent; none for the default.
    pub fn option(self) -> Option<String> {
        match self {
            Self::Auto => None,
            Self::Must => Some("--resume=must".to_owned()),
            Self::At(step) => Some(format!("--resume={step}")),
            Self::Fresh => Some("--fresh".to_owned()),
        }
    }

    /// With `--fresh` beside it or not.
    pub fn or_fresh(self, fresh: bool) -> Self {
        if fresh { Self::Fresh } else { self }
    }
}

impl FromStr for Resume {
    type Err = String;

    /// The value of `--resume`; [`Resume::Fresh`] is an option of its own.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "must" => Ok(Self::Must),
            step => step
                .parse()
                .map(Self::At)
                .map_err(|_| "write auto, must, or the step of a checkpoint".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_reads_back_as_what_it_was_made_of() {
        for resume in [Resume::Auto, Resume::Must, Resume::At(400)] {
            let option = resume.option().unwrap_or_else(|| "--resume=auto".to_owned());
            assert_eq!(option.strip_prefix("--resume=").unwrap().parse(), Ok(resume));
            assert_eq!(resume.or_fresh(true).option().as_deref(), Some("--fresh"));
        }
        for other in ["never", "fresh", "run@400", "-1", ""] {
            assert!(other.parse::<Resume>().is_err(), "{other}");
        }
    }
}
