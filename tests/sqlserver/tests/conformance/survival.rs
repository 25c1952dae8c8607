//! What a client was told stays true when processes are killed at any moment.

use crate::clients::{Client, run};
use crate::site::{COPIES, Kind, ROLE, Site};
use baton_sqlserver::control::{StatementFault, What};
use baton_sqlserver::world::Doubts;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_rows_outlive_a_killed_process_and_only_received_statements_are_in_its_log() {
    let site = Site::create(Client::Tiberius, Doubts::default(), Kind::Manual);
    site.expect("S1", &["CREATE TABLE db1.dbo.t (id int NOT NULL PRIMARY KEY)"], &[]).await;
    for row in 1..=3 {
        site.expect("S1", &[&format!("INSERT INTO db1.dbo.t VALUES ({row})")], &[]).await;
        site.kill("S1");
        site.start("S1");
        site.until("S1", ROLE, &["1 2"]).await;
    }
    let fault = StatementFault {
        instance: Some("S1".into()),
        statement: "values (4)".into(),
        times: Some(1),
        what: What::DieAfter,
    };
    site.control.add_fault(fault).unwrap();
    let died = run(Client::Tiberius, &site.target("S1"), ["INSERT INTO db1.dbo.t VALUES (4)"]).await;
    assert!(!died.is_ok_and(|answers| answers[0].is_ok()), "the process died before it could answer");
    site.kill("S1");
    site.start("S1");
    site.until("S1", "SELECT id FROM db1.dbo.t ORDER BY id", &["1", "2", "3", "4"]).await;
    site.until("S2", COPIES, &["db1 2 0 - 0", "db2 2 0 - 0"]).await;
    site.until("S2", "SELECT COUNT(*) FROM db1.dbo.t", &["4"]).await;
    let received = site.control.received("S1");
    assert_eq!(received.iter().filter(|one| one.text.contains("INSERT")).count(), 4);
    assert!(received.iter().all(|one| !one.text.contains("FORCE") && one.login == "sa"));
    assert_eq!(site.control.rows("S2", "db1", "t").unwrap().len(), 4);
}
