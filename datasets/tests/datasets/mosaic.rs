//! Datasets written by MosaicML's own writer are read; `tests/fixtures/mosaic/make.py` made them.

use bytes::Bytes;
use lockstep_datasets::{Dataset, Loader, Replica, Values, verify};

use crate::support::cached_in;

#[test]
fn what_their_writer_wrote_is_read() {
    for kind in ["raw", "zstd", "gz"] {
        let uri = format!("{}/tests/fixtures/mosaic/{kind}", std::env::var("CARGO_MANIFEST_DIR").unwrap());
        let found = verify(&uri, None).unwrap();
        assert!(found.is_good(), "{kind}: {:?}", found.problems);
        assert_eq!((found.good_samples, found.splits[0].shards), (30, 2));
        assert_eq!(found.splits[0].hashes.len(), 6);

        let cache = tempfile::tempdir().unwrap();
        let dataset = Dataset::open(&uri, "").unwrap();
        let mut loader =
            Loader::eval(dataset, 30, Replica::new(0, 1).unwrap(), cached_in(cache.path())).unwrap();
        let batch = loader.batch(0).unwrap();
        let column = |name: &str| batch.column(name).unwrap();
        let numbers = 0..30_i64;
        let each = |count: usize| numbers.clone().flat_map(move |n| vec![n; count]);
        assert_eq!(column("a").values, Values::I16(each(6).map(|n| n as i16).collect()));
        assert_eq!(column("a").shape.as_deref(), Some(&[2, 3][..]));
        assert_eq!(column("b").values, Values::F32(each(3).map(|n| n as f32 / 2.0).collect()));
        assert_eq!(column("c").values, Values::U8(each(4).map(|n| n as u8).collect()));
        assert_eq!(column("d").values, Values::I64(each(1).map(|n| -n).collect()));
        assert_eq!(column("e").values, Values::Text(each(1).map(|n| format!("ü{n}")).collect()));
        assert_eq!(column("f").values, Values::Text(each(1).map(|n| format!("{{\"n\": {n}}}")).collect()));
        assert_eq!(column("g").values, Values::F32(each(1).map(|n| n as f32 / 4.0).collect()));
        assert_eq!(column("h").values, Values::I64(each(1).map(|n| n.pow(3)).collect()));
        assert_eq!(column("i").values, Values::F64(each(1).map(|n| n as f64 / 8.0).collect()));
        assert_eq!(column("j").values, Values::Bytes(each(1).map(|n| Bytes::from(vec![n as u8])).collect()));
        assert_eq!(column("k").values, Values::U16(each(1).map(|n| n as u16 * 600).collect()));
    }
}
