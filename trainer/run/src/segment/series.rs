//! How segments are named: a series has one writer, and each of its objects says in its name which numbers it holds.

use crate::layout::number;
use crate::{Generation, Incarnation, NodeId};
use lockstep_storage::Meta;

/// The folder of a series and what its names end in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shelf {
    /// Relative to the run's folder.
    pub folder: &'static str,
    ending: &'static str,
}

/// Logging intervals and evaluations, one JSON object a line.
pub const METRICS: Shelf = Shelf { folder: "metrics", ending: ".jsonl" };
/// What happened, one JSON object a line.
pub const EVENTS: Shelf = Shelf { folder: "events", ending: ".jsonl" };
/// What workers printed.
pub const LOGS: Shelf = Shelf { folder: "logs", ending: ".log" };
/// The metrics for TensorBoard, which wants `tfevents` in the name.
pub const TENSORBOARD: Shelf = Shelf { folder: "tensorboard", ending: ".tfevents" };
/// All of them.
pub const SHELVES: [Shelf; 4] = [METRICS, EVENTS, LOGS, TENSORBOARD];

/// The agent that writes a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The newest generation when it began.
    pub since: Generation,
    /// Its node.
    pub node: NodeId,
    /// Which life of it.
    pub incarnation: Incarnation,
}

/// One writer's lines, cut into objects that are created once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// Name of its objects up to their numbers, such as `metrics/0000000000-0-0001`.
    stem: String,
    ending: &'static str,
}

impl Series {
    /// The series of an agent on a shelf.
    pub fn of(shelf: Shelf, owner: Owner) -> Self {
        let Owner { since, node, incarnation } = owner;
        let stem = match shelf == LOGS {
            true => format!("{}/{node}/{incarnation:04}", shelf.folder),
            false => format!("{}/{since:010}-{node}-{incarnation:04}", shelf.folder),
        };
        Self { stem, ending: shelf.ending }
    }

    /// The object that holds segment number `seq`.
    pub fn segment(&self, seq: u64) -> String {
        format!("{}-{seq:06}{}", self.stem, self.ending)
    }

    /// The object that holds the segments from `first` to `last`.
    pub fn merged(&self, first: u64, last: u64) -> String {
        format!("{}-{first:06}-{last:06}{}", self.stem, self.ending)
    }
}

/// One object of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its path.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The series that it belongs to.
    pub series: Series,
    /// The number of its writer's first segment that it holds.
    pub first: u64,
    /// And of the last.
    pub last: u64,
    /// The node and the life of the agent that writes the series; none in series of format 0 that don't tell.
    pub writer: Option<(NodeId, Incarnation)>,
    order: [u64; 3],
}

impl Segment {
    /// Reads an object's name; `None` for what is no segment of this shelf.
    pub fn parse(shelf: Shelf, meta: &Meta) -> Option<Self> {
        let rest = meta.path.strip_prefix(shelf.folder)?.strip_prefix('/')?.strip_suffix(shelf.ending)?;
        let (node, name) = match shelf == LOGS {
            true => rest.split_once('/').and_then(|(node, name)| Some((Some(number(node)?), name)))?,
            false => (None, rest),
        };
        let fields: Vec<_> = name.split('-').map(number).collect::<Option<_>>()?;
        // Logs: life, numbers. Else generation, node, life, numbers; in format 0 metrics and tensorboard lack node and life.
        let num_keys = match (shelf == LOGS, fields.len()) {
            (true, 2 | 3) | (false, 2 | 3) => 1,
            (false, 4 | 5) => 3,
            _ => return None,
        };
        let (keys, numbers) = fields.split_at(num_keys);
        let (first, last) = (*numbers.first()?, *numbers.last()?);
        let small = |n: u64| u32::try_from(n).ok();
        let (writer, order) = match (node, keys) {
            (Some(node), [life]) => (Some((small(node)?, small(*life)?)), [0, node, *life]),
            (None, [generation, node, life]) => {
                (Some((small(*node)?, small(*life)?)), [*generation, *node, *life])
            }
            (None, [generation]) => (None, [*generation, 0, 0]),
            _ => return None,
        };
        let stem_end = name.rmatch_indices('-').nth(numbers.len() - 1)?.0;
        let stem = meta.path[..meta.path.len() - shelf.ending.len() - name.len() + stem_end].to_owned();
        (first <= last).then(|| Self {
            path: meta.path.clone(),
            bytes: meta.bytes,
            series: Series { stem, ending: shelf.ending },
            first,
            last,
            writer: writer.map(|(node, life)| (NodeId(node), Incarnation(life))),
            order,
        })
    }
}

/// A shelf's segments in the order in which they were written, without those whose content a merged one holds too, and
/// those that are left out.
pub fn shelve(shelf: Shelf, objects: &[Meta]) -> (Vec<Segment>, Vec<Segment>) {
    let mut found: Vec<_> = objects.iter().filter_map(|meta| Segment::parse(shelf, meta)).collect();
    // Of two that begin alike the longer one comes first, so it is there before those that it holds.
    found.sort_by(|a, b| {
        let order = |s: &Segment| (s.order, s.first, std::cmp::Reverse(s.last));
        order(a).cmp(&order(b)).then_with(|| a.path.cmp(&b.path))
    });
    let (mut kept, mut covered): (Vec<Segment>, Vec<Segment>) = (Vec::new(), Vec::new());
    for segment in found {
        match kept.last() {
            Some(last) if last.series == segment.series && segment.last <= last.last => covered.push(segment),
            _ => kept.push(segment),
        }
    }
    (kept, covered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(path: &str) -> Meta {
        Meta { path: path.to_owned(), bytes: 1, etag: None, version: None }
    }

    fn owner(node: u32, incarnation: u32) -> Owner {
        Owner { since: Generation(3), node: NodeId(node), incarnation: Incarnation(incarnation) }
    }

    #[test]
    fn names_parse_back_on_every_shelf() {
        for shelf in SHELVES {
            let series = Series::of(shelf, owner(1, 2));
            for (path, first, last) in [(series.segment(7), 7, 7), (series.merged(0, 59), 0, 59)] {
                let segment = Segment::parse(shelf, &meta(&path)).unwrap();
                assert_eq!((&segment.series, segment.first, segment.last), (&series, first, last), "{path}");
                assert_eq!(segment.writer, Some((NodeId(1), Incarnation(2))), "{path}");
            }
        }
    }

    #[test]
    fn format_0_is_read_and_what_others_left_is_not() {
        let old = [
            (METRICS, "metrics/0000000001-000002.jsonl"),
            (TENSORBOARD, "tensorboard/0000000001-000002.tfevents"),
            (EVENTS, "events/0000000001-0-0001-000002.jsonl"),
            (LOGS, "logs/0/0001-000002.log"),
        ];
        for (shelf, path) in old {
            assert_eq!(Segment::parse(shelf, &meta(path)).map(|s| (s.first, s.last)), Some((2, 2)), "{path}");
        }
        let foreign = [
            (METRICS, "metrics/.DS_Store"),
            (METRICS, "metrics/._0000000001-000002.jsonl"),
            (METRICS, "metrics/.nfs000000001"),
            (METRICS, "metrics/0000000001-000002.jsonl~"),
            (METRICS, "metrics/0000000001-000005-000002.jsonl"),
            (LOGS, "logs/0/x.log"),
            (LOGS, "logs/0001-000002.log"),
            (EVENTS, "events/1-2-3-4-5-6.jsonl"),
        ];
        for (shelf, path) in foreign {
            assert_eq!(Segment::parse(shelf, &meta(path)), None, "{path}");
        }
    }

    #[test]
    fn what_a_merged_segment_holds_is_read_once() {
        let (a, b) = (Series::of(METRICS, owner(0, 1)), Series::of(METRICS, owner(0, 2)));
        let paths =
            [b.segment(0), a.segment(60), a.segment(3), a.merged(0, 59), a.merged(0, 5), a.segment(59)];
        let (kept, covered) = shelve(METRICS, &paths.map(|path| meta(&path)));
        let paths = |segments: Vec<Segment>| segments.into_iter().map(|s| s.path).collect::<Vec<_>>();
        assert_eq!(paths(kept), [a.merged(0, 59), a.segment(60), b.segment(0)]);
        assert_eq!(paths(covered), [a.merged(0, 5), a.segment(3), a.segment(59)]);
    }
}
