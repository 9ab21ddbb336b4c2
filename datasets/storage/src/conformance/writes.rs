use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;

use super::{Outcome, Place, expect, failed};
use crate::Created;

const RACERS: usize = 16;
const ROUNDS: usize = 8;
/// No other round begins after this: some stores answer those who lost one after the other, a second apart.
const ENOUGH: Duration = Duration::from_secs(40);

/// The numbers of rounds, as long as there is time for another.
fn rounds() -> impl Iterator<Item = usize> {
    let begin = Instant::now();
    (0..ROUNDS).take_while(move |_| begin.elapsed() < ENOUGH)
}

pub(super) async fn round_trip(place: Place) -> Outcome {
    let s = &place.storage;
    for (name, body) in [
        ("empty", Bytes::new()),
        ("one", Bytes::from_static(b"1")),
        ("with space, ü, % and = in it", Bytes::from_static(b"x")),
        (".hidden", Bytes::from_static(b"x")),
        ("deep/er/and/deeper.bin", Bytes::from(vec![7; 1 << 20])),
    ] {
        let path = place.path(name);
        s.put(&path, body.clone()).await.map_err(failed)?;
        let found = s.get(&path).await.map_err(failed)?;
        expect(found == body, || {
            format!("{name:?} was written with {} bytes and read with {}", body.len(), found.len())
        })?;
        let meta = s.head(&path).await.map_err(failed)?;
        expect((meta.path.as_str(), meta.bytes) == (path.as_str(), body.len() as u64), || {
            format!("{meta:?}")
        })?;
    }
    Ok(())
}

pub(super) async fn create_once(place: Place) -> Outcome {
    let s = &place.storage;
    let (mine, other) = (Bytes::from_static(b"mine"), Bytes::from_static(b"other"));
    for (name, secret) in [("plain", false), ("secret", true)] {
        let path = place.path(name);
        for (body, expected) in [
            (&mine, Created::Ours),
            // The same content again, as after an answer that was lost.
            (&mine, Created::Ours),
            (&other, Created::Theirs(mine.clone())),
        ] {
            let created = match secret {
                true => s.create_secret(&path, body.clone()).await,
                false => s.create(&path, body.clone()).await,
            };
            let created = created.map_err(failed)?;
            expect(created == expected, || {
                format!("a create of {body:?} returned {created:?} instead of {expected:?}")
            })?;
        }
        let found = s.get(&path).await.map_err(failed)?;
        expect(found == mine, || format!("{found:?} is where {mine:?} was created first"))?;
    }
    s.put(&place.path("put"), mine.clone()).await.map_err(failed)?;
    let created = s.create(&place.path("put"), other).await.map_err(failed)?;
    expect(created == Created::Theirs(mine), || format!("a create after a put returned {created:?}"))
}

pub(super) async fn create_race(place: Place) -> Outcome {
    for round in rounds() {
        let path = place.path(&round.to_string());
        let racers = (0..RACERS).map(|writer| {
            let (s, path, body) = (place.storage.clone(), path.clone(), racing_body(writer));
            async move { s.create(&path, body.clone()).await.map(|created| (body, created)) }
        });
        let answers: Vec<_> = together(racers).await?;
        let won: Vec<_> = answers.iter().filter(|(_, created)| *created == Created::Ours).collect();
        let [(winner, _)] = won[..] else {
            return Err(format!("{} of {RACERS} racing creates were told that they won", won.len()));
        };
        for (body, created) in &answers {
            let right = body == winner || *created == Created::Theirs(winner.clone());
            expect(right, || "a create that lost was given content other than the winner's".to_owned())?;
        }
        let stays = place.storage.get(&path).await.map_err(failed)?;
        expect(stays == *winner, || "the content that is there is not the winner's".to_owned())?;
    }
    Ok(())
}

pub(super) async fn put_replaces(place: Place) -> Outcome {
    let s = &place.storage;
    let path = place.path("one");
    s.put(&path, "a longer first try".into()).await.map_err(failed)?;
    s.put(&path, "second".into()).await.map_err(failed)?;
    let found = s.get(&path).await.map_err(failed)?;
    expect(found == "second", || format!("{found:?} was read instead of the second put"))?;
    let listed = s.list(&place.folder).await.map_err(failed)?;
    expect(listed.len() == 1, || format!("one object is listed {} times", listed.len()))
}

pub(super) async fn replace(place: Place) -> Outcome {
    let s = &place.storage;
    let path = place.path("object");
    let replaced = async |old, body: &'static str| s.replace(old, body.into()).await.map_err(failed);
    s.put(&path, "first".into()).await.map_err(failed)?;
    let first = s.head(&path).await.map_err(failed)?;
    expect(replaced(&first, "second").await?, || "the content that is there can't be replaced".to_owned())?;
    expect(!replaced(&first, "third").await?, || "content that is no longer there was replaced".to_owned())?;
    let found = s.get(&path).await.map_err(failed)?;
    expect(found == "second", || {
        format!("{found:?} is there after a replacement that should have had no effect")
    })?;
    let second = s.head(&path).await.map_err(failed)?;
    s.delete(&path).await.map_err(failed)?;
    expect(!replaced(&second, "third").await?, || "a deleted object was replaced".to_owned())?;
    let gone = s.get(&path).await;
    expect(gone.as_ref().is_err_and(crate::Error::is_not_found), || format!("after that: {gone:?}"))
}

pub(super) async fn replace_race(place: Place) -> Outcome {
    for round in rounds() {
        let path = place.path(&round.to_string());
        place.storage.put(&path, "first".into()).await.map_err(failed)?;
        let first = place.storage.head(&path).await.map_err(failed)?;
        let racers = (0..RACERS).map(|writer| {
            let (s, first, body) = (place.storage.clone(), first.clone(), racing_body(writer));
            async move { s.replace(&first, body.clone()).await.map(|done| (body, done)) }
        });
        let answers: Vec<_> = together(racers).await?;
        let won: Vec<_> = answers.iter().filter(|(_, done)| *done).collect();
        let [(winner, _)] = won[..] else {
            return Err(format!("{} of {RACERS} racing replacements were told that they won", won.len()));
        };
        let stays = place.storage.get(&path).await.map_err(failed)?;
        expect(stays == *winner, || "the content that is there is not the winner's".to_owned())?;
    }
    Ok(())
}

/// Of different sizes, so that mixed content would show.
fn racing_body(writer: usize) -> Bytes {
    Bytes::from(format!("writer {writer}").repeat(1 + writer * 10))
}

/// The answers of calls that really run at the same time.
async fn together<T, F>(calls: impl Iterator<Item = F>) -> Result<Vec<T>, String>
where
    T: Send + 'static,
    F: Future<Output = crate::Result<T>> + Send + 'static,
{
    let answers = join_all(calls.map(tokio::spawn)).await;
    answers.into_iter().map(|answer| answer.map_err(|error| error.to_string())?.map_err(failed)).collect()
}

pub(super) async fn whole_or_nothing(place: Place) -> Outcome {
    let path = place.path("object");
    let writer = {
        let (s, path) = (place.storage.clone(), path.clone());
        tokio::spawn(async move {
            for round in 0..20_u8 {
                s.put(&path, Bytes::from(vec![round; 300_000 + usize::from(round)])).await?;
            }
            Ok(())
        })
    };
    while !writer.is_finished() {
        match place.storage.get(&path).await {
            Ok(body) => {
                let round = body.first().copied().unwrap_or(0);
                let whole =
                    body.len() == 300_000 + usize::from(round) && body.iter().all(|byte| *byte == round);
                expect(whole, || "a reader saw parts of two writes at once".to_owned())?;
            }
            Err(error) if error.is_not_found() => (),
            Err(error) => return Err(failed(error)),
        }
        for listed in place.storage.list(&place.folder).await.map_err(failed)? {
            expect(listed.path == path, || format!("an unfinished object is listed: {}", listed.path))?;
        }
    }
    writer.await.map_err(|error| error.to_string())?.map_err(failed)
}

pub(super) async fn large_put(place: Place) -> Outcome {
    let s = &place.storage;
    let path = place.path("object");
    let body: Bytes = (0..40_000_000_u32 / 4).flat_map(u32::to_le_bytes).collect::<Vec<_>>().into();
    s.put(&path, body.clone()).await.map_err(failed)?;
    let bytes = s.head(&path).await.map_err(failed)?.bytes;
    expect(bytes == body.len() as u64, || {
        format!("{} bytes were written, but the store says {bytes}", body.len())
    })?;
    expect(s.get(&path).await.map_err(failed)? == body, || "the content differs".to_owned())?;
    let border = 16_777_210..16_777_230;
    let middle = s.get_range(&path, border.clone()).await.map_err(failed)?;
    let right = body.slice(border.start as usize..border.end as usize);
    expect(middle == right, || "the bytes across the border of two parts differ".to_owned())
}
