use crate::{Context, Exit, Failure, block_on};
use futures::{StreamExt, TryStreamExt};
use indicatif::BinaryBytes;
use lockstep_storage::{Created, Meta, Storage};
use serde_json::json;
use std::sync::Arc;

/// Files that are copied at one time.
const AT_ONCE: usize = 4;

/// Copy a dataset, or one split of it, between folders and buckets
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:  lockstep data copy datasets/digits s3://bucket/datasets/digits
Files that are there already with the same content are left alone, so an interrupted copy is carried on by the same
command. A file that is there with other content is an error: nothing is overwritten.")]
pub(in crate::cli) struct Args {
    /// The dataset: a folder, or a file:// or s3:// URI
    from: String,

    /// Where it goes: a folder, or a file:// or s3:// URI
    to: String,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let open = |uri: &str| anyhow::Ok(lockstep_storage::open(&crate::runs::absolute(uri)?)?);
    let (from, to) = (open(&args.from)?, open(&args.to)?);
    block_on(async {
        let mut files = from.list("").await?;
        if !files.iter().any(|file| is_index(&file.path)) {
            return Err(Failure::usage(format!("{} holds no dataset: no index.json is there", from.uri("")))
                .note("fix", "make one with lockstep data pack, or check the path")
                .into());
        }
        // An index that is there promises that its shards are.
        files.sort_by_key(|file| is_index(&file.path));
        let (shards, indexes): (Vec<_>, Vec<_>) = files.iter().partition(|file| !is_index(&file.path));
        let bytes: u64 = files.iter().map(|file| file.bytes).sum();
        for part in [shards, indexes] {
            let copies = part.into_iter().map(|file| copy(&from, &to, file));
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

async fn copy(from: &Arc<dyn Storage>, to: &Arc<dyn Storage>, file: &Meta) -> anyhow::Result<()> {
    let body = from.get_listed(file).await?;
    match to.create(&file.path, body.clone()).await? {
        Created::Theirs(there) if there != body => {
            Err(Failure::new(format!("{} is there with other content", to.uri(&file.path)))
                .note("fix", "copy to a new place, so that nobody who reads the old one is disturbed")
                .into())
        }
        Created::Ours | Created::Theirs(_) => Ok(()),
    }
}
