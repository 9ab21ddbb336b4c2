use crate::{Context, Exit, Failure, block_on, shell};
use futures::{StreamExt, TryStreamExt};
use indicatif::BinaryBytes;
use lockstep_storage::{Created, Meta, Storage};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Files that are copied at one time.
const AT_ONCE: usize = 4;
/// They may have so much in all; a larger file is copied alone. Unit: MiB.
const MOST_MIB_AT_ONCE: u32 = 1024;
/// No file of a dataset is larger: offsets in a shard have 32 bits. Unit: bytes.
const MOST_FILE_BYTES: u64 = 1 << 32;

/// Copy a dataset, or one split of it, between folders and buckets
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:  lockstep data copy datasets/digits s3://bucket/datasets/digits
Files that are there with the same content are left alone, so you can repeat an interrupted copy. A file that is there with \
other content is an error, and nothing is overwritten.")]
pub(in crate::cli) struct Args {
    /// The dataset: a folder, or a file://, s3://, gs:// or az:// URI
    from: String,

    /// Where to copy it: a folder, or a file://, s3://, gs:// or az:// URI
    to: String,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let open = |uri: &str| anyhow::Ok(lockstep_storage::open(&crate::runs::absolute(uri)?)?);
    let (from, to) = (open(&args.from)?, open(&args.to)?);
    if to.uri("").starts_with(&format!("{}/", from.uri(""))) {
        return Err(Failure::usage(format!("{} lies in the dataset that it would be a copy of", to.uri("")))
            .note("fix", "copy to a place outside it")
            .into());
    }
    block_on(async {
        let mut files = from.list("").await?;
        if !files.iter().any(|file| is_index(&file.path)) {
            if files.iter().any(|file| file.path.ends_with(".bin")) {
                let what = format!("{} has no index, so half a copy of it would look whole", from.uri(""));
                let seal = shell::join(["lockstep", "data", "seal", &args.from]);
                return Err(Failure::usage(what)
                    .note("fix", format!("write one with {seal}, and copy again"))
                    .into());
            }
            return Err(Failure::usage(format!("{} holds no dataset: no index.json is there", from.uri("")))
                .note("fix", "make one with lockstep data pack, or check the path")
                .into());
        }
        if let Some(large) = files.iter().find(|file| file.bytes > MOST_FILE_BYTES) {
            let what = format!(
                "{} has {}, which no file of a dataset has",
                from.uri(&large.path),
                BinaryBytes(large.bytes)
            );
            return Err(Failure::usage(what)
                .note("fix", "move it away from the dataset, or check the path")
                .into());
        }
        let room = Semaphore::new(MOST_MIB_AT_ONCE as usize);
        // An index that is there promises that its shards are.
        files.sort_by_key(|file| is_index(&file.path));
        let (shards, indexes): (Vec<_>, Vec<_>) = files.iter().partition(|file| !is_index(&file.path));
        let bytes: u64 = files.iter().map(|file| file.bytes).sum();
        for part in [shards, indexes] {
            let copies = part.into_iter().map(|file| copy(&from, &to, file, &room));
            futures::stream::iter(copies).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        }
        let json = json!({ "from": from.uri(""), "to": to.uri(""), "files": files.len(), "bytes": bytes });
        context.output.result(&json, || {
            format!("copied {} files, {}, to {}", files.len(), BinaryBytes(bytes), to.uri(""))
        })?;
        Ok(Exit::Done)
    })
}

fn is_index(path: &str) -> bool {
    path.rsplit('/').next() == Some("index.json")
}

async fn copy(
    from: &Arc<dyn Storage>,
    to: &Arc<dyn Storage>,
    file: &Meta,
    room: &Semaphore,
) -> anyhow::Result<()> {
    let mib = u32::try_from(file.bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX);
    let _held = room.acquire_many(mib.min(MOST_MIB_AT_ONCE)).await?;
    let body = from.get_listed(file).await?;
    match to.create(&file.path, body.clone()).await? {
        Created::Theirs(there) if there != body => {
            Err(Failure::new(format!("{} is there with other content", to.uri(&file.path)))
                .note("fix", "copy to a new place, so that nobody who reads the old files is disturbed")
                .into())
        }
        Created::Ours | Created::Theirs(_) => Ok(()),
    }
}
