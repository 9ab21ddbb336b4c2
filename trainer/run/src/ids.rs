//! Newtypes: a step can't be passed for a generation, nor a node for a rank.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The one after this. The last of all has none after it and stays.
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

number! {
    /// Number of optimizer updates done. Step 0 is the state before the first one.
    Step(u64)
}
number! {
    /// One agreed membership. The first one of a run is 1; 0 means "none yet".
    Generation(u64)
}
number! {
    /// One pod, or one agent of a local run: its completion index.
    NodeId(u32)
}
number! {
    /// A worker's index in the whole run of one generation.
    Rank(u32)
}
number! {
    /// One life of a node's agent, counted from 1.
    Incarnation(u32)
}

/// Identity of a run, made once by whoever starts it first; 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunUid(pub String);

impl RunUid {
    /// A new random identity.
    pub fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }
}

impl fmt::Display for RunUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
