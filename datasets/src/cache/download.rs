use crate::{
    Dataset, Error, Result,
    mds::{FileInfo, check_hashes, check_header},
};

/// Fetches one shard, checks what was fetched, decompresses it, and checks that.
///
/// # Errors
/// One for which [`Error::is_damage`] holds when the bytes are not those that the index was made from.
pub(crate) async fn download(dataset: &Dataset, number: usize) -> Result<Vec<u8>> {
    let info = &dataset.shards()[number];
    let stored = info.zip_data.as_ref().unwrap_or(&info.raw_data);
    let path = dataset.path(&stored.basename);
    let file = dataset.storage().uri(&path);
    // Before the body: a wrong file may be of any size.
    check_size(&file, dataset.storage().head(&path).await?.bytes, stored)?;
    let body = dataset.storage().get(&path).await?;
    let dataset = dataset.clone();
    let unpacked = tokio::task::spawn_blocking(move || {
        let info = &dataset.shards()[number];
        let Some(zip) = &info.zip_data else {
            verify_raw(&dataset, number, &file, &body)?;
            return Ok(body.to_vec());
        };
        check(&file, &body, zip)?;
        let raw = match info.compression() {
            Some(compression) => {
                compression.decompress(&body, info.raw_data.bytes).map_err(|flaw| flaw.in_file(&file, 0))?
            }
            None => body.to_vec(),
        };
        verify_raw(&dataset, number, &format!("{file} (decompressed)"), &raw)?;
        Ok(raw)
    });
    unpacked.await.unwrap_or_else(|gone| Err(Error::io("decompress", path)(std::io::Error::other(gone))))
}

/// Checks a raw shard against the index, hashes and number of samples included.
pub(crate) fn verify_raw(dataset: &Dataset, number: usize, file: &str, raw: &[u8]) -> Result<()> {
    let info = &dataset.shards()[number];
    check(file, raw, &info.raw_data)?;
    check_header(raw, info.samples).map_err(|flaw| flaw.in_file(file, 0))
}

fn check(file: &str, data: &[u8], info: &FileInfo) -> Result<()> {
    check_size(file, data.len() as u64, info)?;
    check_hashes(file, data, &info.hashes)
}

fn check_size(file: &str, got: u64, info: &FileInfo) -> Result<()> {
    if got == info.bytes {
        return Ok(());
    }
    Err(Error::Size { file: file.to_owned(), expected: info.bytes, got })
}
