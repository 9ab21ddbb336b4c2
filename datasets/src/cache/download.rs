use bytes::Bytes;
use lockstep_storage::{Error as StorageError, Meta};

use crate::{
    Dataset, Error, Result,
    mds::{FileInfo, Layout, Stored, check_hashes},
};

/// A shard as it came from the storage.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The raw shard, which the index describes.
    pub raw: Vec<u8>,
    /// The packed file, where the shard is stored as one that the index names.
    pub zip: Option<Bytes>,
}

/// Fetches one shard, checks what was fetched, decompresses it, and checks that.
///
/// # Errors
/// One for which [`Error::is_damage`] holds when the bytes are not those that the index was made from.
pub(crate) async fn download(dataset: &Dataset, number: usize) -> Result<Fetched> {
    let (form, body) = fetch(dataset, number).await?;
    let dataset = dataset.clone();
    let unpacked = tokio::task::spawn_blocking(move || {
        let info = &dataset.shards()[number];
        let stored = &info.stored()[form];
        let file = uri(&dataset, stored);
        if let Some(info) = stored.info {
            check(&file, &body, info)?;
        }
        let Some(compression) = stored.compression else {
            verify_raw(&dataset, number, &file, &body)?;
            return Ok(Fetched { raw: body.into(), zip: None });
        };
        let raw =
            compression.decompress(&body, info.raw_data.bytes).map_err(|flaw| flaw.in_file(&file, 0))?;
        verify_raw(&dataset, number, &format!("{file} (decompressed)"), &raw)?;
        Ok(Fetched { raw, zip: stored.info.map(|_| body) })
    });
    let failed = || format!("shard {number}");
    unpacked.await.unwrap_or_else(|gone| Err(Error::io("decompress", failed())(std::io::Error::other(gone))))
}

/// The file that holds a shard, and which of its forms that is.
async fn fetch(dataset: &Dataset, number: usize) -> Result<(usize, Bytes)> {
    let info = &dataset.shards()[number];
    let forms = info.stored();
    let storage = dataset.storage();
    if !dataset.is_hashed() {
        // What was not there when the files were listed is not part of this dataset.
        let missing = || StorageError::NotFound { uri: uri(dataset, &forms[0]) };
        let (form, listed) = dataset.listed(number).ok_or_else(missing)?;
        let stored = &forms[*form];
        // Before the body: a wrong file may be of any size.
        if listed.bytes > stored.most {
            return Err(too_large(&uri(dataset, stored), stored, listed.bytes));
        }
        return Ok((*form, get_listed(dataset, listed).await?));
    }
    let mut missing = None;
    for (form, stored) in forms.iter().enumerate() {
        match storage.get_at_most(&dataset.path(&stored.basename), stored.most).await {
            Ok(body) => return Ok((form, body)),
            Err(StorageError::TooLarge { bytes, .. }) => {
                return Err(too_large(&uri(dataset, stored), stored, bytes));
            }
            Err(error) if error.is_not_found() => missing = missing.or(Some(error)),
            Err(error) => return Err(error.into()),
        }
    }
    Err(missing.unwrap_or_else(|| StorageError::NotFound { uri: dataset.uri() }).into())
}

/// The very object that was listed. A file whose mode or owner was changed is still the same, by size and time.
async fn get_listed(dataset: &Dataset, listed: &Meta) -> Result<Bytes> {
    let storage = dataset.storage();
    match storage.get_listed(listed).await {
        Err(changed @ StorageError::Changed { .. }) => {
            let now = storage.head(&listed.path).await?;
            if (now.bytes, &now.version) != (listed.bytes, &listed.version) || now.etag == listed.etag {
                return Err(changed.into());
            }
            Ok(storage.get_listed(&now).await?)
        }
        body => Ok(body?),
    }
}

fn uri(dataset: &Dataset, stored: &Stored<'_>) -> String {
    dataset.storage().uri(&dataset.path(&stored.basename))
}

fn too_large(file: &str, stored: &Stored<'_>, got: u64) -> Error {
    let expected = stored.info.map_or(stored.most, |info| info.bytes);
    Error::Size { file: file.to_owned(), expected, got }
}

/// Checks a raw shard against the index, hashes and number of samples included; where the samples lie.
pub(crate) fn verify_raw(dataset: &Dataset, number: usize, file: &str, raw: &[u8]) -> Result<Layout> {
    check(file, raw, &dataset.shards()[number].raw_data)?;
    dataset.layout(number, raw).map_err(|flaw| flaw.in_file(file, 0))
}

fn check(file: &str, data: &[u8], info: &FileInfo) -> Result<()> {
    let got = data.len() as u64;
    if got != info.bytes {
        return Err(Error::Size { file: file.to_owned(), expected: info.bytes, got });
    }
    check_hashes(file, data, &info.hashes)
}
