//! One series of the run's folder, written by a task of its own: nobody waits for the storage.

use bytes::Bytes;
use lockstep_run::segment::SegmentWriter;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

/// The first pause between two segments; a day's lines are no more useful for being there every second.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A segment of this size is written before its time.
const FULL_BYTES: usize = 256 << 10;
/// Lines that may wait for a storage that is slow or away. Unit: bytes.
const MOST_BYTES: usize = 8 << 20;
/// A failed write is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Collects lines for one series. Never blocks.
#[derive(Debug, Clone)]
pub(super) struct Shelf(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    /// Wakes the task before its time.
    wake: Notify,
    /// Lines wait that somebody counts on.
    flushing: AtomicBool,
    closing: AtomicBool,
}

#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    /// Lines left out before the first of them, and their size.
    dropped: (u64, u64),
}

impl Pending {
    /// Leaves the older half out.
    fn make_room(&mut self) {
        let half = self.bytes.len() / 2;
        let end = self.bytes[half..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(self.bytes.len(), |at| half + at + 1);
        let lines = self.bytes.drain(..end).filter(|byte| *byte == b'\n').count();
        self.dropped = (self.dropped.0 + lines as u64, self.dropped.1 + end as u64);
    }
}

impl Shelf {
    /// Starts the task. Ends when [`Shelf::close`] says so; the returned handle is done when all is written.
    pub(super) fn start(writer: SegmentWriter) -> (Self, impl Future<Output = ()>) {
        let shelf = Self(Arc::default());
        let shared = shelf.0.clone();
        (shelf, shared.keep(writer))
    }

    /// Adds what must not be lost; `soon` where somebody may look for it within seconds.
    pub(super) fn push(&self, line: &[u8], soon: bool) {
        let mut pending = self.0.lock();
        pending.bytes.extend_from_slice(line);
        if soon || pending.bytes.len() >= FULL_BYTES {
            self.0.wake.notify_one();
        }
    }

    /// Adds what may be left out, and counted, where the storage takes it more slowly than it comes: the oldest goes, since
    /// what a worker prints last says why it ended.
    pub(super) fn push_or_drop(&self, line: &[u8]) {
        let mut pending = self.0.lock();
        if pending.bytes.len() + line.len() > MOST_BYTES {
            pending.make_room();
        }
        pending.bytes.extend_from_slice(line);
        if pending.bytes.len() >= FULL_BYTES {
            self.0.wake.notify_one();
        }
    }

    /// Lets the task write at once what waits.
    pub(super) fn flush(&self) {
        self.0.flushing.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }

    /// Lets the task write the rest and end.
    pub(super) fn close(&self) {
        self.0.closing.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }
}

impl Shared {
    // Nothing panics while the lock is held.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Bytes {
        let mut pending = self.lock();
        let bytes = std::mem::take(&mut pending.bytes);
        let (lines, size) = std::mem::take(&mut pending.dropped);
        if lines == 0 {
            return bytes.into();
        }
        let told = format!("({lines} lines, {size} bytes, were left out here: the storage was too slow)\n");
        [told.as_bytes(), &bytes].concat().into()
    }

    fn is_urgent(&self) -> bool {
        let asked = [&self.closing, &self.flushing].iter().any(|flag| flag.load(Ordering::Acquire));
        asked || self.lock().bytes.len() >= FULL_BYTES
    }

    async fn keep(self: Arc<Self>, mut writer: SegmentWriter) {
        let mut pause = FIRST_PAUSE;
        loop {
            if timeout(pause, self.wake.notified()).await.is_ok() && !self.is_urgent() {
                // What comes along within the same moment goes into the same segment.
                let _ = timeout(FIRST_PAUSE, self.wake.notified()).await;
            }
            let closing = self.closing.load(Ordering::Acquire);
            self.flushing.store(false, Ordering::Release);
            pause = (pause * 2).min(LONGEST_PAUSE);
            let body = self.take();
            if !body.is_empty() {
                self.write(&mut writer, body).await;
            }
            if (closing || writer.is_due())
                && let Err(error) = writer.merge().await
            {
                tracing::debug!(%error, "can't merge segments, will try again");
            }
            if closing && self.lock().bytes.is_empty() {
                return;
            }
        }
    }

    /// Writes one segment, however long that takes. A failure that lasts is told at growing intervals.
    async fn write(&self, writer: &mut SegmentWriter, body: Bytes) {
        let since = Instant::now();
        let mut told = since;
        while let Err(error) = writer.write(body.clone()).await {
            if Instant::now() >= told {
                tracing::warn!(%error, "can't write to the run's folder, will try again");
                told = Instant::now() + since.elapsed().max(AGAIN_AFTER);
            }
            sleep(AGAIN_AFTER).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_run::segment::{LOGS, METRICS, Owner, Series};
    use lockstep_run::{Generation, Incarnation, NodeId, RunDir};

    fn writer(dir: &RunDir, shelf: lockstep_run::segment::Shelf) -> SegmentWriter {
        let owner = Owner { since: Generation(0), node: NodeId(0), incarnation: Incarnation(1) };
        SegmentWriter::new(dir.clone(), Series::of(shelf, owner))
    }

    async fn objects(dir: &RunDir, folder: &str) -> Vec<String> {
        dir.storage().list(folder).await.unwrap().into_iter().map(|meta| meta.path).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_day_of_lines_is_some_objects_an_hour_and_one_line_is_there_soon() {
        let dir = RunDir::open("memory://").unwrap();
        let (shelf, task) = Shelf::start(writer(&dir, METRICS));
        let task = tokio::spawn(task);
        shelf.push(b"first\n", false);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(objects(&dir, "metrics").await.len(), 1, "the first lines are there at once");
        for _ in 0..24 * 3600 {
            shelf.push(b"x\n", false);
            sleep(Duration::from_secs(1)).await;
        }
        let living = objects(&dir, "metrics").await.len();
        assert!(living <= 24 + 60 + 2, "{living} objects after a day");
        shelf.push(b"last\n", true);
        shelf.close();
        task.await.unwrap();
        let ended = objects(&dir, "metrics").await;
        assert!(ended.len() <= 24 + 2, "{} objects of a run that ended", ended.len());
        let mut all = Vec::new();
        for segment in dir.segments(METRICS).await.unwrap() {
            all.extend_from_slice(&dir.storage().get(&segment.path).await.unwrap());
        }
        assert_eq!(all.len(), "first\nlast\n".len() + 2 * 24 * 3600, "nothing is lost or doubled");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_flushed_is_there_before_its_time() {
        let dir = RunDir::open("memory://").unwrap();
        let (shelf, task) = Shelf::start(writer(&dir, METRICS));
        tokio::spawn(task);
        sleep(Duration::from_secs(600)).await;
        shelf.push(b"a\n", false);
        sleep(Duration::from_millis(1)).await;
        assert!(objects(&dir, "metrics").await.is_empty());
        shelf.flush();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(objects(&dir, "metrics").await.len(), 1);
        shelf.push(b"b\n", false);
        sleep(FIRST_PAUSE).await;
        assert_eq!(objects(&dir, "metrics").await.len(), 1, "one flush is no haste for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn lines_that_may_be_lost_are_bounded_and_counted() {
        let dir = RunDir::open("memory://").unwrap();
        let (shelf, task) = Shelf::start(writer(&dir, LOGS));
        let line = [&[b'x'; (1 << 16) - 1][..], b"\n"].concat();
        (0..1000).for_each(|_| shelf.push_or_drop(&line));
        shelf.push_or_drop(b"the last words\n");
        assert!(shelf.0.lock().bytes.len() <= MOST_BYTES);
        shelf.close();
        task.await;
        let path = objects(&dir, "logs").await.pop().unwrap();
        let body = dir.storage().get(&path).await.unwrap();
        let text = String::from_utf8_lossy(&body);
        assert!(text.ends_with("the last words\n"));
        let told = text.lines().next().unwrap();
        let left_out: usize = told[1..].split(' ').next().unwrap().parse().unwrap();
        assert_eq!(
            told,
            format!(
                "({left_out} lines, {} bytes, were left out here: the storage was too slow)",
                left_out << 16
            )
        );
        assert_eq!(text.lines().filter(|text| text.len() == line.len() - 1).count() + left_out, 1000);
    }
}
