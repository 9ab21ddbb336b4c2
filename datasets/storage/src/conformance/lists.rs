use bytes::Bytes;

use super::{Outcome, Place, expect, failed};
use crate::Created;

pub(super) async fn list_after_write(place: Place) -> Outcome {
    let s = &place.storage;
    let mut expected: Vec<(String, u64)> =
        (0..60).map(|i| (format!("a/{}/{i:03}", ["x", "x-y", "xy", "z"][i % 4]), i as u64)).collect();
    expected.sort();
    s.put(&place.path("ab"), "not below a".into()).await.map_err(failed)?;
    for (name, bytes) in &expected {
        let path = place.path(name);
        s.put(&path, Bytes::from(vec![0; *bytes as usize])).await.map_err(failed)?;
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let listed = s.list(folder).await.map_err(failed)?;
        expect(listed.iter().any(|meta| meta.path == path), || {
            format!("{path} isn't listed after its write")
        })?;
    }
    for folder in ["a", "a/"] {
        let listed = s.list(&place.path(folder)).await.map_err(failed)?;
        let found: Vec<_> = listed.into_iter().map(|meta| (place.name(&meta.path), meta.bytes)).collect();
        expect(found == expected, || {
            format!("{} objects were written, but these are listed: {found:?}", expected.len())
        })?;
    }
    let right = expected.iter().filter(|(name, _)| name.starts_with("a/x/")).count();
    let found = s.list(&place.path("a/x")).await.map_err(failed)?.len();
    expect(found == right, || {
        format!("{found} objects are listed below x, where {right} are: only whole names match")
    })
}

pub(super) async fn folders(place: Place) -> Outcome {
    let s = &place.storage;
    // More than a page of them where pages are small, and more than a page of objects in the first.
    let mut expected: Vec<_> = (0..30).map(|i| format!("run-{i}")).collect();
    expected.sort();
    for i in 0..30 {
        s.put(&place.path(&format!("run-0/deep/{i:03}")), "1".into()).await.map_err(failed)?;
    }
    for name in &expected {
        s.put(&place.path(&format!("{name}/run.json")), "1".into()).await.map_err(failed)?;
    }
    s.put(&place.path("file"), "not a folder".into()).await.map_err(failed)?;
    let is = async |folder: &str, expected: &[String]| {
        let found = s.folders(folder).await.map_err(failed)?;
        expect(found == expected, || format!("{folder} has the folders {expected:?}, but lists {found:?}"))
    };
    for folder in [place.folder.clone(), format!("{}/", place.folder)] {
        is(&folder, &expected).await?;
    }
    is(&place.path("run-0"), &["deep".to_owned()]).await?;
    for none in ["run-1", "run", "file", "missing"] {
        is(&place.path(none), &[]).await?;
    }
    Ok(())
}

pub(super) async fn delete(place: Place) -> Outcome {
    let s = &place.storage;
    let path = place.path("one");
    s.create(&path, "1".into()).await.map_err(failed)?;
    s.create(&place.path("two"), "2".into()).await.map_err(failed)?;
    for _ in 0..2 {
        s.delete(&path).await.map_err(failed)?;
    }
    let gone = s.get(&path).await;
    expect(gone.as_ref().is_err_and(crate::Error::is_not_found), || {
        format!("a read after a delete gave {gone:?}")
    })?;
    let left = s.list(&place.folder).await.map_err(failed)?.len();
    expect(left == 1, || format!("{left} objects are listed where one of two was deleted"))?;
    let created = s.create(&path, "again".into()).await.map_err(failed)?;
    expect(created == Created::Ours, || format!("a create after a delete returned {created:?}"))
}
