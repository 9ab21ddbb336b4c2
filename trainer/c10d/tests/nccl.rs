//! The half for GPUs: on any machine that it opens, and on a machine with GPUs that it keeps the contract.
//!
//! It needs `make nccl`, and for libtorch's CUDA half the PyTorch that LOCKSTEP_PYTHON has, as `make test` sets it.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is this test's verdict

use lockstep_c10d::{
    Cuda, CudaCode, CudaMissing, GlooGroup, GlooOptions, MemoryStore, NcclGroup, NcclOptions, Place,
    PrefixStore, ProcessGroup, Store, conformance,
};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

/// Set for a process that runs one of the functions below instead of being a test.
const PART: &str = "LOCKSTEP_NCCL_PART";

/// Runs `part` in a process of its own, which finds the libraries in `folders`: the loader looks at its environment once.
fn in_a_process(part: &str, folders: &[PathBuf]) -> Output {
    let path = std::env::join_paths(folders).unwrap();
    let this = std::env::current_exe().unwrap();
    let args = ["--exact", "part", "--nocapture", "--include-ignored"];
    Command::new(this)
        .args(args)
        .env(PART, part)
        .env("LD_LIBRARY_PATH", path)
        .env_remove("CUDA_VISIBLE_DEVICES")
        .output()
        .unwrap()
}

fn passed(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

/// `torch/lib` of the PyTorch that tests compare with.
fn torch_lib() -> PathBuf {
    let python = std::env::var("LOCKSTEP_PYTHON").expect("LOCKSTEP_PYTHON is not set: run `make test`");
    let code = "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])";
    let output = Command::new(python).args(["-c", code]).output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()).join("lib")
}

/// Where `make nccl` puts the library: in `lib` of the target folder, beside the profiles' folders.
fn library() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let lib = this.ancestors().nth(3).unwrap().join("lib");
    assert!(lib.join("liblockstep_nccl.so").exists(), "{} has no library: run `make nccl`", lib.display());
    lib
}

#[test]
fn the_code_for_gpus_opens_on_a_machine_without_one() {
    let text = passed(&in_a_process("opens", &[torch_lib(), library()]));
    assert!(text.contains("libtorch 2.11.0, CUDA 13.0, NCCL 2.28.9"), "{text}");
}

/// Without them NCCL's collectives return at once, and its watchdog ends the process.
#[test]
fn libtorch_finds_its_settings_before_main_and_those_of_the_user_stay() {
    for (name, value) in [
        ("TORCH_NCCL_BLOCKING_WAIT", "1"),
        ("TORCH_NCCL_ENABLE_MONITORING", "0"),
        ("TORCH_NCCL_RETHROW_CUDA_ERRORS", "0"),
    ] {
        let part = |set: Option<&str>| {
            let mut this = Command::new(std::env::current_exe().unwrap());
            this.args(["--exact", "part", "--nocapture", "--include-ignored"])
                .env(PART, "shows its settings");
            match set {
                Some(value) => this.env(name, value),
                None => this.env_remove(name),
            };
            passed(&this.output().unwrap())
        };
        assert!(part(None).contains(&format!("{name}={value};")), "{name}");
        assert!(part(Some("7")).contains(&format!("{name}=7;")), "{name}");
    }
}

#[test]
fn what_is_missing_is_named() {
    passed(&in_a_process("lacks libtorch_cuda", &[library()]));
    passed(&in_a_process("lacks the library", &[torch_lib()]));
}

#[test]
fn a_machine_without_a_driver_says_so_and_trains_on() {
    passed(&in_a_process("has no driver", &[torch_lib(), library()]));
}

/// A folder with a `libcuda.so.1` that knows so many GPUs and is of that version. It computes nothing: what is tested with it is
/// what is said.
fn driver(version: i32, count: i32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("driver.c");
    let code = format!(
        "int cuInit(unsigned flags) {{ return flags != 0; }}\n\
         int cuDriverGetVersion(int* out) {{ *out = {version}; return 0; }}\n\
         int cuDeviceGetCount(int* out) {{ *out = {count}; return 0; }}\n\
         int cuDeviceGet(int* out, int index) {{ *out = 40 + index; return index >= {count}; }}\n\
         int cuDeviceGetUuid_v2(char* out, int device) {{ for (int i = 0; i < 16; i++) out[i] = device + i; return 0; }}\n"
    );
    std::fs::write(&source, code).unwrap();
    let library = folder.path().join("libcuda.so.1");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(library).arg(source).status().unwrap();
    assert!(built.success());
    folder
}

#[test]
fn what_a_driver_lacks_is_named() {
    let say = |version, count, more: &[PathBuf]| {
        let driver = driver(version, count);
        let folders = [&[driver.path().to_owned()], more].concat();
        passed(&in_a_process("says what is missing", &folders))
    };
    let expected = [
        (say(12_040, 1, &[]), "the NVIDIA driver is for CUDA 12.4, and libtorch 2.11.0 needs CUDA 13.0"),
        (say(13_000, 0, &[]), "shows this process no GPU. CUDA_VISIBLE_DEVICES is not set"),
        (say(13_000, 1, &[]), "local rank 1 needs GPU 1, and this node shows 1: lower ranksPerNode"),
        (say(13_010, 2, &[library()]), "libtorch's CUDA half can't be opened: libtorch_cuda.so"),
        (say(13_010, 2, &[torch_lib()]), "liblockstep_nccl.so can't be opened"),
        (say(13_010, 2, &[torch_lib(), library()]), "GPU 1: taking it failed: CUDA error: "),
    ];
    for (said, words) in expected {
        assert!(said.contains(words), "no {words:?} in: {said}");
    }
}

#[test]
fn a_gpu_is_named_as_the_driver_names_it_everywhere() {
    let driver = driver(13_000, 2);
    passed(&in_a_process("names its GPU", &[driver.path().to_owned()]));
}

#[test]
#[ignore = "needs a GPU: `make gpu-check` runs it there"]
fn one_rank_on_this_gpu_passes_the_conformance_suite() {
    passed(&in_a_process("conformance", &[torch_lib(), library()]));
}

/// What a process does; a test only where it is told which part.
#[test]
#[ignore = "a part of the other tests"]
fn part() {
    match std::env::var(PART).as_deref() {
        Err(_) => {}
        Ok("opens") => {
            let code = CudaCode::open().unwrap();
            println!("{}", code.versions());
            let has_driver = std::fs::exists("/dev/nvidiactl").unwrap();
            assert!(has_driver || code.num_devices().unwrap() == 0);
            // The CPU half goes on as before.
            let sum = tch::Tensor::from_slice(&[1.0f32, 2.0]).sum(tch::Kind::Float);
            assert_eq!(sum.double_value(&[]), 3.0);
        }
        Ok("shows its settings") => {
            // What calls the crate, so that its settings are linked.
            CudaCode::open().unwrap_err();
            for (name, value) in std::env::vars() {
                println!("{name}={value};");
            }
        }
        Ok("lacks libtorch_cuda") => {
            let error = CudaCode::open().unwrap_err();
            assert!(matches!(error, CudaMissing::Libtorch { .. }), "{error:?}");
            assert!(error.to_string().contains("torch==2.11.0"), "{error}");
        }
        Ok("lacks the library") => {
            let error = CudaCode::open().unwrap_err();
            assert!(matches!(error, CudaMissing::Nccl { .. }), "{error:?}");
            assert!(error.to_string().contains("make nccl"), "{error}");
        }
        Ok("has no driver") => {
            let Err(error) = Cuda::open(Place { local_rank: 0, index: 0 }) else { return };
            assert!(matches!(error, CudaMissing::Driver { .. }), "{error:?}");
            let options = GlooOptions::default();
            let group = GlooGroup::form(Arc::new(MemoryStore::default()), 0, 1, &options).unwrap();
            group.barrier(options.collective_timeout).unwrap();
        }
        Ok("says what is missing") => {
            println!("{}", Cuda::open(Place { local_rank: 1, index: 1 }).unwrap_err());
        }
        Ok("names its GPU") => {
            let uuid = |index| Place { local_rank: 0, index }.uuid();
            assert_eq!(uuid(1), Some(std::array::from_fn(|at| 41 + at as u8)));
            assert_eq!(uuid(2), None, "there is none");
        }
        Ok("conformance") => {
            let cuda = Cuda::open(Place { local_rank: 0, index: 0 }).unwrap();
            println!("{}, {}", cuda.name(), cuda.versions());
            let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
            let form = |name: &str| {
                let store = Arc::new(PrefixStore::new(name, Arc::clone(&store)));
                let group = NcclGroup::form(store, 0, 1, &cuda, &NcclOptions::default())?;
                Ok(Box::new(group) as Box<dyn ProcessGroup>)
            };
            conformance::process_group(cuda.device(), &form).unwrap();
            println!("memory: {:?}", cuda.memory().unwrap());
        }
        Ok(other) => panic!("there is no part {other:?}"),
    }
}
