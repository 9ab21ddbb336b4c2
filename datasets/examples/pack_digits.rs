//! How `datasets/digits` was made: `cargo run -p lockstep-datasets --example pack_digits -- digits.csv.gz OUT`.

use lockstep_datasets::{Compression, Dtype, HashAlgorithm, PackOptions, Splits, WriterOptions, pack_csv};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: pack_digits digits.csv.gz OUT".into());
    };
    let report = pack_csv(&PackOptions {
        dtype: Dtype::U8,
        splits: Splits::Fractions { seed: 2, shares: vec![("train".into(), 0.8), ("test".into(), 0.2)] },
        writer: WriterOptions {
            shard_bytes: 32 << 10,
            compression: Some(Compression::Zstd(19)),
            hashes: vec![HashAlgorithm::Xxh64, HashAlgorithm::Sha256],
        },
        source: Some(
            "UCI ML Repository, Optical Recognition of Handwritten Digits (CC BY 4.0); see README.md".into(),
        ),
        ..PackOptions::new(input, output)
    })?;
    println!("{report:#?}");
    Ok(())
}
