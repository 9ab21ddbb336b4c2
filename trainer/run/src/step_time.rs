//! What a run's time goes to, as it is reported.

use crate::{Rank, number};
use serde::{Deserialize, Serialize};

/// A part of the time that a step takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Waiting for the batch.
    Data,
    /// The loss.
    Forward,
    /// The gradients of this rank.
    Backward,
    /// Waiting until the ranks have averaged their gradients, beyond what backward hides: for the network, and for ranks that
    /// are slower.
    Communication,
    /// Clipping and the update.
    Optimizer,
    /// All the rest, such as copies for checkpoints and the sums of a logging interval.
    Other,
}

impl Part {
    /// All of them, in the order of a step.
    pub const ALL: [Self; 6] =
        [Self::Data, Self::Forward, Self::Backward, Self::Communication, Self::Optimizer, Self::Other];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Communication => "communication",
            Self::Optimizer => "optimizer",
            Self::Other => "other",
        }
    }
}

/// Seconds of a step that go to each part: the mean over an interval's steps and over all ranks. They add up to the whole time
/// of a step, without evaluations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StepSeconds {
    /// [`Part::Data`].
    #[serde(with = "number")]
    pub data: f64,
    /// [`Part::Forward`].
    #[serde(with = "number")]
    pub forward: f64,
    /// [`Part::Backward`].
    #[serde(with = "number")]
    pub backward: f64,
    /// [`Part::Communication`].
    #[serde(with = "number")]
    pub communication: f64,
    /// [`Part::Optimizer`].
    #[serde(with = "number")]
    pub optimizer: f64,
    /// [`Part::Other`].
    #[serde(with = "number")]
    pub other: f64,
}

/// The rank that the others wait for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SlowestRank {
    /// Which.
    pub rank: Rank,
    /// Seconds of its own work in a step: data, forward, backward and optimizer; the mean over the interval's steps.
    #[serde(with = "number")]
    pub work_seconds: f64,
}

impl StepSeconds {
    /// From the seconds of each part.
    pub fn of(seconds: impl Fn(Part) -> f64) -> Self {
        Self {
            data: seconds(Part::Data),
            forward: seconds(Part::Forward),
            backward: seconds(Part::Backward),
            communication: seconds(Part::Communication),
            optimizer: seconds(Part::Optimizer),
            other: seconds(Part::Other),
        }
    }

    /// Seconds of a part.
    pub fn get(&self, part: Part) -> f64 {
        match part {
            Part::Data => self.data,
            Part::Forward => self.forward,
            Part::Backward => self.backward,
            Part::Communication => self.communication,
            Part::Optimizer => self.optimizer,
            Part::Other => self.other,
        }
    }

    /// Seconds of a step.
    pub fn total(&self) -> f64 {
        Part::ALL.into_iter().map(|part| self.get(part)).sum()
    }

    /// What a rank does by itself.
    pub fn work(&self) -> f64 {
        self.data + self.forward + self.backward + self.optimizer
    }

    /// The part that takes longest, and its share of the whole; none where nothing was measured.
    pub fn largest(&self) -> Option<(Part, f64)> {
        let total = self.total();
        let largest = Part::ALL.into_iter().max_by(|a, b| self.get(*a).total_cmp(&self.get(*b)))?;
        (total.is_finite() && total > 0.0).then(|| (largest, self.get(largest) / total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_and_the_largest_is_found() {
        for (i, largest) in Part::ALL.into_iter().enumerate() {
            let seconds = StepSeconds::of(|part| if part == largest { 5.0 } else { 1.0 });
            assert_eq!(largest as usize, i, "they are counted in this order");
            assert_eq!((seconds.total(), seconds.largest()), (10.0, Some((largest, 0.5))));
            let json = serde_json::to_value(seconds).unwrap();
            assert_eq!(json.as_object().unwrap().len(), Part::ALL.len());
            assert_eq!(json[Part::ALL[i].name()], 5.0, "names in metrics are those of the fields");
        }
        let seconds = StepSeconds { data: 1.0, communication: 7.0, other: 9.0, ..StepSeconds::default() };
        assert_eq!(seconds.work(), 1.0);
        assert_eq!(StepSeconds::default().largest(), None);
        assert_eq!(StepSeconds { data: f64::NAN, ..seconds }.largest(), None);
    }
}
