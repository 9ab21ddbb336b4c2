//! The process group contract with ranks that are threads of one process.
#![allow(clippy::unwrap_used)] // Test code, helpers included.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_c10d::{
    Error, GlooGroup, GlooOptions, Listen, MemoryStore, PrefixStore, ProcessGroup, ReduceOp, Reducer, Store,
    StoreError, conformance,
};
use support::{DEADLINE, Model, options, ranks};
use tch::{Device, Kind, Tensor};

#[test]
fn gloo_keeps_the_contract_at_1_to_4_ranks() {
    for world_size in 1..=4 {
        ranks(world_size, |rank| {
            conformance::process_group(Device::Cpu, &|name| Ok(Box::new(rank.form(name)?))).unwrap();
        });
    }
}

#[test]
fn stores_keep_the_contract() {
    let memory = Arc::new(MemoryStore::new());
    conformance::store(&*memory).unwrap();
    conformance::store(&PrefixStore::new("a", memory.clone())).unwrap();
    let nested = PrefixStore::new("b", Arc::new(PrefixStore::new("c", memory.clone())));
    conformance::store(&nested).unwrap();
    assert_eq!(memory.get("c/b/cas", Duration::ZERO).unwrap(), b"third", "prefixes are joined as in c10d");
}

#[test]
fn a_silent_peer_is_noticed_at_the_collective_timeout() {
    ranks(2, |rank| {
        let collective_timeout = Duration::from_millis(400);
        let options = GlooOptions { collective_timeout, ..options() };
        for name in ["all_reduce", "backward"] {
            let store = Arc::new(PrefixStore::new(name, rank.store.clone()));
            let group = GlooGroup::form(store, rank.rank, 2, &options).unwrap();
            let model = Model::new();
            let plan = model.params.bucket_plan().unwrap();
            let mut reducer = Reducer::new(&group, &model.params, &plan).unwrap();
            if rank.rank == 0 {
                rank.store.wait(&[name], DEADLINE).unwrap();
                continue;
            }
            let since = Instant::now();
            let error = match name {
                "backward" => reducer.backward(&model.loss(0, 8)).map(drop),
                _ => group.all_reduce(&Tensor::ones([4], (Kind::Float, Device::Cpu)), ReduceOp::Sum),
            };
            assert!(matches!(error, Err(Error::PeerLost { .. })), "{error:?}");
            drop((reducer, group));
            assert!(since.elapsed() < collective_timeout + Duration::from_secs(5), "{:?}", since.elapsed());
            rank.store.set(name, b"noticed").unwrap();
        }
    });
}

#[test]
fn an_abort_by_another_thread_ends_the_running_collective_at_once() {
    for operation in ["all_reduce", "backward", "barrier"] {
        ranks(3, move |rank| {
            // So long that nobody comes back by a timeout.
            let long = Duration::from_secs(600);
            let store = Arc::new(PrefixStore::new(operation, rank.store.clone()));
            let group =
                GlooGroup::form(store, rank.rank, 3, &GlooOptions { collective_timeout: long, ..options() });
            let group = group.unwrap();
            let enter = || {
                let model = Model::new();
                let mut reducer =
                    Reducer::new(&group, &model.params, &model.params.bucket_plan().unwrap()).unwrap();
                rank.store.set(&format!("entering/{}", rank.rank), b"").unwrap();
                if rank.rank == 0 {
                    // Never joins.
                    rank.store.wait(&["done/1", "done/2"], DEADLINE).unwrap();
                    return Ok(());
                }
                match operation {
                    "backward" => reducer.backward(&model.loss(0, 8)).map(drop),
                    "barrier" => group.barrier(long),
                    _ => {
                        group.all_reduce(&Tensor::ones([1 << 20], (Kind::Float, Device::Cpu)), ReduceOp::Sum)
                    }
                }
            };
            std::thread::scope(|scope| {
                let blocked = scope.spawn(enter);
                if rank.rank == 1 {
                    rank.store.wait(&["entering/0", "entering/1", "entering/2"], DEADLINE).unwrap();
                    // Between announcing and entering there is no event to wait for. Either order ends well, this one is meant.
                    std::thread::sleep(Duration::from_millis(50));
                    group.abort("revoked");
                }
                let result = blocked.join().unwrap();
                if rank.rank > 0 {
                    let error = result.unwrap_err();
                    let is_lost = matches!(error, Error::PeerLost { .. } | Error::Aborted { .. });
                    assert!(is_lost, "{operation}: {error:?}");
                    rank.store.set(&format!("done/{}", rank.rank), b"").unwrap();
                }
                assert_eq!(rank.rank == 1, group.aborted().as_deref() == Some("revoked"));
            });
        });
    }
}

#[test]
fn an_abort_by_another_thread_does_not_wait_for_the_running_collective() {
    ranks(2, |rank| {
        let group = rank.form("group").unwrap();
        let reduce = || group.all_reduce(&Tensor::ones([4], (Kind::Float, Device::Cpu)), ReduceOp::Sum);
        if rank.rank == 0 {
            // Joins only after rank 1 has aborted: an abort that waited would never end.
            rank.store.wait(&["aborted"], DEADLINE).unwrap();
            let error = reduce().and_then(|()| reduce());
            assert!(matches!(error, Err(Error::PeerLost { .. })), "{error:?}");
            return;
        }
        std::thread::scope(|scope| {
            let blocked = scope.spawn(|| {
                rank.store.set("entering", b"").unwrap();
                let tensor = Tensor::ones([4], (Kind::Float, Device::Cpu));
                group.all_reduce(&tensor, ReduceOp::Sum)
            });
            rank.store.wait(&["entering"], DEADLINE).unwrap();
            // Between announcing and entering there is no event to wait for. Either order ends well, this one is meant.
            std::thread::sleep(Duration::from_millis(50));
            group.abort("revoked");
            rank.store.set("aborted", b"").unwrap();
            let result = blocked.join().unwrap();
            assert!(result.is_err(), "nobody else has come");
        });
        assert!(matches!(reduce(), Err(Error::Aborted { reason, .. }) if reason == "revoked"));
    });
}

fn form_alone(store: impl Store + 'static, options: &GlooOptions) -> (Error, Duration) {
    let since = Instant::now();
    let error = GlooGroup::form(Arc::new(store), 0, 2, options).unwrap_err();
    (error, since.elapsed())
}

#[test]
fn a_rank_that_never_comes_is_named_by_the_store_within_the_form_timeout() {
    let options = GlooOptions { form_timeout: Duration::from_millis(400), ..options() };
    let (error, elapsed) = form_alone(MemoryStore::new(), &options);
    let Error::Store { rank: 0, world_size: 2, source: StoreError::Timeout { key, waited } } = error else {
        panic!("{error:?}");
    };
    assert!(!key.is_empty());
    assert!(waited <= options.form_timeout && elapsed < 3 * options.form_timeout, "{waited:?} {elapsed:?}");
}

/// Fails or panics when a group is being formed.
#[derive(Debug)]
struct BadStore {
    panics: bool,
}

impl BadStore {
    fn fail<T>(&self, key: &str) -> Result<T, StoreError> {
        assert!(!self.panics, "thrown on purpose");
        Err(StoreError::Failed { key: key.to_owned(), reason: "refused on purpose".to_owned() })
    }
}

impl Store for BadStore {
    fn set(&self, key: &str, _: &[u8]) -> Result<(), StoreError> {
        self.fail(key)
    }
    fn get(&self, key: &str, _: Duration) -> Result<Vec<u8>, StoreError> {
        self.fail(key)
    }
    fn add(&self, key: &str, _: i64) -> Result<i64, StoreError> {
        self.fail(key)
    }
    fn compare_set(&self, key: &str, _: &[u8], _: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.fail(key)
    }
    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        self.fail(key)
    }
    fn check(&self, keys: &[&str]) -> Result<bool, StoreError> {
        self.fail(keys[0])
    }
    fn wait(&self, keys: &[&str], _: Duration) -> Result<(), StoreError> {
        self.fail(keys[0])
    }
}

#[test]
fn a_failing_store_is_told_in_its_own_words() {
    let (error, _) = form_alone(BadStore { panics: false }, &options());
    let Error::Store { source: StoreError::Failed { reason, .. }, .. } = error else { panic!("{error:?}") };
    assert_eq!(reason, "refused on purpose");
}

#[test]
fn a_panic_of_the_store_passes_through_cpp_as_an_error() {
    let (error, _) = form_alone(BadStore { panics: true }, &options());
    let Error::Store { source: StoreError::Panicked { message, .. }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(message, "thrown on purpose");
}

/// Shows this rank what it writes itself, and of the others what they wrote for a group that is gone.
#[derive(Debug)]
struct StaleStore {
    own: MemoryStore,
    others: Arc<MemoryStore>,
}

impl StaleStore {
    fn holder(&self, key: &str) -> Result<&MemoryStore, StoreError> {
        Ok(if self.own.check(&[key])? { &self.own } else { &self.others })
    }
}

impl Store for StaleStore {
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.own.set(key, value)
    }
    fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, StoreError> {
        self.holder(key)?.get(key, timeout)
    }
    fn add(&self, key: &str, amount: i64) -> Result<i64, StoreError> {
        self.own.add(key, amount)
    }
    fn compare_set(&self, key: &str, expected: &[u8], desired: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.own.compare_set(key, expected, desired)
    }
    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        self.own.delete(key)
    }
    fn check(&self, keys: &[&str]) -> Result<bool, StoreError> {
        keys.iter().try_fold(true, |all, key| Ok(all && self.holder(key)?.check(&[key])?))
    }
    fn wait(&self, keys: &[&str], timeout: Duration) -> Result<(), StoreError> {
        keys.iter().try_for_each(|key| self.holder(key)?.wait(&[key], timeout))
    }
}

#[test]
fn a_rank_that_went_away_while_others_connect_is_a_lost_peer() {
    let others = Arc::new(MemoryStore::new());
    std::thread::scope(|scope| {
        for rank in 0..2 {
            let store = others.clone();
            scope.spawn(move || {
                let group = GlooGroup::form(store, rank, 2, &options()).unwrap();
                // Who leaves before the other is done is a lost peer to it.
                group.barrier(DEADLINE).unwrap();
            });
        }
    });
    let options = GlooOptions { form_timeout: Duration::from_secs(2), ..options() };
    let (error, _) = form_alone(StaleStore { own: MemoryStore::new(), others }, &options);
    assert!(matches!(error, Error::PeerLost { operation: "GlooGroup::form", .. }), "{error:?}");
}

#[test]
fn bad_arguments_are_named() {
    let form = |rank, world_size, listen: Listen, threads| {
        let options = GlooOptions { listen, threads, ..options() };
        GlooGroup::form(Arc::new(MemoryStore::new()), rank, world_size, &options).unwrap_err().to_string()
    };
    let loopback = || Listen::Host("127.0.0.1".to_owned());
    assert!(form(2, 2, loopback(), 1).contains("rank 2 is not below the world size 2"));
    assert!(form(0, 1, loopback(), 0).contains("at least 1"));
    let no_interface = form(0, 1, Listen::Interface("no-such0".to_owned()), 1);
    assert!(
        no_interface.contains("no-such0") && !no_interface.contains("Exception raised from"),
        "{no_interface}"
    );
    let no_host = form(0, 1, Listen::Host("203.0.113.1".to_owned()), 1);
    assert!(no_host.contains("cannot listen on") && no_host.contains("203.0.113.1"), "{no_host}");
}
