use bytes::Bytes;

use super::{Outcome, Place, expect, failed};
use crate::{Error, Meta};

pub(super) async fn missing(place: Place) -> Outcome {
    let s = &place.storage;
    s.put(&place.path("there/file"), "1".into()).await.map_err(failed)?;
    for name in ["file", "there", "there/file/below"] {
        let path = place.path(name);
        for (call, error) in [
            ("get", s.get(&path).await.err()),
            ("get of a range", s.get_range(&path, 0..1).await.err()),
            ("head", s.head(&path).await.err()),
        ] {
            let error = error.ok_or_else(|| format!("{call} found {path}, which was never written"))?;
            expect(error.is_not_found(), || format!("{call} of what was never written: {error}"))?;
            expect(error.to_string().contains(&s.uri(&path)), || format!("{error} doesn't name the object"))?;
        }
    }
    let listed = s.list(&place.path("folder")).await.map_err(failed)?;
    expect(listed.is_empty(), || format!("a folder that was never written lists {listed:?}"))?;
    s.delete(&place.path("file")).await.map_err(failed)
}

pub(super) async fn ranges(place: Place) -> Outcome {
    let s = &place.storage;
    let path = place.path("ten");
    s.put(&path, "0123456789".into()).await.map_err(failed)?;
    for (range, expected) in [(0..10, "0123456789"), (3..5, "34"), (9..10, "9"), (4..4, ""), (10..10, "")] {
        let found = s.get_range(&path, range.clone()).await.map_err(failed)?;
        expect(found == expected, || format!("bytes {range:?} were {found:?} instead of {expected:?}"))?;
    }
    #[allow(clippy::reversed_empty_ranges)]
    for range in [0..11, 10..12, 11..11, 5..4, 0..u64::MAX] {
        let answer = s.get_range(&path, range.clone()).await;
        expect(matches!(answer, Err(Error::OutOfRange { bytes: 10, .. })), || {
            format!("bytes {range:?} of 10 gave {answer:?}")
        })?;
    }
    Ok(())
}

pub(super) async fn sizes_first(place: Place) -> Outcome {
    let s = &place.storage;
    let path = place.path("ten");
    s.put(&path, "0123456789".into()).await.map_err(failed)?;
    for max in [10, 11, u64::MAX] {
        let found = s.get_at_most(&path, max).await.map_err(failed)?;
        expect(found == "0123456789", || format!("a read of at most {max} bytes gave {found:?}"))?;
    }
    for max in [0, 9] {
        let answer = s.get_at_most(&path, max).await;
        expect(matches!(answer, Err(Error::TooLarge { bytes: 10, .. })), || {
            format!("a read of at most {max} bytes of 10 gave {answer:?}")
        })?;
    }
    let absent = s.get_at_most(&place.path("none"), 9).await;
    expect(absent.as_ref().is_err_and(Error::is_not_found), || format!("what was never written: {absent:?}"))
}

pub(super) async fn if_match(place: Place) -> Outcome {
    let s = &place.storage;
    let path = place.path("object");
    s.put(&path, "first".into()).await.map_err(failed)?;
    let first = s.head(&path).await.map_err(failed)?;
    let listed = s.list(&place.folder).await.map_err(failed)?;
    expect(listed.first() == Some(&first), || format!("a listing gave {listed:?}, a head gave {first:?}"))?;
    expect_body(s.get_listed(&first).await, "first")?;
    // Of the same size, and of another.
    for body in ["other", "a longer one", ""] {
        s.put(&path, body.into()).await.map_err(failed)?;
        let answer = s.get_listed(&first).await;
        expect(matches!(answer, Err(Error::Changed { .. })), || {
            format!("a read of the content before {body:?} gave {answer:?}")
        })?;
        let now = s.head(&path).await.map_err(failed)?;
        expect((&now.etag, &now.version) != (&first.etag, &first.version), || {
            format!("different content has the same ETag {:?}", now.etag)
        })?;
        expect_body(s.get_listed(&now).await, body)?;
    }
    let resized = Meta { bytes: 1, ..s.head(&path).await.map_err(failed)? };
    let answer = s.get_listed(&resized).await;
    expect(matches!(answer, Err(Error::Changed { .. })), || {
        format!("a read of another size gave {answer:?}")
    })?;
    s.delete(&path).await.map_err(failed)?;
    let gone = s.get_listed(&first).await;
    expect(gone.as_ref().is_err_and(Error::is_not_found), || format!("a read after a delete gave {gone:?}"))
}

fn expect_body(answer: crate::Result<Bytes>, body: &str) -> Outcome {
    let found = answer.map_err(failed)?;
    expect(found == body, || format!("{found:?} was read instead of {body:?}"))
}
