//! The process group contract between real processes, and the death of one. The ranks are this test binary once more.
#![allow(clippy::unwrap_used)] // Test code, helpers included.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_c10d::{
    Error, GlooGroup, GlooOptions, MemoryStore, PrefixStore, ProcessGroup, ReduceOp, Reducer, Store,
    conformance,
};
use support::socket_store::{SocketStore, serve};
use support::{DEADLINE, Model, options};
use tch::{Device, Kind, Tensor};

/// The survivors of a killed rank must have noticed within this time.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

/// The ranks of one test: killed when the test ends, however it ends.
struct Ranks {
    children: Vec<Child>,
    store: Arc<MemoryStore>,
    _folder: tempfile::TempDir,
}

impl Ranks {
    fn start(role: &str, world_size: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("store");
        let store = Arc::new(MemoryStore::new());
        serve(store.clone(), &socket);
        let start = |rank: usize| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "rank", "--ignored", "--nocapture"])
                .env("C10D_TEST_RANK", format!("{role} {rank} {world_size} {}", socket.display()))
                .env("OMP_NUM_THREADS", "1")
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        };
        Self { children: (0..world_size).map(start).collect(), store, _folder: folder }
    }

    /// What a rank reported under `key`.
    fn report(&self, key: &str, rank: usize) -> String {
        String::from_utf8(self.store.get(&format!("{key}/{rank}"), DEADLINE).unwrap()).unwrap()
    }

    fn kill(&mut self, rank: usize) {
        self.children[rank].kill().unwrap();
        self.children[rank].wait().unwrap();
    }

    /// The rank's end, which must come by the deadline.
    fn wait(&mut self, rank: usize) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.children[rank].try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "rank {rank} still runs after {DEADLINE:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn gloo_keeps_the_contract_between_processes() {
    let mut ranks = Ranks::start("conformance", 3);
    for rank in 0..3 {
        assert!(ranks.wait(rank).success(), "rank {rank} failed, see above");
    }
}

/// Kills a rank of four, checks that the others notice soon, form a group of three and go on with equal bits.
fn survive(role: &str, victim: usize) {
    let mut ranks = Ranks::start(role, 4);
    let survivors: Vec<usize> = (0..4).filter(|&rank| rank != victim).collect();
    for rank in 0..4 {
        ranks.report("ready", rank);
    }
    ranks.kill(victim);
    let killed = Instant::now();
    for rank in &survivors {
        let error = ranks.report("lost", *rank);
        assert!(
            killed.elapsed() < NOTICED_WITHIN,
            "rank {rank} noticed after {:?}: {error}",
            killed.elapsed()
        );
        assert!(error.contains("lost a peer"), "rank {rank}: {error}");
    }
    for (new_rank, rank) in survivors.iter().enumerate() {
        ranks.store.set(&format!("new_rank/{rank}"), new_rank.to_string().as_bytes()).unwrap();
    }
    let ends: Vec<_> = survivors.iter().map(|&rank| ranks.report("end", rank)).collect();
    assert!(ends.iter().all(|end| end == &ends[0]), "{ends:?}");
    for rank in survivors {
        assert!(ranks.wait(rank).success(), "rank {rank} failed, see above");
    }
}

#[test]
fn survivors_of_a_kill_in_training_notice_and_go_on_without_it() {
    for victim in [0, 1, 3] {
        survive("training", victim);
    }
}

#[test]
fn survivors_of_a_kill_that_they_wait_for_notice_and_go_on_without_it() {
    survive("waiting 2", 2);
}

/// Gloo waits for what was started before it lets go of a group, with a timeout of 10 minutes here.
#[test]
fn an_abort_waits_for_nothing_that_was_started() {
    let mut ranks = Ranks::start("starting", 2);
    for rank in 0..2 {
        assert!(ranks.wait(rank).success(), "rank {rank} failed, see above");
    }
}

/// A rank's side. Not a test of its own: `Ranks` runs it in each child.
#[test]
#[ignore = "the other tests run it as a rank"]
fn rank() {
    let arguments = std::env::var("C10D_TEST_RANK").expect("set by the test that starts this rank");
    let words: Vec<&str> = arguments.split(' ').collect();
    let (role, [rank, world_size, socket]) = words.split_at(words.len() - 3) else { panic!("{arguments}") };
    let rank = RankProcess {
        rank: rank.parse().unwrap(),
        world_size: world_size.parse().unwrap(),
        socket: PathBuf::from(socket),
        store: Arc::new(SocketStore::connect(Path::new(socket))),
    };
    tch::set_num_threads(1);
    match role {
        ["conformance"] => conformance::process_group(Device::Cpu, &|name| {
            Ok(Box::new(rank.form(name, rank.rank, rank.world_size)))
        })
        .unwrap(),
        ["training"] => rank.train_until_lost(),
        ["starting"] => rank.abort_what_was_started(),
        ["waiting", silent] => rank.wait_until_lost(silent.parse().unwrap()),
        _ => panic!("{arguments}"),
    }
}

struct RankProcess {
    rank: usize,
    world_size: usize,
    socket: PathBuf,
    store: Arc<SocketStore>,
}

impl RankProcess {
    fn form(&self, name: &str, rank: usize, world_size: usize) -> GlooGroup {
        let store = Arc::new(PrefixStore::new(name, self.store.clone()));
        GlooGroup::form(store, rank, world_size, &options()).unwrap()
    }

    fn report(&self, key: &str, text: &str) {
        self.store.set(&format!("{key}/{}", self.rank), text.as_bytes()).unwrap();
    }

    fn train_until_lost(&self) {
        let model = Model::new();
        let step = |reducer: &mut Reducer| {
            model.params.zero_grad()?;
            reducer.backward(&model.loss(8 * self.rank as i64, 8)).map(drop)
        };
        let error = {
            let group = self.form("first", self.rank, self.world_size);
            let mut reducer =
                Reducer::new(&group, &model.params, &model.params.bucket_plan().unwrap()).unwrap();
            step(&mut reducer).unwrap();
            self.report("ready", "");
            loop {
                if let Err(error) = step(&mut reducer) {
                    break error;
                }
            }
        };
        self.go_on_without(&error, &model);
    }

    /// Blocks in a collective that the silent rank never joins.
    fn wait_until_lost(&self, silent: usize) {
        let group = self.form("first", self.rank, self.world_size);
        self.report("ready", "");
        let tensor = Tensor::ones([1000], (Kind::Float, Device::Cpu));
        if self.rank == silent {
            // Until killed.
            SocketStore::connect(&self.socket).wait(&["never"], DEADLINE).unwrap();
        }
        let error = group.all_reduce(&tensor, ReduceOp::Sum).unwrap_err();
        self.go_on_without(&error, &Model::new());
    }

    fn abort_what_was_started(&self) {
        let store = Arc::new(PrefixStore::new("first", self.store.clone()));
        let long = GlooOptions { collective_timeout: Duration::from_secs(600), ..options() };
        let group = GlooGroup::form(store, self.rank, self.world_size, &long).unwrap();
        if self.rank == 1 {
            // Lives, and never joins.
            self.store.get("aborted/0", DEADLINE).unwrap();
            return;
        }
        let tensor = Tensor::ones([1 << 20], (Kind::Float, Device::Cpu));
        let started = group.start_all_reduce(tensor, ReduceOp::Sum).unwrap();
        std::thread::scope(|scope| scope.spawn(|| group.abort("revoked")).join().unwrap());
        assert!(matches!(started.wait(), Err(Error::Aborted { .. })));
        drop(group);
        self.report("aborted", "");
    }

    fn go_on_without(&self, error: &Error, model: &Model) {
        assert!(matches!(error, Error::PeerLost { .. }), "{error:?}");
        self.report("lost", &error.to_string());
        let new_rank = self.store.get(&format!("new_rank/{}", self.rank), DEADLINE).unwrap();
        let new_rank: usize = String::from_utf8(new_rank).unwrap().parse().unwrap();
        let group = self.form("second", new_rank, self.world_size - 1);
        let mut reducer = Reducer::new(&group, &model.params, &model.params.bucket_plan().unwrap()).unwrap();
        for step in 0..3 {
            model.params.zero_grad().unwrap();
            reducer.backward(&model.loss(100 * step + 8 * new_rank as i64, 8)).unwrap();
        }
        self.report("end", &format!("{:?}", support::bits(&model.grads())));
    }
}
