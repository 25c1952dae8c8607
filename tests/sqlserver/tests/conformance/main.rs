//! The conformance cases of the fact sheet, through three clients, with both settings of every doubt.
//!
//! Real processes, one an instance, over one directory. A case gets a world of its own; what it observes besides its statement
//! goes through tiberius.

use std::time::Duration;

use baton_sqlserver::world::Doubts;

#[path = "../clients/clients.rs"]
mod clients;
mod cases;
mod site;
mod survival;

use clients::Client;
use site::Site;

/// Cases at work at the same time.
const AT_ONCE: usize = 4;
const DEADLINE: Duration = Duration::from_secs(90);

async fn every_case(client: Client, doubts: Doubts) {
    use futures::StreamExt as _;
    let results: Vec<(u8, bool)> = futures::stream::iter(cases::table())
        .map(|case| {
            let doubts = doubts.clone();
            async move {
                let task = tokio::spawn(async move {
                    let site = Site::create(client, doubts, case.kind);
                    let run = (case.run)(site);
                    tokio::time::timeout(DEADLINE, run).await.expect("the case ends in time");
                });
                (case.number, task.await.is_ok())
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let failed: Vec<u8> = results.iter().filter(|(_, passed)| !passed).map(|(number, _)| *number).collect();
    assert_eq!(results.len(), 25, "every case of the sheet");
    assert!(failed.is_empty(), "{client:?}: cases {failed:?} failed; their reasons are above");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_tiberius() {
    every_case(Client::Tiberius, Doubts::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_tiberius_with_every_doubt_the_other_way() {
    every_case(Client::Tiberius, Doubts::opposite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_pytds() {
    every_case(Client::PyTds, Doubts::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_pytds_with_every_doubt_the_other_way() {
    every_case(Client::PyTds, Doubts::opposite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_pymssql() {
    every_case(Client::PyMsSql, Doubts::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_pymssql_with_every_doubt_the_other_way() {
    every_case(Client::PyMsSql, Doubts::opposite()).await;
}
