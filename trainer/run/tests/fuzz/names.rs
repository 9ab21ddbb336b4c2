//! Names of objects: what is read from one is what its writer would name so, or another's way to write the same numbers.

use crate::support::corpus;
use lockstep_fuzzing::fuzz_text;
use lockstep_run::segment::{SHELVES, Segment, shelve};
use lockstep_run::{Generation, layout};
use lockstep_storage::Meta;

fn meta(path: &str) -> Meta {
    Meta { path: path.to_owned(), bytes: 1, etag: None, version: None }
}

#[test]
fn names() {
    fuzz_text("names", &corpus("names", &[]), |data| {
        let text = String::from_utf8_lossy(data);
        if let Some((step, generation)) = layout::parse_commit(&text) {
            assert_eq!(layout::parse_commit(&layout::commit(step, generation)), Some((step, generation)));
        }
        if let Some((node, life)) = layout::parse_join(&text) {
            assert_eq!(layout::parse_join(&layout::join(node, life)), Some((node, life)));
        }
        if let Some((folder, attempt)) = layout::parse_checkpoint(&text) {
            assert!(text.starts_with(folder) && text[folder.len()..].starts_with('/'), "{text}: {folder}");
            let written = layout::checkpoint(attempt.step, attempt.generation, attempt.nonce.unwrap_or(0), 0);
            let read = layout::parse_checkpoint(&(written + "/x")).unwrap().1;
            assert_eq!((read.step, read.generation), (attempt.step, attempt.generation));
        }
        let _ = layout::membership(Generation(text.len() as u64));
    });
}

#[test]
fn listings() {
    fuzz_text("listings", &corpus("listings", &[]), |data| {
        let text = String::from_utf8_lossy(data);
        let objects: Vec<_> = text.lines().map(meta).collect();
        for shelf in SHELVES {
            let (kept, covered) = shelve(shelf, &objects);
            let parsed = objects.iter().filter(|object| Segment::parse(shelf, object).is_some()).count();
            assert_eq!(kept.len() + covered.len(), parsed, "each segment is kept or covered");
            for segment in &covered {
                let holds = |other: &&Segment| {
                    other.series == segment.series
                        && other.first <= segment.first
                        && segment.last <= other.last
                };
                assert!(kept.iter().any(|other| holds(&other)), "{segment:?} is in none of {kept:?}");
            }
            for segment in kept.iter().chain(&covered) {
                let name = segment.series.merged(segment.first, segment.last);
                let again = Segment::parse(shelf, &meta(&name)).unwrap();
                assert_eq!((again.series, again.writer), (segment.series.clone(), segment.writer), "{name}");
            }
        }
    });
}
