use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Memory for shards that the cache's disk can't take, shared by all that a loader opens.
#[derive(Debug, Clone)]
pub(crate) struct Spare(Arc<AtomicU64>);

/// A part of it, given back when dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    from: Spare,
    bytes: u64,
}

impl Spare {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    /// `None` where too little is left.
    pub(crate) fn take(&self, bytes: u64) -> Option<Taken> {
        let less = |left: u64| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        Some(Taken { from: self.clone(), bytes })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.from.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_taken_again() {
        let spare = Spare::new(10);
        let first = spare.take(7).unwrap();
        assert!(spare.take(4).is_none());
        let second = spare.take(3).unwrap();
        drop((first, second));
        assert!(spare.take(10).is_some());
    }
}
