use std::path::PathBuf;

use indicatif::{BinaryBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lockstep_datasets::{
    Compression, Dtype, Encoding, HashAlgorithm, LabelColumn, PackOptions, PackReport, PackTextOptions,
    PackedSplit, PictureOptions, Splits, Tokenizer, WriterOptions, holds_pictures, pack_csv, pack_pictures,
    pack_text,
};
use lockstep_job::ByteSize;

use crate::{Context, Exit, Failure, output::columns, runs::absolute};

/// Pack a CSV file, pictures or a text into a dataset
///
/// Of a CSV file, each row is a sample. One column is its label, a whole number, and the others are its features.
///
/// Pictures come from a folder or a tar archive: jpeg and png files in a folder for each class, CIFAR's binary files, or MNIST's
/// idx files. They become the column `image`, and their classes `label`. Files are mixed by the seed. Where the folders or files
/// are named as splits are (train, test, val), they become those.
///
/// With --tokens the input is a text, which becomes tokens; the job says how many of them make a sample.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For example:  lockstep data pack digits.csv.gz datasets/digits --split train=0.8,test=0.2\n              \
                  lockstep data pack cifar-10-binary.tar.gz s3://bucket/datasets/cifar10\n              \
                  lockstep data pack book.txt datasets/book --tokens tokenizer.json --split train=0.9,test=0.1"
)]
pub(in crate::cli) struct Args {
    /// A CSV file or a text, gzipped or not, or a folder or tar archive of pictures
    input: PathBuf,

    /// Where to write the dataset: a folder, or a file://, s3://, gs:// or az:// URI
    dataset: String,

    /// Pack a text in UTF-8, by this tokenizer: bytes, by which each byte is a token from 0 to 255, or a tokenizer.json of Hugging
    /// Face's tokenizers
    #[arg(
        long,
        value_name = "TOKENIZER",
        value_parser = Tokenizer::open,
        conflicts_with_all = ["header", "label", "seed", "dtype", "shape", "compression"]
    )]
    tokens: Option<Tokenizer>,

    /// CSV: the first line holds the names of the columns
    #[arg(long)]
    header: bool,

    /// CSV: the column with the label: first, last, its number from 0, or its name in the header
    #[arg(long, value_name = "COLUMN", default_value = "last", value_parser = label)]
    label: LabelColumn,

    /// Name of one split for all samples, or names and shares, such as train=0.8,test=0.2. Samples are dealt by the seed; a
    /// text is cut in this order
    #[arg(long, value_name = "SPLIT", value_delimiter = ',', default_value = "train", value_parser = share)]
    split: Vec<Share>,

    /// Seed that deals samples to splits, and mixes pictures
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// CSV: number type of the features: uint8, int8, uint16, int16, float16, uint32, int32, float32, uint64, int64 or float64
    #[arg(long, value_name = "TYPE", default_value = "float32", value_parser = dtype)]
    dtype: Dtype,

    /// CSV: shape of a row's features, such as 8,8; without it, they are a vector
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    shape: Option<Vec<u32>>,

    /// Compress shards: zstd, zstd:LEVEL or gz
    #[arg(long, value_name = "METHOD")]
    compression: Option<Compression>,

    /// Hashes to store for each file: xxh32, xxh64, xxh3_64, xxh3_128, md5, sha1, sha256 or sha512; several with commas between
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "xxh64")]
    hash: Vec<HashAlgorithm>,

    /// Size limit of a shard before compression
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    shard_size: ByteSize,

    /// Where the data is from; stored with the dataset
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
}

/// A split's name, and its share of the rows if they are shared.
type Share = (String, Option<f64>);

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let splits = splits(args)?;
    match &args.tokens {
        Some(tokenizer) => text(args, splits, tokenizer.clone(), context),
        None if holds_pictures(&args.input)? => tell(&pictures(args, splits)?, context),
        None => tell(&csv(args, splits)?, context),
    }
}

fn tell(report: &PackReport, context: &Context) -> anyhow::Result<Exit> {
    context.output.result(report, || {
        let row = |split: &PackedSplit| {
            [
                split.name.clone(),
                split.samples.to_string(),
                split.shards.to_string(),
                BinaryBytes(split.stored_bytes).to_string(),
                split.labels.len().to_string(),
                split.digest.clone(),
            ]
        };
        let heading = ["SPLIT", "SAMPLES", "SHARDS", "SIZE", "LABELS", "DIGEST"];
        format!("{}\npacked into {}", columns(&heading, report.splits.iter().map(row)), report.uri)
    })?;
    Ok(Exit::Done)
}

fn csv(args: &Args, splits: Splits) -> anyhow::Result<PackReport> {
    Ok(pack_csv(&PackOptions {
        header: args.header,
        label: args.label.clone(),
        dtype: args.dtype,
        shape: args.shape.clone(),
        splits,
        writer: writer(args),
        source: args.source.clone(),
        ..PackOptions::new(&args.input, &absolute(&args.dataset)?)
    })?)
}

fn pictures(args: &Args, splits: Splits) -> anyhow::Result<PackReport> {
    // Hidden where nobody watches.
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
    let bar = bar.with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} pictures, {eta} left")?);
    let options = PictureOptions {
        input: args.input.clone(),
        output: absolute(&args.dataset)?,
        splits,
        seed: args.seed,
        writer: writer(args),
        source: args.source.clone(),
    };
    let packed = pack_pictures(&options, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    Ok(packed?)
}

fn text(args: &Args, splits: Splits, tokenizer: Tokenizer, context: &Context) -> anyhow::Result<Exit> {
    let shares = match splits {
        Splits::One(name) => vec![(name, 1.0)],
        Splits::Fractions { shares, .. } => shares,
    };
    let report = pack_text(&PackTextOptions {
        tokenizer,
        shares,
        writer: writer(args),
        source: args.source.clone(),
        ..PackTextOptions::new(&args.input, &absolute(&args.dataset)?)
    })?;
    context.output.result(&report, || {
        let row = |split: &PackedSplit| {
            [
                split.name.clone(),
                split.samples.to_string(),
                split.shards.to_string(),
                BinaryBytes(split.stored_bytes).to_string(),
                split.digest.clone(),
            ]
        };
        let heading = ["SPLIT", "TOKENS", "SHARDS", "SIZE", "DIGEST"];
        format!("{}\npacked into {}", columns(&heading, report.splits.iter().map(row)), report.uri)
    })?;
    Ok(Exit::Done)
}

fn writer(args: &Args) -> WriterOptions {
    WriterOptions {
        shard_bytes: args.shard_size.bytes(),
        compression: args.compression,
        hashes: args.hash.clone(),
    }
}

fn splits(args: &Args) -> anyhow::Result<Splits> {
    if let [(name, None)] = args.split.as_slice() {
        return Ok(Splits::One(name.clone()));
    }
    let shares = args.split.iter().map(|(name, share)| share.map(|share| (name.clone(), share)));
    match shares.collect() {
        Some(shares) => Ok(Splits::Fractions { seed: args.seed, shares }),
        None => Err(Failure::usage("with several splits, each needs a share")
            .note("fix", "write for example --split train=0.8,test=0.2")
            .into()),
    }
}

fn label(text: &str) -> Result<LabelColumn, String> {
    Ok(match (text, text.parse()) {
        ("first", _) => LabelColumn::First,
        ("last", _) => LabelColumn::Last,
        (_, Ok(index)) => LabelColumn::Index(index),
        (name, Err(_)) => LabelColumn::Name(name.to_owned()),
    })
}

fn share(text: &str) -> Result<Share, String> {
    match text.split_once('=') {
        None => Ok((text.to_owned(), None)),
        Some((name, share)) => match share.parse() {
            Ok(share) if share > 0.0 && share <= 1.0 => Ok((name.to_owned(), Some(share))),
            _ => Err(format!("the share of {name} must be a number from 0 to 1, like 0.8")),
        },
    }
}

fn dtype(text: &str) -> Result<Dtype, String> {
    match text.parse() {
        Ok(Encoding::Scalar(dtype)) => Ok(dtype),
        _ => {
            Err("write uint8, int8, uint16, int16, float16, uint32, int32, float32, uint64, int64 or float64"
                .into())
        }
    }
}

fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|error: lockstep_job::UnitError| format!("{error}; {}", error.fix))
}
