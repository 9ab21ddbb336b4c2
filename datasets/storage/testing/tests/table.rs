//! Which store keeps which promise of the contract: the table that stands in the book. What the cluster's own store keeps is
//! compared with it by `tests/on-cluster/tests/contract.rs`.

use std::{path::Path, sync::Arc, time::Duration};

use lockstep_storage::{Storage, conformance::CHECKS, open};
use lockstep_storage_testing::{Access, Azurite, GcsServer, Moto, S3Server};

const PATIENT: Duration = Duration::from_secs(30);
const KEPT: &str = "kept";
/// moto looks whether an object is there, and then writes it, without a lock around both.
const NOT_TRIED: &str = "not tried";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_table_of_the_book_is_what_the_stores_do() {
    let folder = tempfile::tempdir().unwrap();
    let (s3, gcs) = (S3Server::start().unwrap(), GcsServer::start(Access::Open).unwrap());
    let (moto, azurite) = (Moto::start(), Azurite::start());
    let columns = [
        ("memory", open("memory://").unwrap()),
        ("folder", open(folder.path().to_str().unwrap()).unwrap()),
        ("S3: s3s", s3.storage("table", PATIENT)),
        ("S3: moto", moto.storage("table")),
        ("GCS: own server", gcs.storage("table", PATIENT)),
        ("Azure: Azurite", azurite.storage("table")),
    ];
    let mut rows = vec![vec!["promise".to_owned()], vec!["---".to_owned()]];
    rows.extend(CHECKS.iter().map(|check| vec![check.promise.to_owned()]));
    let columns = columns.map(|(name, storage)| async move { (name, column(name, &storage).await) });
    for (name, cells) in futures::future::join_all(columns).await {
        rows[0].push(name.to_owned());
        rows[1].push("---".to_owned());
        rows[2..].iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
    }
    // Compared by the test on the cluster.
    rows[0].insert(5, "S3: SeaweedFS".to_owned());
    rows[1].insert(5, "---".to_owned());
    rows[2..].iter_mut().for_each(|row| row.insert(5, KEPT.to_owned()));
    let table: String = rows.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect();
    println!("{table}");
    let file = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("contract.md");
    if std::env::var_os("LOCKSTEP_REFRESH").is_some() {
        std::fs::write(&file, &table).unwrap();
    }
    let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(table, checked_in, "it differs; LOCKSTEP_REFRESH=1 writes {}", file.display());
}

async fn column(store: &str, storage: &Arc<dyn Storage>) -> Vec<String> {
    let mut cells = Vec::new();
    for check in &CHECKS {
        let outcome = match (store, check.name) {
            ("S3: moto", "create-race" | "replace-race") => NOT_TRIED.to_owned(),
            _ => match check.run(storage, "contract").await {
                Ok(()) => KEPT.to_owned(),
                Err(seen) => format!("broken: {seen}"),
            },
        };
        cells.push(outcome);
    }
    cells
}
