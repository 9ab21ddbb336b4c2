//! Streaming datasets: sample order, MDS shards, verified node cache.
