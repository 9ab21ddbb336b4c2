//! What happens when, under the virtual clock.

use super::super::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Events in the order of their times; of the same time, in the order in which they were put in.
pub(super) struct Queue<T> {
    heap: BinaryHeap<Entry<T>>,
    seq: u64,
}

struct Entry<T> {
    key: Reverse<(Time, u64)>,
    what: T,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), seq: 0 }
    }

    pub(super) fn put(&mut self, at: Time, what: T) {
        self.seq += 1;
        self.heap.push(Entry { key: Reverse((at, self.seq)), what });
    }

    /// The next one, if it is due by `until`.
    pub(super) fn take(&mut self, until: Time) -> Option<(Time, T)> {
        let is_due = self.heap.peek().is_some_and(|entry| entry.key.0.0 <= until);
        let entry = if is_due { self.heap.pop() } else { None }?;
        Some((entry.key.0.0, entry.what))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}
