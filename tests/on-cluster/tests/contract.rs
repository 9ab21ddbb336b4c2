//! The contract of storage on the cluster's own object store, as a user would try it.
#![allow(clippy::unwrap_used)] // a panic is this test's verdict

use lockstep_cluster_tests::Space;

#[test]
fn the_clusters_own_store_keeps_the_contract() {
    let space = Space::new("contract");
    let table = include_str!("../../../datasets/storage/testing/contract.md");
    let told =
        space.run(&format!("doctor --storage {} --output json", space.storage())).expect_code(0).json();
    let kept = told.as_array().unwrap().iter().filter(|check| check["ok"] == true).count();
    // The first says that the store can be reached; the table has a heading of two lines.
    assert_eq!(kept - 1, table.lines().count() - 2, "{told:#}");
}
