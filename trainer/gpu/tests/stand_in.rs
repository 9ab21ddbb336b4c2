//! The program against a stand-in for the driver's library, which answers with known figures. None of it was asked of a GPU.

#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_run::{Gpu, GpuLine, Slowdown};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const FIRST: &str = "00000000-0000-0000-0000-000000000001";
const SLICE: &str = "00000000-0000-0000-0000-000000000003";

/// A folder with the stand-in.
fn driver() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nvml.c");
    let mut cc = Command::new("cc");
    cc.args(["-Wall", "-Werror", "-shared", "-fPIC", "-o"])
        .arg(folder.path().join("libnvidia-ml.so.1"))
        .arg(source);
    assert!(cc.status().unwrap().success());
    folder
}

/// The first lines that it prints; what it prints after them reaches nobody, which ends it.
fn told(driver: &Path, arguments: &[&str], lines: usize) -> Vec<GpuLine> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_lockstep-gpu"))
        .args(["--every", "1"])
        .args(arguments)
        .env("LD_LIBRARY_PATH", driver)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(program.stdout.take().unwrap());
    let lines = out.lines().take(lines).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert!(program.wait().unwrap().code().is_some(), "it ends by itself");
    lines
}

fn gpus(line: &GpuLine) -> &[Gpu] {
    match line {
        GpuLine::Gpus(gpus) => gpus,
        GpuLine::Missing(why) => panic!("{why}"),
    }
}

/// What the stand-in says of GPU 0.
fn first(xids: &[u64]) -> Gpu {
    Gpu {
        index: Some(0),
        uuid: format!("GPU-{FIRST}"),
        name: "NVIDIA H200".to_owned(),
        memory_used: Some(97 << 30),
        memory_total: Some(141 << 30),
        utilization: Some(97),
        sm_clock: Some(1830),
        power: Some(613),
        temperature: Some(88),
        ecc_uncorrected: Some(3),
        xids: xids.to_vec(),
        slowed_by: vec![Slowdown::PowerCap, Slowdown::HardwareThermal],
    }
}

#[test]
fn figures_and_errors_are_those_of_the_driver() {
    let driver = driver();
    let lines = told(driver.path(), &[], 3);
    let second = Gpu {
        index: Some(1),
        uuid: "GPU-00000000-0000-0000-0000-000000000002".to_owned(),
        name: "Tesla K80".to_owned(),
        ..Gpu::default()
    };
    assert_eq!(gpus(&lines[0]), [first(&[]), second.clone()], "what the driver doesn't tell is none");
    assert_eq!(gpus(&lines[1]), [first(&[79]), second.clone()], "an error is told at once");
    assert_eq!(gpus(&lines[2]), [first(&[79]), second], "and kept");
}

#[test]
fn a_slice_tells_its_own_memory_and_the_rest_of_the_whole_gpu() {
    let driver = driver();
    let lines = told(driver.path(), &["--gpu", SLICE], 2);
    let slice = Gpu {
        uuid: format!("MIG-{SLICE}"),
        name: "NVIDIA H200 MIG 1g.18gb".to_owned(),
        memory_used: Some(1 << 30),
        memory_total: Some(18 << 30),
        utilization: None,
        ..first(&[79])
    };
    assert_eq!(gpus(&lines[1]), [slice], "no other GPU is told of");
}

#[test]
fn what_is_missing_is_its_last_line() {
    let (empty, driver) = (tempfile::tempdir().unwrap(), driver());
    let other = "00000000-0000-0000-0000-0000000000ff";
    for (folder, arguments, words) in [
        (empty.path(), &[][..], "libnvidia-ml.so.1 of NVIDIA's driver can't be used: "),
        (driver.path(), &["--gpu", FIRST, "--gpu", other], &format!("doesn't show the GPU {other}: ")),
    ] {
        if folder == empty.path() && Path::new("/proc/driver/nvidia").exists() {
            eprintln!("NOT TESTED: this machine has NVIDIA's driver");
            continue;
        }
        let lines = told(folder, arguments, usize::MAX);
        let [GpuLine::Missing(why)] = &lines[..] else { panic!("{lines:?}") };
        assert!(why.contains(words), "{why}");
    }
}
