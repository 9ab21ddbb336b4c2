use std::ops::Range;

use crate::{
    Replica,
    order::{OrderOptions, Permutation, key},
};

/// What a derived key is for.
const SHARDS: u64 = 1;
const FIRST_PASS: u64 = 2;
const SECOND_PASS: u64 = 3;

/// The order of one epoch.
///
/// The shards are permuted and cut into `lanes` runs of (almost) equal numbers of samples. Position `p` of the epoch is
/// offset `p / lanes` of lane `p % lanes`. Inside a lane offsets are permuted in blocks, and a second time in blocks
/// that begin half a block earlier, so that a sample can cross the borders of the first pass.
#[derive(Debug, Clone)]
pub struct EpochOrder {
    key: u64,
    global_batch: u64,
    lanes: u64,
    block: Option<u64>,
    num_samples: u64,
    /// For each permuted shard: where its samples begin in the permuted sequence, and in the dataset.
    runs: Vec<Run>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    begin: u64,
    first_sample: u64,
    shard: usize,
}

impl EpochOrder {
    pub(crate) fn new(options: &OrderOptions, shards: &[u64], epoch: u64) -> Self {
        let key = key(options.seed, &[epoch]);
        let mut first_sample = 0;
        let starts: Vec<u64> = shards
            .iter()
            .map(|samples| {
                first_sample += samples;
                first_sample - samples
            })
            .collect();
        let permutation = Permutation::new(shards.len() as u64, super::key(key, &[SHARDS]));
        let mut begin = 0;
        let runs = (0..shards.len())
            .map(|i| {
                let shard = if options.shuffle.is_some() { permutation.at(i as u64) as usize } else { i };
                begin += shards[shard];
                Run { begin: begin - shards[shard], first_sample: starts[shard], shard }
            })
            .collect();
        Self {
            key,
            global_batch: options.global_batch.into(),
            lanes: options.shuffle.map_or(1, |shuffle| shuffle.lanes.into()),
            block: options.shuffle.map(|shuffle| shuffle.block.into()),
            num_samples: first_sample,
            runs,
        }
    }

    /// The sample at a position of the epoch, which must be below the number of samples.
    pub fn sample(&self, position: u64) -> u64 {
        let (lane, offset) = (position % self.lanes, position / self.lanes);
        let place = self.lane(lane).start + self.mix(lane, offset);
        let run = self.runs[self.runs.partition_point(|run| run.begin <= place) - 1];
        run.first_sample + (place - run.begin)
    }

    /// The slots of a step of this epoch that belong to one rank; `None` is an empty slot after the last sample.
    ///
    /// All slots of the step are sorted by lane and cut into equal runs, so that a rank stays with few lanes, and the
    /// ranks together hold the same samples whatever their number.
    pub fn slots(&self, step: u64, replica: Replica) -> Vec<Option<u64>> {
        let begin = step * self.global_batch;
        let share = self.global_batch / u64::from(replica.world_size());
        let positions = (0..self.lanes).flat_map(|lane| {
            let first = begin + (lane + self.lanes - begin % self.lanes) % self.lanes;
            (first..begin + self.global_batch).step_by(self.lanes as usize)
        });
        positions
            .skip((u64::from(replica.rank()) * share) as usize)
            .take(share as usize)
            .map(|position| (position < self.num_samples).then(|| self.sample(position)))
            .collect()
    }

    /// The positions between which a shard's samples are used, somewhat widened. By shard, in no particular order.
    pub(crate) fn windows(&self) -> Vec<(usize, Range<u64>)> {
        let reach = self.block.map_or(0, |block| block + block / 2);
        let ends = self.runs.iter().skip(1).map(|run| run.begin).chain([self.num_samples]);
        let mut windows = Vec::new();
        for (run, end) in self.runs.iter().zip(ends) {
            // A shard on the border of lanes has a window in each.
            for lane in (0..self.lanes).map(|lane| self.lane(lane)) {
                let (from, to) = (run.begin.max(lane.start), end.min(lane.end));
                if from < to {
                    let first = (from - lane.start).saturating_sub(reach);
                    let last = (to - lane.start + reach).min(lane.end - lane.start);
                    windows.push((run.shard, first * self.lanes..last * self.lanes));
                }
            }
        }
        windows
    }

    /// The places of a lane in the permuted sequence; the first lanes take the remainder.
    fn lane(&self, lane: u64) -> Range<u64> {
        let (size, rest) = (self.num_samples / self.lanes, self.num_samples % self.lanes);
        let start = lane * size + lane.min(rest);
        start..start + size + u64::from(lane < rest)
    }

    fn mix(&self, lane: u64, offset: u64) -> u64 {
        let Some(block) = self.block else { return offset };
        let range = self.lane(lane);
        let size = range.end - range.start;
        let once = self.mix_blocks([FIRST_PASS, lane], 0, block, size, offset);
        self.mix_blocks([SECOND_PASS, lane], block / 2, block, size, once)
    }

    /// Permutes inside blocks whose borders are shifted to the left.
    fn mix_blocks(&self, [pass, lane]: [u64; 2], shift: u64, block: u64, size: u64, offset: u64) -> u64 {
        let number = (offset + shift) / block;
        let begin = (number * block).saturating_sub(shift);
        let end = ((number + 1) * block - shift).min(size);
        let permutation = Permutation::new(end - begin, super::key(self.key, &[pass, lane, number]));
        begin + permutation.at(offset - begin)
    }
}
