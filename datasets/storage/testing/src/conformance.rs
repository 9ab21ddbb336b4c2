//! The contract of [`Storage`] as a suite that every implementation runs.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use lockstep_storage::{Created, Error, Meta, Storage};

type Shared = Arc<dyn Storage>;
type Check = fn(Shared) -> BoxFuture<'static, ()>;

/// More than any check needs on a slow disk; a hang fails the suite instead of blocking it.
const DEADLINE: Duration = Duration::from_secs(120);

/// Runs every check on a storage, which must be empty. Each works in a folder of its own name.
///
/// # Panics
/// When the implementation breaks the contract.
pub async fn run(storage: Shared) {
    assert_eq!(storage.list("").await.unwrap(), [], "the suite needs an empty storage");
    let checks: [(&str, Check); 16] = [
        ("round_trip", |s| Box::pin(round_trip(s))),
        ("missing", |s| Box::pin(missing(s))),
        ("ranges", |s| Box::pin(ranges(s))),
        ("at_most", |s| Box::pin(at_most(s))),
        ("listed", |s| Box::pin(listed(s))),
        ("create_once", |s| Box::pin(create_once(s))),
        ("create_race", |s| Box::pin(create_race(s))),
        ("put_replaces", |s| Box::pin(put_replaces(s))),
        ("replace", |s| Box::pin(replace(s))),
        ("replace_race", |s| Box::pin(replace_race(s))),
        ("whole_or_nothing", |s| Box::pin(whole_or_nothing(s))),
        ("list", |s| Box::pin(list(s))),
        ("folders", |s| Box::pin(folders(s))),
        ("delete", |s| Box::pin(delete(s))),
        ("bad_paths", |s| Box::pin(bad_paths(s))),
        ("large_put", |s| Box::pin(large_put(s))),
    ];
    for (name, check) in checks {
        let done = tokio::time::timeout(DEADLINE, check(storage.clone())).await;
        assert!(done.is_ok(), "{name} did not end within {DEADLINE:?}");
    }
}

async fn round_trip(s: Shared) {
    for (name, body) in [
        ("empty", Bytes::new()),
        ("one", Bytes::from_static(b"1")),
        ("with space, ü and = in it", Bytes::from_static(b"x")),
        (".hidden", Bytes::from_static(b"x")),
        ("deep/er/and/deeper.bin", Bytes::from(vec![7; 1 << 20])),
    ] {
        let path = format!("round_trip/{name}");
        s.put(&path, body.clone()).await.unwrap();
        assert_eq!(s.get(&path).await.unwrap(), body, "{path}");
        let meta = s.head(&path).await.unwrap();
        assert_eq!((meta.path.as_str(), meta.bytes), (path.as_str(), body.len() as u64));
    }
}

async fn missing(s: Shared) {
    s.put("missing/there/file", "1".into()).await.unwrap();
    for path in ["missing/file", "missing/there", "missing/there/file/below"] {
        for error in [
            s.get(path).await.unwrap_err(),
            s.get_range(path, 0..1).await.unwrap_err(),
            s.head(path).await.unwrap_err(),
        ] {
            assert!(error.is_not_found(), "{error:?}");
            assert!(error.to_string().contains(&s.uri(path)), "{error} should name the object");
        }
    }
    assert_eq!(s.list("missing/folder").await.unwrap(), []);
    s.delete("missing/file").await.unwrap();
}

async fn ranges(s: Shared) {
    s.put("ranges/ten", "0123456789".into()).await.unwrap();
    for (range, expected) in [(0..10, "0123456789"), (3..5, "34"), (9..10, "9"), (4..4, ""), (10..10, "")] {
        assert_eq!(s.get_range("ranges/ten", range.clone()).await.unwrap(), expected, "{range:?}");
    }
    #[allow(clippy::reversed_empty_ranges)]
    for range in [0..11, 10..12, 11..11, 5..4, 0..u64::MAX] {
        let error = s.get_range("ranges/ten", range.clone()).await.unwrap_err();
        assert!(matches!(error, Error::OutOfRange { bytes: 10, .. }), "{range:?}: {error:?}");
    }
}

async fn at_most(s: Shared) {
    s.put("at_most/ten", "0123456789".into()).await.unwrap();
    for max in [10, 11, u64::MAX] {
        assert_eq!(s.get_at_most("at_most/ten", max).await.unwrap(), "0123456789", "{max}");
    }
    for max in [0, 9] {
        let error = s.get_at_most("at_most/ten", max).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { bytes: 10, .. }), "{max}: {error:?}");
        assert!(error.to_string().contains(&s.uri("at_most/ten")), "{error} should name the object");
    }
    assert!(s.get_at_most("at_most/none", 9).await.unwrap_err().is_not_found());
}

/// What was listed is read, or told to be another by now.
async fn listed(s: Shared) {
    const PATH: &str = "listed/object";
    s.put(PATH, "first".into()).await.unwrap();
    let first = s.head(PATH).await.unwrap();
    assert_eq!(s.list("listed").await.unwrap().first(), Some(&first), "list and head tell the same");
    assert_eq!(s.get_listed(&first).await.unwrap(), "first");
    // Of the same size, and of another.
    for body in ["other", "a longer one", ""] {
        s.put(PATH, body.into()).await.unwrap();
        let error = s.get_listed(&first).await.unwrap_err();
        assert!(matches!(error, Error::Changed { .. }), "{body:?}: {error:?}");
        let now = s.head(PATH).await.unwrap();
        assert_ne!((&now.etag, &now.version), (&first.etag, &first.version));
        assert_eq!(s.get_listed(&now).await.unwrap(), body);
    }
    let resized = Meta { bytes: 1, ..s.head(PATH).await.unwrap() };
    assert!(matches!(s.get_listed(&resized).await, Err(Error::Changed { .. })));
    s.delete(PATH).await.unwrap();
    assert!(s.get_listed(&first).await.unwrap_err().is_not_found());
}

async fn create_once(s: Shared) {
    let (mine, other) = (Bytes::from_static(b"mine"), Bytes::from_static(b"other"));
    for (name, secret) in [("plain", false), ("secret", true)] {
        let path = format!("create_once/{name}");
        let create = |body: &Bytes| {
            let (s, path, body) = (s.clone(), path.clone(), body.clone());
            async move { if secret { s.create_secret(&path, body).await } else { s.create(&path, body).await } }
        };
        assert_eq!(create(&mine).await.unwrap(), Created::Ours);
        assert_eq!(create(&mine).await.unwrap(), Created::Ours, "the same content again");
        assert_eq!(create(&other).await.unwrap(), Created::Theirs(mine.clone()));
        assert_eq!(s.get(&path).await.unwrap(), mine);
    }
    s.put("create_once/put", mine.clone()).await.unwrap();
    assert_eq!(s.create("create_once/put", other).await.unwrap(), Created::Theirs(mine));
}

async fn create_race(s: Shared) {
    for round in 0..8 {
        let path = format!("create_race/{round}");
        let writers = (0..16).map(|writer| {
            let (s, path) = (s.clone(), path.clone());
            // Different sizes, so that mixed content would show.
            let body = Bytes::from(format!("writer {writer}").repeat(1 + writer * 10));
            tokio::spawn(async move { (body.clone(), s.create(&path, body).await.unwrap()) })
        });
        let answers: Vec<_> = join_all(writers).await.into_iter().map(Result::unwrap).collect();
        let won: Vec<_> = answers.iter().filter(|(_, created)| *created == Created::Ours).collect();
        assert_eq!(won.len(), 1, "{path} must have exactly one winner: {answers:?}");
        let winner = &won[0].0;
        for (body, created) in &answers {
            if body != winner {
                assert_eq!(*created, Created::Theirs(winner.clone()));
            }
        }
        assert_eq!(s.get(&path).await.unwrap(), *winner);
    }
}

async fn put_replaces(s: Shared) {
    s.put("put_replaces/one", "a longer first try".into()).await.unwrap();
    s.put("put_replaces/one", "second".into()).await.unwrap();
    assert_eq!(s.get("put_replaces/one").await.unwrap(), "second");
    assert_eq!(s.list("put_replaces").await.unwrap().len(), 1);
}

async fn replace(s: Shared) {
    const PATH: &str = "replace/object";
    s.put(PATH, "first".into()).await.unwrap();
    let first = s.head(PATH).await.unwrap();
    assert!(s.replace(&first, "second".into()).await.unwrap());
    assert_eq!(s.get(PATH).await.unwrap(), "second");
    assert!(!s.replace(&first, "third".into()).await.unwrap(), "it is no longer the first");
    assert_eq!(s.get(PATH).await.unwrap(), "second");
    let second = s.head(PATH).await.unwrap();
    s.delete(PATH).await.unwrap();
    assert!(!s.replace(&second, "third".into()).await.unwrap(), "it is gone");
    assert!(s.get(PATH).await.unwrap_err().is_not_found());
}

async fn replace_race(s: Shared) {
    for round in 0..8 {
        let path = format!("replace_race/{round}");
        s.put(&path, "first".into()).await.unwrap();
        let first = s.head(&path).await.unwrap();
        let writers = (0..16).map(|writer| {
            let (s, first) = (s.clone(), first.clone());
            let body = Bytes::from(format!("writer {writer}").repeat(1 + writer * 10));
            tokio::spawn(async move { (body.clone(), s.replace(&first, body).await.unwrap()) })
        });
        let answers: Vec<_> = join_all(writers).await.into_iter().map(Result::unwrap).collect();
        let won: Vec<_> = answers.iter().filter(|(_, done)| *done).collect();
        assert_eq!(won.len(), 1, "{path} must have exactly one winner");
        assert_eq!(s.get(&path).await.unwrap(), won[0].0);
    }
}

async fn whole_or_nothing(s: Shared) {
    const PATH: &str = "whole_or_nothing/object";
    let writer = {
        let s = s.clone();
        tokio::spawn(async move {
            for round in 0..20_u8 {
                s.put(PATH, Bytes::from(vec![round; 300_000 + usize::from(round)])).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        match s.get(PATH).await {
            Ok(body) => {
                let round = body[0];
                assert_eq!(body.len(), 300_000 + usize::from(round));
                assert!(body.iter().all(|byte| *byte == round), "a reader saw two writes at once");
            }
            Err(error) => assert!(error.is_not_found(), "{error:?}"),
        }
        for listed in s.list("whole_or_nothing").await.unwrap() {
            assert_eq!(listed.path, PATH, "an unfinished object is listed");
        }
    }
    writer.await.unwrap();
}

async fn list(s: Shared) {
    let mut expected: Vec<(String, u64)> =
        (0..60).map(|i| (format!("list/a/{}/{i:03}", ["x", "x-y", "xy", "z"][i % 4]), i as u64)).collect();
    expected.sort();
    s.put("list/ab", "not below list/a".into()).await.unwrap();
    for (path, bytes) in &expected {
        s.put(path, Bytes::from(vec![0; *bytes as usize])).await.unwrap();
        let listed = s.list(path.rsplit_once('/').unwrap().0).await.unwrap();
        assert!(listed.iter().any(|meta| meta.path == *path), "{path} is not listed after its write");
    }
    for folder in ["list/a", "list/a/"] {
        let listed = s.list(folder).await.unwrap();
        let found: Vec<_> = listed.into_iter().map(|meta| (meta.path, meta.bytes)).collect();
        assert_eq!(found, expected);
    }
    let below_x = expected.iter().filter(|(path, _)| path.starts_with("list/a/x/")).count();
    assert_eq!(s.list("list/a/x").await.unwrap().len(), below_x, "only whole names match");
    let root: Vec<_> = s.list("").await.unwrap().into_iter().map(|meta| meta.path).collect();
    assert!(root.is_sorted() && root.contains(&"list/ab".to_owned()));
}

async fn folders(s: Shared) {
    // More than a page of them, and more than a page of objects in the first.
    let mut expected: Vec<_> = (0..30).map(|i| format!("run-{i}")).collect();
    expected.sort();
    for i in 0..30 {
        s.put(&format!("folders/run-0/deep/{i:03}"), "1".into()).await.unwrap();
    }
    for name in &expected {
        s.put(&format!("folders/{name}/run.json"), "1".into()).await.unwrap();
    }
    s.put("folders/file", "not a folder".into()).await.unwrap();
    for folder in ["folders", "folders/"] {
        assert_eq!(s.folders(folder).await.unwrap(), expected);
    }
    assert_eq!(s.folders("folders/run-0").await.unwrap(), ["deep"]);
    for none in ["folders/run-1", "folders/run", "folders/file", "folders/missing"] {
        assert_eq!(s.folders(none).await.unwrap(), [""; 0], "{none}");
    }
    let root = s.folders("").await.unwrap();
    assert!(root.is_sorted() && root.contains(&"folders".to_owned()));
}

async fn delete(s: Shared) {
    s.create("delete/one", "1".into()).await.unwrap();
    s.create("delete/two", "2".into()).await.unwrap();
    s.delete("delete/one").await.unwrap();
    s.delete("delete/one").await.unwrap();
    assert!(s.get("delete/one").await.unwrap_err().is_not_found());
    assert_eq!(s.list("delete").await.unwrap().len(), 1);
    assert_eq!(s.create("delete/one", "again".into()).await.unwrap(), Created::Ours);
}

async fn bad_paths(s: Shared) {
    for path in ["../up", "/abs", "a/../b", "a//b", "a/", "a\\b", "a\0b", "bad_paths/.tmp-x"] {
        let meta = Meta { path: path.to_owned(), bytes: 1, etag: None, version: None };
        let errors = [
            s.get(path).await.unwrap_err(),
            s.get_at_most(path, 1).await.unwrap_err(),
            s.get_listed(&meta).await.unwrap_err(),
            s.replace(&meta, "x".into()).await.unwrap_err(),
            s.get_range(path, 0..1).await.unwrap_err(),
            s.head(path).await.unwrap_err(),
            s.create(path, "x".into()).await.unwrap_err(),
            s.create_secret(path, "x".into()).await.unwrap_err(),
            s.put(path, "x".into()).await.unwrap_err(),
            s.delete(path).await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, Error::BadPath { .. }), "{path:?}: {error:?}");
        }
    }
    // What file managers, editors and file systems leave is never listed, so it can't be written either.
    for path in [".DS_Store", "a/._b", ".nfs1/a", "index.json~", "lost+found/a", ".a.swp"] {
        let errors = [
            s.create(path, "x".into()).await.unwrap_err(),
            s.create_secret(path, "x".into()).await.unwrap_err(),
            s.put(path, "x".into()).await.unwrap_err(),
        ];
        assert!(errors.iter().all(|error| matches!(error, Error::BadPath { .. })), "{path:?}: {errors:?}");
    }
    assert!(matches!(s.list("../up").await, Err(Error::BadPath { .. })));
    assert!(matches!(s.folders("../up").await, Err(Error::BadPath { .. })));
}

async fn large_put(s: Shared) {
    let body: Bytes = (0..40_000_000_u32 / 4).flat_map(u32::to_le_bytes).collect::<Vec<_>>().into();
    s.put("large_put/object", body.clone()).await.unwrap();
    assert_eq!(s.head("large_put/object").await.unwrap().bytes, body.len() as u64);
    assert!(s.get("large_put/object").await.unwrap() == body, "content differs");
    let middle = s.get_range("large_put/object", 16_777_210..16_777_230).await.unwrap();
    assert_eq!(middle, body.slice(16_777_210..16_777_230), "across the border of two parts");
}
