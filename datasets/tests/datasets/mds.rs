//! What is written is read back, whatever the encoding, compression and hash.

use bytes::Bytes;
use lockstep_datasets::{
    Compression, Dataset, Error, HashAlgorithm, Loader, Replica, Value, Values, Writer, WriterOptions,
    parse_sample, verify,
};

use crate::support::{cached_in, edit_index, fresh, numbers, small_shards, spec};

#[test]
fn every_encoding_comes_back() {
    let uri = fresh();
    let columns = vec![
        spec("a_bytes", "bytes"),
        spec("b_str", "str"),
        spec("c_json", "json"),
        spec("d_jpeg", "jpeg"),
        spec("e_int", "int"),
        spec("f_u8", "uint8"),
        spec("g_i8", "int8"),
        spec("h_u16", "uint16"),
        spec("i_i16", "int16"),
        spec("j_f16", "float16"),
        spec("k_u32", "uint32"),
        spec("l_i32", "int32"),
        spec("m_f32", "float32"),
        spec("n_u64", "uint64"),
        spec("o_i64", "int64"),
        spec("p_f64", "float64"),
        spec("q_str_int", "str_int"),
        spec("r_str_float", "str_float"),
        spec("s_decimal", "str_decimal"),
        spec("t_array", "ndarray:int16:2,3"),
    ];
    let mut writer = Writer::create(&uri, "", columns, WriterOptions::default()).unwrap();
    let row = [
        Value::Bytes(b"\0\xff"),
        Value::Text("zwölf"),
        Value::Text("{\"a\": 1}"),
        Value::Bytes(b"not really a jpeg"),
        Value::Int(-5),
        Value::Int(255),
        Value::Int(-128),
        Value::Int(65_535),
        Value::Int(-32_768),
        Value::Float(0.5),
        Value::Int(4_294_967_295),
        Value::Int(-2_147_483_648),
        Value::Float(1.5),
        Value::Int(i64::MAX),
        Value::Int(i64::MIN),
        Value::Float(0.1),
        Value::Int(77),
        Value::Float(2.25),
        Value::Text("3.14"),
        Value::Array(&[1.0, -2.0, 3.0, 4.0, 5.0, -6.0]),
    ];
    writer.write(&row).unwrap();
    writer.finish().unwrap();

    let cache = tempfile::tempdir().unwrap();
    let dataset = Dataset::open(&uri, "").unwrap();
    let mut loader = Loader::eval(dataset, 1, Replica::new(0, 1).unwrap(), cached_in(cache.path())).unwrap();
    let batch = loader.batch(0).unwrap();
    let values: Vec<Values> = batch.columns.iter().map(|column| column.values.clone()).collect();
    let text = |text: &str| Values::Text(vec![text.into()]);
    let bytes = |bytes: &'static [u8]| Values::Bytes(vec![Bytes::from_static(bytes)]);
    assert_eq!(
        values,
        [
            bytes(b"\0\xff"),
            text("zwölf"),
            text("{\"a\": 1}"),
            bytes(b"not really a jpeg"),
            Values::I64(vec![-5]),
            Values::U8(vec![255]),
            Values::I8(vec![-128]),
            Values::U16(vec![65_535]),
            Values::I16(vec![-32_768]),
            Values::F32(vec![0.5]),
            Values::U32(vec![4_294_967_295]),
            Values::I32(vec![-2_147_483_648]),
            Values::F32(vec![1.5]),
            Values::U64(vec![i64::MAX as u64]),
            Values::I64(vec![i64::MIN]),
            Values::F64(vec![0.1]),
            Values::I64(vec![77]),
            Values::F64(vec![2.25]),
            text("3.14"),
            Values::I16(vec![1, -2, 3, 4, 5, -6]),
        ]
    );
    assert_eq!(batch.column("t_array").unwrap().shape.as_deref(), Some(&[2, 3][..]));
}

#[test]
fn arrays_without_fixed_type_or_shape_are_read() {
    // type f32, then two dimensions of one byte each
    let dynamic = [&[34, 2 << 2, 1, 2][..], &1.5_f32.to_le_bytes(), &(-2.0_f32).to_le_bytes()].concat();
    let sample = [&(dynamic.len() as u32).to_le_bytes()[..], &dynamic].concat();
    let columns = parse_sample(&[spec("x", "ndarray")], &sample).unwrap();
    assert_eq!(columns[0].values, Values::F32(vec![1.5, -2.0]));
    assert_eq!(columns[0].shape.as_deref(), Some(&[1, 2][..]));
    // one dimension of two bytes
    let shaped = [&[1 << 2 | 1, 3, 0][..], &[7, 8, 9]].concat();
    let sample = [&(shaped.len() as u32).to_le_bytes()[..], &shaped].concat();
    let columns = parse_sample(&[spec("x", "ndarray:uint8")], &sample).unwrap();
    assert_eq!(columns[0].values, Values::U8(vec![7, 8, 9]));
}

#[test]
fn every_compression_and_hash_is_checked_and_read() {
    for compression in [None, Some(Compression::Zstd(3)), Some(Compression::Gzip)] {
        let uri = fresh();
        let hashes = vec![
            HashAlgorithm::Xxh32,
            HashAlgorithm::Xxh64,
            HashAlgorithm::Xxh3_64,
            HashAlgorithm::Xxh3_128,
            HashAlgorithm::Md5,
            HashAlgorithm::Sha1,
            HashAlgorithm::Sha256,
            HashAlgorithm::Sha512,
        ];
        numbers(&uri, 100, WriterOptions { shard_bytes: 2000, compression, hashes });
        let found = verify(&uri, None).unwrap();
        assert!(found.is_good(), "{:?}", found.problems);
        assert_eq!((found.good_samples, found.splits[0].samples), (100, 100));
        assert!(found.splits[0].shards > 1);
    }
}

#[test]
fn shards_keep_to_their_size() {
    let uri = fresh();
    numbers(&uri, 200, small_shards());
    edit_index(&uri, |index| {
        let shards = index["shards"].as_array().unwrap();
        assert!(shards.len() > 5);
        assert!(shards.iter().all(|shard| shard["raw_data"]["bytes"].as_u64().unwrap() <= 600));
    });
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let columns = || vec![spec("x", "ndarray:uint8:2"), spec("y", "int8")];
    let mut writer = Writer::create(&fresh(), "", columns(), WriterOptions::default()).unwrap();
    for (row, part) in [
        ([Value::Array(&[1.0, 256.0]), Value::Int(1)], "256 does not fit uint8"),
        ([Value::Array(&[1.0, 0.5]), Value::Int(1)], "0.5 does not fit uint8"),
        ([Value::Array(&[1.0]), Value::Int(1)], "1 values"),
        ([Value::Array(&[1.0, 2.0]), Value::Int(128)], "128 does not fit int8"),
        ([Value::Array(&[1.0, 2.0]), Value::Text("1")], "not a value of int8"),
    ] {
        let error = writer.write(&row).unwrap_err();
        assert!(matches!(error, Error::Column { .. }), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(matches!(writer.finish(), Err(Error::Empty { .. })));
}

#[test]
fn a_dataset_is_never_overwritten() {
    let uri = fresh();
    numbers(&uri, 1, WriterOptions::default());
    let again = Writer::create(&uri, "", vec![spec("n", "int")], WriterOptions::default());
    assert!(matches!(again, Err(Error::Exists { .. })));
}

#[test]
fn the_digest_names_the_content_not_the_writing() {
    let (one, same, other) = (fresh(), fresh(), fresh());
    numbers(&one, 50, small_shards());
    numbers(&same, 50, small_shards());
    numbers(&other, 51, small_shards());
    // Another order of keys, and keys that we don't know.
    edit_index(&same, |index| {
        index["added"] = 1.into();
        for shard in index["shards"].as_array_mut().unwrap() {
            let entries: Vec<_> = shard.as_object().unwrap().clone().into_iter().rev().collect();
            *shard.as_object_mut().unwrap() = entries.into_iter().collect();
        }
    });
    let digest = |uri: &str| Dataset::open(uri, "").unwrap().digest().to_owned();
    assert_eq!(digest(&one), digest(&same));
    assert_ne!(digest(&one), digest(&other));
}
