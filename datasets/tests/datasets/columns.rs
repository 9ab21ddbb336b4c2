//! Columns that nobody reads are passed over whatever they hold; errors of the others name column and sample.

use lockstep_datasets::{
    Batch, Columns, Dataset, Error, Loader, LoaderOptions, Replica, Values, Writer, WriterOptions,
    parse_sample, verify,
};
use serde_json::json;

use crate::support::{cached_in, edit_index, fresh, spec};

/// Values of a column `note` for each of four samples, beside a column `n` with the sample's number.
fn dataset(encoding: &str, notes: [&[u8]; 4]) -> Dataset {
    let uri = fresh();
    let columns = vec![spec("n", "int"), spec("note", "bytes")];
    let mut writer = Writer::create(&uri, "", columns, WriterOptions::default()).unwrap();
    for (number, note) in notes.into_iter().enumerate() {
        let values = [lockstep_datasets::Value::Int(number as i64), lockstep_datasets::Value::Bytes(note)];
        writer.write(&values).unwrap();
    }
    writer.finish().unwrap();
    edit_index(&uri, |index| index["shards"][0]["column_encodings"] = json!(["int", encoding]));
    Dataset::open(&uri, "").unwrap()
}

fn read(dataset: &Dataset, columns: Columns) -> Result<Batch, Error> {
    let cache = tempfile::tempdir().unwrap();
    let options = LoaderOptions { columns, ..cached_in(cache.path()) };
    Loader::eval(dataset.clone(), 4, Replica::new(0, 1).unwrap(), options)?.batch(0)
}

fn named(names: &[&str]) -> Columns {
    Columns::Named(names.iter().map(|name| (*name).to_owned()).collect())
}

/// Boxes of a picture: n x 4 floats, of which there are some in each.
fn boxes(n: u8) -> Vec<u8> {
    let mut value = vec![2 << 2, n, 4];
    value.extend((0..4 * n).flat_map(|i| f32::from(i).to_le_bytes()));
    value
}

#[test]
fn a_column_that_nobody_reads_may_hold_anything() {
    let ragged = [boxes(1), boxes(2), boxes(3), boxes(1)];
    let ragged = ragged.each_ref().map(Vec::as_slice);
    let junk: [&[u8]; 4] = [b"\x80\x04", b"", b"\xff", b"nonsense"];
    let encodings = ["pkl", "list[jpeg]", "ndarray:float32", "ndarray", "str", "json", "str_int", "jpeg"];
    for encoding in encodings {
        for values in [ragged, junk] {
            let dataset = dataset(encoding, values);
            for columns in [named(&["n"]), Columns::Numbers] {
                let batch = read(&dataset, columns.clone()).unwrap();
                assert_eq!(
                    batch.column("n").unwrap().values,
                    Values::I64(vec![0, 1, 2, 3]),
                    "{encoding} {columns:?}"
                );
            }
        }
    }
    // Nor does its size have to be the same for each sample.
    assert_eq!(verify(&dataset("pkl", junk).uri(), None).unwrap().good_samples, 4);
}

#[test]
fn a_fixed_size_of_an_unknown_encoding_is_believed() {
    let sample = [7_u8, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3];
    let uri = fresh();
    let mut writer = Writer::create(
        &uri,
        "",
        vec![spec("n", "int"), spec("odd", "ndarray:uint8:3")],
        WriterOptions::default(),
    )
    .unwrap();
    writer
        .write(&[lockstep_datasets::Value::Int(7), lockstep_datasets::Value::Array(&[1.0, 2.0, 3.0])])
        .unwrap();
    writer.finish().unwrap();
    edit_index(&uri, |index| index["shards"][0]["column_encodings"] = json!(["int", "uint24"]));
    let dataset = Dataset::open(&uri, "").unwrap();
    assert_eq!(dataset.columns()[1].encoding.to_string(), "uint24");
    assert_eq!(parse_sample(dataset.columns(), &sample).unwrap().len(), 1);
    assert!(parse_sample(dataset.columns(), &sample[..10]).is_err());
}

#[test]
fn an_error_of_a_column_that_is_read_names_column_and_sample() {
    let ragged = [boxes(1), boxes(1), boxes(2), boxes(1)];
    let ragged = dataset("ndarray:float32", ragged.each_ref().map(Vec::as_slice));
    let text = dataset("str", [b"a", b"b", b"\xff", b"c"]);
    let number = dataset("str_int", [b"1", b"2", b"x", b"4"]);
    for (dataset, part) in
        [(&ragged, "got [2, 4]"), (&text, "expected UTF-8"), (&number, "an integer's digits")]
    {
        for columns in [named(&["note"]), Columns::All] {
            let error = read(dataset, columns).unwrap_err();
            let Error::Sample { sample: 2, flaw, .. } = &error else { panic!("{error:?}") };
            assert_eq!(flaw.column.as_deref(), Some("note"));
            let text = error.to_string();
            for part in ["sample 2 of memory://", "shard.00000.mds", "column \"note\"", part] {
                assert!(text.contains(part), "{text} should say {part:?}");
            }
        }
    }
    // Where the reader doesn't say which it needs, the error waits until it asks.
    for dataset in [&ragged, &number] {
        let batch = read(dataset, Columns::Numbers).unwrap();
        assert!(batch.column("n").unwrap().to_i64().is_ok());
        let error = batch.column("note").unwrap().to_f32().unwrap_err().to_string();
        assert!(error.contains("sample 2 of") && error.contains("\"note\""), "{error}");
    }
    let problems = verify(&number.uri(), None).unwrap().problems;
    assert!(
        problems[0].error.contains("sample 2 of") && problems[0].error.contains("\"note\""),
        "{problems:?}"
    );
}

#[test]
fn a_column_that_is_never_decoded_can_not_be_read_and_is_no_part_of_all() {
    let dataset = dataset("pkl", [b"1", b"2", b"3", b"4"]);
    let error = read(&dataset, named(&["note"])).unwrap_err();
    assert!(matches!(&error, Error::Column { name, .. } if name == "note"), "{error:?}");
    assert!(error.to_string().contains("pkl, which Lockstep does not decode"), "{error}");
    assert_eq!(read(&dataset, Columns::All).unwrap().columns.len(), 1);
}
