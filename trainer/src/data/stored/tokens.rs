//! Token files as a rank sees them.

use super::*;
use crate::checkpoint::Sameness;
use lockstep_job::Source;
use lockstep_run::{Generation, Incarnation, NodeId, Rank, RunUid, StartFrom};
use std::fs;
use std::path::Path;
use tch::Kind;

fn open_in(folder: &Path, scratch: &Path, window: u32) -> Result<Stored> {
    let text = format!(
        "name: a\nmodel: {{ kind: mlp }}\ntrain: {{ steps: 5, globalBatch: 2 }}\n\
         data: {{ format: tokens, window: {window}, shuffle: {{ block: 1 }}, train: {{ uri: {} }} }}\n",
        folder.display()
    );
    let job = lockstep_job::parse(&Source { path: "job.yaml".into(), text }, &[]).unwrap();
    let start = Start {
        run_uid: RunUid("test".into()),
        generation: Generation(1),
        rank: Rank(0),
        world_size: 1,
        local_rank: 0,
        local_world_size: 1,
        node: NodeId(0),
        incarnation: Incarnation(1),
        host: "127.0.0.1".into(),
        run_dir: String::new(),
        job: String::new(),
        start_from: StartFrom::Fresh,
        gpus: Default::default(),
        launched_at_unix_ms: 0,
        scratch: scratch.to_owned(),
        agent_version: "0".to_owned(),
        provenance: Default::default(),
    };
    let data = job.data.as_ref().unwrap();
    open(&job, data, &start, Some(vec!["tokens"]))
}

/// As nanoGPT writes them.
fn write(file: &Path, tokens: std::ops::Range<u16>) {
    fs::write(file, tokens.flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
}

#[test]
fn a_model_is_shown_windows_and_told_the_vocabulary() {
    let [folder, scratch] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    write(&folder.path().join("a.bin"), 0..40);
    let data = open_in(folder.path(), scratch.path(), 4).unwrap();
    assert_eq!((data.num_samples(), data.vocab(), data.num_classes()), (9, None, None));
    assert_eq!(data.empty().unwrap().column("tokens").unwrap().size(), [0, 5]);
    let share = data.train(&data.start()).unwrap().next().unwrap();
    let expected = Tensor::from_slice(&[0, 1, 2, 3, 4, 4, 5, 6, 7, 8]).view([2, 5]).to_kind(Kind::Int);
    assert_eq!(share.batch.column("tokens").unwrap(), &expected);

    datasets::seal(folder.path().to_str().unwrap()).unwrap();
    let sealed = open_in(folder.path(), scratch.path(), 4).unwrap();
    assert_eq!((sealed.vocab(), sealed.num_classes()), (Some(40), Some(40)));
    assert!(
        open_in(folder.path(), scratch.path(), 40).unwrap_err().to_string().contains("lower data.window")
    );
}

#[test]
fn a_file_that_was_replaced_in_place_is_refused_when_a_run_resumes() {
    let [folder, scratch] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let file = folder.path().join("a.bin");
    write(&file, 0..40);
    let data = open_in(folder.path(), scratch.path(), 4).unwrap();
    let mut train = data.train(&data.start()).unwrap();
    train.next().unwrap();
    let shards: Contents = train
        .contents()
        .iter()
        .enumerate()
        .filter_map(|(shard, hash)| Some((shard as u32, format!("{:032x}", (*hash)?))))
        .collect();
    assert_eq!(shards.len(), 1);
    let before = Dataset { shards, ..data.dataset().clone() };

    let resumed = || open_in(folder.path(), scratch.path(), 4).unwrap();
    assert_eq!(before.compare(resumed().dataset()).unwrap(), Sameness::Same);
    write(&file, 1..41);
    let other = resumed();
    assert_eq!(before.compare(other.dataset()).unwrap(), Sameness::ByContent);
    let refused = other.expect(&before.shards, true).unwrap_err().to_string();
    assert!(refused.contains("a.bin is not what it was"), "{refused}");
    // The old tokens, of another time, and with an index by now, are what they were.
    write(&file, 0..40);
    datasets::seal(folder.path().to_str().unwrap()).unwrap();
    let same = resumed();
    assert_eq!(before.compare(same.dataset()).unwrap(), Sameness::ByContent);
    same.expect(&before.shards, true).unwrap();
    write(&file, 0..42);
    fs::remove_file(folder.path().join("index.json")).unwrap();
    assert!(before.compare(resumed().dataset()).is_err(), "another size is another dataset");
}
