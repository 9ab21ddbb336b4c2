use super::entries::Entries;
use super::options::Deal;
use super::records::Records;
use super::{PackReport, PackedSplit, Splits};
use crate::mds::{ColumnSpec, Encoding, ImageKind, Notes, Range, Value, Writer, WriterOptions};
use crate::order::{Permutation, key};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const IMAGE: &str = "image";
const LABEL: &str = "label";

/// What a key is for: the order of files.
const FILES: u64 = 1;

/// Folders of these names are splits, not classes.
const SPLITS: [&str; 5] = ["train", "test", "val", "valid", "validation"];

/// How to pack pictures.
#[derive(Debug, Clone)]
pub struct PictureOptions {
    /// A folder or a tar archive: of pictures in a folder for each class, or of CIFAR's or MNIST's binary files.
    pub input: PathBuf,
    /// URI of the dataset to make.
    pub output: String,
    /// Which picture goes where, unless the input says that itself.
    pub splits: Splits,
    /// Seed of the order in which files are packed.
    pub seed: u64,
    /// Shard size, compression, hashes.
    pub writer: WriterOptions,
    /// Where the data is from; kept in the index.
    pub source: Option<String>,
}

/// Whether `input` is something that [`pack_pictures`] takes: a folder or a tar archive.
///
/// # Errors
/// Where it can't be looked at.
pub fn holds_pictures(input: &Path) -> Result<bool> {
    Ok(!Entries::open(input)?.is_file())
}

/// Packs pictures: they become the column `image`, as they are or, from binary files, as PNG, and their classes `label`.
///
/// Classes are the names of the folders that hold the pictures, in the order of the alphabet. Folders or files that are
/// called as splits are (`train`, `test`, `val`) become those; else `splits` deals the samples. `told` hears how many of all
/// samples are packed.
///
/// Files are mixed by the seed: readers take what lies together together, and a batch of one class teaches a network to tell
/// batches apart. Records stay in their order, which their authors have mixed.
///
/// The input is read twice, first to name and count what it holds; memory holds one file and one shard of each split.
///
/// # Errors
/// [`Error::Pictures`] for what can't be packed; [`Error::Exists`]; [`Error::Empty`]; storage errors.
pub fn pack_pictures(options: &PictureOptions, told: impl Fn(u64, u64)) -> Result<PackReport> {
    let input = Input::open(options)?;
    let survey = input.survey()?;
    let total = survey.samples.len() as u64;
    let names: Vec<_> = survey.splits.keys().cloned().collect();
    let specs = [(IMAGE, Encoding::Image(survey.kind)), (LABEL, Encoding::Int)];
    let specs = specs.map(|(name, encoding)| ColumnSpec { name: name.to_owned(), encoding });
    let mut writers = names
        .iter()
        .map(|name| Writer::create(&options.output, name, specs.to_vec(), options.writer.clone()))
        .collect::<Result<Vec<_>>>()?;
    let (mut samples, mut done) = (survey.samples.iter(), 0);
    input.each(&mut |picture| {
        let (split, label) = samples.next().ok_or_else(|| options.changed())?;
        writers[*split].write(&[Value::Bytes(&picture), Value::Int(*label)])?;
        done += 1;
        told(done, total);
        Ok(())
    })?;
    if samples.next().is_some() {
        return Err(options.changed());
    }
    let most = survey.splits.values().flat_map(BTreeMap::keys).max().copied().unwrap_or(0);
    let ranges = BTreeMap::from([(LABEL.to_owned(), Range { min: 0.0, max: most as f64 })]);
    let (source, classes) = (options.source.clone(), survey.classes);
    let notes = Notes { ranges: ranges.clone(), source, classes, ..Notes::default() };
    let mut splits = Vec::new();
    for (writer, (name, labels)) in writers.into_iter().zip(survey.splits) {
        let index = writer.finish_with(Some(notes.clone()))?;
        splits.push(PackedSplit::new(&name, &index, labels));
    }
    Ok(PackReport { uri: options.output.clone(), splits, ranges })
}

/// What the first reading found.
#[derive(Debug)]
struct Survey {
    /// For each split, how many samples of each label.
    splits: BTreeMap<String, BTreeMap<i64, u64>>,
    /// For each sample the place of its split in `splits`, and its label.
    samples: Vec<(usize, i64)>,
    /// Names of the labels, where the input has names.
    classes: Vec<String>,
    kind: ImageKind,
}

/// What is packed.
struct Input<'a> {
    options: &'a PictureOptions,
    entries: Entries,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// One file for each picture: their places among the entries, in the order in which they are packed.
    Files(Vec<usize>),
    Records(Records),
}

impl PictureOptions {
    fn changed(&self) -> Error {
        self.bad("", "it changed while it was packed".to_owned())
    }

    fn bad(&self, entry: &str, reason: String) -> Error {
        let file = if entry.is_empty() { self.input.clone() } else { self.input.join(entry) };
        Error::Pictures { file, reason }
    }
}

impl<'a> Input<'a> {
    fn open(options: &'a PictureOptions) -> Result<Self> {
        let entries = Entries::open(&options.input)?;
        let paths = entries.paths();
        let form = match Records::of(paths) {
            Some(records) => Form::Records(records),
            None => {
                let pictures: Vec<_> =
                    (0..paths.len()).filter(|i| picture_kind(&paths[*i]).is_some()).collect();
                let count = pictures.len() as u64;
                let mixed = Permutation::new(count, key(options.seed, &[count, FILES]));
                Form::Files((0..count).map(|place| pictures[mixed.at(place) as usize]).collect())
            }
        };
        Ok(Self { options, entries, form })
    }

    fn survey(&self) -> Result<Survey> {
        // With the split, where the input names it.
        let mut found: Vec<(Option<String>, Class)> = Vec::new();
        let kind = match &self.form {
            Form::Files(places) => {
                for place in places {
                    let path = &self.entries.paths()[*place];
                    let parts: Vec<_> = path.split('/').collect();
                    let [.., class, _] = parts[..] else {
                        let reason = "it lies in no folder that names its class";
                        return Err(self.options.bad(path, reason.to_owned()));
                    };
                    let split = parts.iter().rev().nth(2).filter(|name| SPLITS.contains(name));
                    found.push((split.map(|split| (*split).to_owned()), Class::Name(class.to_owned())));
                }
                places.first().and_then(|place| picture_kind(&self.entries.paths()[*place]))
            }
            Form::Records(records) => {
                let bad = |path: &str, reason| self.options.bad(path, reason);
                records.each(&self.entries, &bad, &mut |record| {
                    found.push((Some(record.split.to_owned()), Class::Number(record.label.into())));
                    Ok(())
                })?;
                Some(ImageKind::Png)
            }
        };
        let Some(kind) = kind.filter(|_| !found.is_empty()) else {
            let reason = "it holds no pictures: neither .jpg, .jpeg or .png files in a folder for each class, nor CIFAR's \
                          .bin files, nor MNIST's idx files";
            return Err(self.options.bad("", reason.to_owned()));
        };
        let named: BTreeSet<_> = found.iter().filter_map(|(_, class)| class.name()).collect();
        let classes: Vec<String> = named.into_iter().cloned().collect();
        let label = |class: &Class| match class {
            Class::Name(name) => classes.binary_search(name).map_or(-1, |place| place as i64),
            Class::Number(number) => *number,
        };
        let are_split = found.iter().all(|(split, _)| split.is_some());
        let deal = Deal::new(&self.options.splits, found.len() as u64)?;
        let dealt = |place: usize| deal.names()[deal.split_of(place as u64)].clone();
        let named: Vec<(String, i64)> = found
            .iter()
            .enumerate()
            .map(|(place, (split, class))| {
                let split = split.clone().filter(|_| are_split).unwrap_or_else(|| dealt(place));
                (split, label(class))
            })
            .collect();
        let mut splits: BTreeMap<String, BTreeMap<i64, u64>> = BTreeMap::new();
        for (split, label) in &named {
            *splits.entry(split.clone()).or_default().entry(*label).or_default() += 1;
        }
        let place = |name: &String| splits.keys().position(|split| split == name).unwrap_or(0);
        let samples = named.iter().map(|(split, label)| (place(split), *label)).collect();
        Ok(Survey { splits, samples, classes, kind })
    }

    /// Hands out every picture as it is stored, in the order of the survey.
    fn each(&self, take: &mut dyn FnMut(Vec<u8>) -> Result<()>) -> Result<()> {
        match &self.form {
            Form::Files(places) => places.iter().try_for_each(|place| take(self.entries.read(*place)?)),
            Form::Records(records) => {
                let bad = |path: &str, reason| self.options.bad(path, reason);
                records.each(&self.entries, &bad, &mut |record| {
                    take(record.png().map_err(|reason| self.options.bad("", reason))?)
                })
            }
        }
    }
}

/// What a picture is an example of.
#[derive(Debug)]
enum Class {
    Name(String),
    Number(i64),
}

impl Class {
    fn name(&self) -> Option<&String> {
        match self {
            Self::Name(name) => Some(name),
            Self::Number(_) => None,
        }
    }
}

/// By the end of its name.
fn picture_kind(path: &str) -> Option<ImageKind> {
    let end = path.rsplit_once('.').map(|(_, end)| end.to_lowercase());
    match end.as_deref() {
        Some("jpg" | "jpeg") => Some(ImageKind::Jpeg),
        Some("png") => Some(ImageKind::Png),
        _ => None,
    }
}
