//! `sql.exec` and `sql.query` against a simulated instance.

use std::time::Duration;

use baton_model::outcome::Observation;
use baton_sqlserver::{
    control::{Right, What},
    world::{group::ClusterType, server::Account},
};
use serde_json::{Value, json};

use crate::action::{
    Effect, Failure,
    mssql::trial::{Lab, PASSWORD, Shape},
    trial::action,
};

impl Lab {
    async fn sql(&self, name: &str, more: Value) -> Result<Effect, Failure> {
        let mut params = json!({ "connection": self.connection("S1") });
        params["connection"]["database"] = json!("db2");
        for (key, value) in more.as_object().into_iter().flatten() {
            params[key] = value.clone();
        }
        action(name, params).act(&self.trial.context(name, Duration::from_secs(20))).await
    }

    async fn ledger() -> Self {
        let lab = Lab::start(Shape::new(ClusterType::Wsfc)).await;
        let table =
            "CREATE TABLE dbo.ledger (number int PRIMARY KEY, amount numeric(25,0) NULL, word nvarchar(40) NULL)";
        lab.sql("sql.exec", json!({ "statements": [{ "sql": table }] })).await.expect("made");
        lab
    }

    fn rows(&self) -> usize {
        self.control
            .rows("S1", "db2", "dbo.ledger")
            .expect("a world")
            .len()
            .max(self.control.rows("S1", "db2", "ledger").expect("a world").len())
    }
}

fn insert(number: i64) -> Value {
    json!({ "sql": "INSERT INTO dbo.ledger (number, amount, word) VALUES (@P1, @P2, @P3)", "params": [number, 25, "O'Hara"], "rows": 1 })
}

fn fault(failure: Result<Effect, Failure>) -> baton_model::outcome::Fault {
    match failure {
        Err(Failure::Failed(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_one_step_happen_together_or_not_at_all() {
    let lab = Lab::ledger().await;
    let effect = lab.sql("sql.exec", json!({ "statements": [insert(1), insert(2)] })).await.expect("both");
    assert_eq!((&effect.data["rows"], lab.rows()), (&json!([1, 1]), 2), "{effect:?}");
    let none = json!({ "sql": "UPDATE dbo.ledger SET word = @P1 WHERE number = @P2", "params": ["x", 99], "rows": 1 });
    let failed = fault(lab.sql("sql.exec", json!({ "statements": [insert(3), none] })).await);
    assert_eq!((failed.code.as_str(), lab.rows()), ("BTN-0720", 2), "{failed}");
    let twice = fault(lab.sql("sql.exec", json!({ "statements": [insert(3), insert(1)] })).await);
    assert_eq!(lab.rows(), 2, "the first of them went back too");
    assert!(twice.message.contains("S1 at ") && twice.message.contains("login baton"), "{twice}");
    let commits = fault(lab.sql("sql.exec", json!({ "statements": [{ "sql": "COMMIT" }] })).await);
    assert_eq!(commits.code, "BTN-0719");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_breaks_in_the_commit_leaves_it_open_and_the_condition_tells() {
    let lab = Lab::ledger().await;
    let unless =
        json!({ "sql": "SELECT CAST(COUNT(*) AS bit) AS done FROM dbo.ledger WHERE number = @P1", "params": [7] });
    for (what, came) in [(What::DropBefore, false), (What::DropAfter, true)] {
        let said = format!("{what:?}");
        lab.mishap("S1", "COMMIT TRANSACTION", what);
        let params = json!({ "statements": [insert(7)], "unless": unless });
        let ended = lab.sql("sql.exec", params.clone()).await;
        assert!(matches!(&ended, Err(Failure::Unclear(fault)) if fault.code == "BTN-0608"), "{said}: {ended:?}");
        let mut observed = params;
        observed["connection"] = lab.connection("S1");
        observed["connection"]["database"] = json!("db2");
        let context = lab.trial.context("observe", Duration::from_secs(20));
        let seen = action("sql.exec", observed).observe(&context).await.expect("observed");
        assert_eq!(matches!(seen, Observation::InPlace { .. }), came, "{said}: {seen:?}");
    }
    assert_eq!(lab.rows(), 1);
    let again = lab.sql("sql.exec", json!({ "statements": [insert(7)], "unless": unless })).await.expect("already so");
    assert_eq!((again.changed, lab.rows()), (Some(false), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_as_data_without_losing_a_digit() {
    let lab = Lab::ledger().await;
    lab.sql("sql.exec", json!({ "statements": [insert(1), insert(2)] })).await.expect("both");
    let query = json!({ "sql": "SELECT number, amount, word, CAST(1 AS bit) AS flag, CAST(NULL AS int) AS nothing FROM dbo.ledger WHERE number >= @P1 ORDER BY number",
        "params": [1], "expect": "size(rows) == 2 && rows[0].flag && rows[0].word == \"O'Hara\"", "rows_max": 1 });
    let effect = lab.sql("sql.query", query).await.expect("as expected");
    let row = json!({ "number": 1, "amount": "25", "word": "O'Hara", "flag": true, "nothing": null });
    assert_eq!(effect.data, json!({ "rows": [row], "left_out": 1 }));
    let unmet = json!({ "sql": "SELECT number FROM dbo.ledger", "expect": "size(rows) == 3" });
    let unmet = fault(lab.sql("sql.query", unmet).await);
    // Which of two servers is not as it should be: the operator who is woken must not guess.
    assert!(unmet.code == "BTN-0723" && unmet.message.contains("S1, database "), "{unmet}");
    assert!(!unmet.remedy.is_empty(), "{unmet}");
    let missing = fault(lab.sql("sql.query", json!({ "sql": "SELECT @P1 AS one" })).await);
    assert_eq!(missing.code, "BTN-0715");
    let unknown = fault(lab.sql("sql.query", json!({ "sql": "SELECT number FROM dbo.nowhere" })).await);
    assert!(unknown.code == "BTN-0610" && unknown.message.contains("error 208"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_waits_over_a_restart_of_its_server() {
    let lab = Lab::ledger().await;
    let waiting = lab
        .sql("sql.query", json!({ "sql": "SELECT number FROM dbo.ledger", "expect": "size(rows) == 1", "wait": true }));
    let meanwhile = async {
        lab.kill("S1");
        lab.run("S1");
        let inserted = json!({ "statements": [insert(1)] });
        while lab.sql("sql.exec", inserted.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (waited, ()) = tokio::join!(waiting, meanwhile);
    assert_eq!(waited.expect("it came").data["rows"], json!([{ "number": 1 }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_login_may_not_is_told_with_instance_login_number_and_remedy() {
    let mut shape = Shape::new(ClusterType::Wsfc);
    shape.accounts = vec![
        Account::with_rights("blind", PASSWORD, &[]),
        Account::with_rights("watcher", PASSWORD, &[Right::ViewServerState, Right::ViewAnyDefinition]),
    ];
    let lab = Lab::start(shape).await;
    let ask = async |name: &str, more: Value, user: &str, password: &str| {
        let mut params = lab.about("S2", more);
        params["connection"]["user"] = json!(user);
        params["connection"]["password"] = json!(password);
        for replica in params["replicas"].as_array_mut().expect("replicas") {
            replica["user"] = json!(user);
            replica["password"] = json!(password);
        }
        fault(action(name, params).act(&lab.trial.context(name, Duration::from_secs(20))).await)
    };
    let wrong = ask("mssql.ag.failover", json!({}), "baton", "wrong").await;
    let blind = ask("mssql.ag.failover", json!({}), "blind", PASSWORD).await;
    let watcher = ask("mssql.ag.failover", json!({}), "watcher", PASSWORD).await;
    for (fault, code, login, number) in [
        (wrong, "BTN-0603", "baton", "18456"),
        (blind, "BTN-0606", "blind", "300"),
        (watcher, "BTN-0606", "watcher", "15151"),
    ] {
        assert_eq!(fault.code, code, "{fault}");
        for part in ["S2 at ", &format!("login {login}"), &format!("error {number}")] {
            assert!(fault.message.contains(part), "{part:?} in {fault}");
        }
        assert!(!fault.remedy.is_empty() && !fault.to_string().contains(PASSWORD), "{fault}");
    }
}
