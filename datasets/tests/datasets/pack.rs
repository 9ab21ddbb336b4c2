//! CSV to shards.

use std::{fs, io::Write, path::PathBuf};

use flate2::{Compression as Level, write::GzEncoder};
use lockstep_datasets::{
    Dataset, Dtype, Error, LabelColumn, Loader, PackOptions, Replica, Splits, inspect, pack_csv, verify,
};

use crate::support::{cached_in, fresh};

struct Csv {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn csv(text: &str) -> Csv {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    fs::write(&path, text).unwrap();
    Csv { _folder: folder, path }
}

fn read(uri: &str, split: &str) -> (Vec<f32>, Vec<i64>) {
    let cache = tempfile::tempdir().unwrap();
    let dataset = Dataset::open(uri, split).unwrap();
    let mut loader =
        Loader::eval(dataset, 1000, Replica::new(0, 1).unwrap(), cached_in(cache.path())).unwrap();
    let batch = loader.batch(0).unwrap();
    (batch.column("x").unwrap().to_f32().unwrap(), batch.column("label").unwrap().to_i64().unwrap())
}

#[test]
fn the_label_is_found_wherever_it_is() {
    let with_header = "a,kind,b\n1,7,2.5\n3,8,4\n";
    let without = "1,7,2.5\n3,8,4\n";
    for (text, header, label) in [
        (with_header, true, LabelColumn::Name("kind".into())),
        (with_header, true, LabelColumn::Index(1)),
        (without, false, LabelColumn::Index(1)),
        ("7,1,2.5\n8,3,4\n", false, LabelColumn::First),
        ("1,2.5,7\r\n3,4,8\r\n", false, LabelColumn::Last),
        (" 1 , 2.5 , 7\n3,4,8", false, LabelColumn::Last),
    ] {
        let (input, output) = (csv(text), fresh());
        let report =
            pack_csv(&PackOptions { header, label, ..PackOptions::new(&input.path, &output) }).unwrap();
        assert_eq!(report.splits[0].samples, 2);
        assert_eq!(report.splits[0].labels.clone().into_iter().collect::<Vec<_>>(), [(7, 1), (8, 1)]);
        assert_eq!((report.ranges["x"].min, report.ranges["x"].max), (1.0, 4.0));
        assert_eq!(read(&output, "train"), (vec![1.0, 2.5, 3.0, 4.0], vec![7, 8]), "{text:?}");
        assert!(verify(&output, None).unwrap().is_good());
    }
}

#[test]
fn gzip_is_seen_by_its_content() {
    let input = csv("");
    let mut zip = GzEncoder::new(fs::File::create(&input.path).unwrap(), Level::default());
    zip.write_all(b"1,2,0\n3,4,1\n").unwrap();
    zip.finish().unwrap();
    let output = fresh();
    let options =
        PackOptions { dtype: Dtype::U8, shape: Some(vec![1, 2]), ..PackOptions::new(&input.path, &output) };
    pack_csv(&options).unwrap();
    assert_eq!(read(&output, "train").0, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(inspect(&output).unwrap().splits[0].columns["x"], "ndarray:uint8:1,2");
}

#[test]
fn two_splits_of_one_name_are_refused() {
    let (input, output) = (csv("1,2,0\n3,4,1\n"), fresh());
    let shares = vec![("a".into(), 0.5), ("a".into(), 0.5)];
    let splits = Splits::Fractions { seed: 9, shares };
    let error = pack_csv(&PackOptions { splits, ..PackOptions::new(&input.path, &output) }).unwrap_err();
    assert!(error.to_string().contains("split names"), "{error}");
}

#[test]
fn splits_share_out_all_rows() {
    let text: String = (0..100).map(|i| format!("{i},{}\n", i % 3)).collect();
    let (input, output) = (csv(&text), fresh());
    let shares = vec![("train".into(), 0.7), ("val".into(), 0.1), ("test".into(), 0.2)];
    let splits = Splits::Fractions { seed: 9, shares };
    let report = pack_csv(&PackOptions { splits, ..PackOptions::new(&input.path, &output) }).unwrap();
    let sizes: Vec<_> = report.splits.iter().map(|split| split.samples).collect();
    assert_eq!(sizes, [70, 10, 20]);
    let mut all: Vec<i32> =
        ["train", "val", "test"].iter().flat_map(|split| read(&output, split).0).map(|x| x as i32).collect();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    let root = inspect(&output).unwrap();
    assert_eq!(
        root.splits.iter().map(|split| split.split.as_str()).collect::<Vec<_>>(),
        ["test", "train", "val"]
    );
}

#[test]
fn what_cannot_be_packed_is_located() {
    type Edit = fn(&mut PackOptions);
    let none: Edit = |_| {};
    let cases: [(&str, Edit, &str); 11] = [
        ("1,2,0\n3,4\n", none, "table.csv:2: 3 columns are expected, but there are 2"),
        ("1,2,0\n3,x,1\n", none, "table.csv:2: column 2: \"x\" is not a number"),
        ("1,2,0\n3,4,1.5\n", none, "table.csv:2: column 3: \"1.5\" is not an integer label"),
        ("1,2,0\n3,,1\n", none, "column 2: \"\" is not a number"),
        ("1,nan,0\n", none, "\"nan\" is not float32"),
        ("1,2,0\n3,256,1\n", |o| o.dtype = Dtype::U8, "table.csv:2: column 2: \"256\" is not uint8"),
        ("1\n2\n", none, "at least 2 columns, not 1"),
        (
            "a,b\n1,0\n",
            |o| (o.header, o.label) = (true, LabelColumn::Name("y".into())),
            "no column is named \"y\"",
        ),
        ("1,0\n", |o| o.label = LabelColumn::Name("y".into()), "without a header"),
        ("1,0\n", |o| o.label = LabelColumn::Index(2), "there is no column 2"),
        ("1,2,3,0\n", |o| o.shape = Some(vec![2, 2]), "holds 3 values"),
    ];
    for (text, edit, part) in cases {
        let (input, output) = (csv(text), fresh());
        let mut options = PackOptions::new(&input.path, &output);
        edit(&mut options);
        let error = pack_csv(&options).unwrap_err();
        assert!(error.to_string().contains(part), "{error} should say {part:?}");
        assert!(
            matches!(Dataset::open(&output, "train"), Err(Error::NoDataset { .. })),
            "{text:?} left a dataset"
        );
    }
}

#[test]
fn empty_and_missing_files_are_told() {
    for text in ["", "a,b\n"] {
        let input = csv(text);
        let options = PackOptions { header: !text.is_empty(), ..PackOptions::new(&input.path, fresh()) };
        assert!(matches!(pack_csv(&options), Err(Error::Empty { .. })), "{text:?}");
    }
    let error = pack_csv(&PackOptions::new("/nowhere/table.csv", fresh())).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("/nowhere/table.csv"), "{error}");
}
