//! A run's own folder and words: ids, records, segments, checkpoints, and the messages of its processes.
