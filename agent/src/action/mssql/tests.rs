//! Availability groups against simulated instances, each a process of its own.

use std::time::Duration;

use baton_model::outcome::Observation;
use baton_sqlserver::{
    control::What,
    world::{
        Doubts,
        group::{ClusterType, Role},
    },
};
use serde_json::{Value, json};

use super::trial::{Lab, Shape};
use crate::action::{Context, Effect, Failure, Perform, trial::action};

mod forced;
mod planned;

const FORCE: &str = "FORCE_FAILOVER_ALLOW_DATA_LOSS";

impl Lab {
    fn perform(&self, name: &str, about: &str, more: Value) -> Box<dyn Perform> {
        action(name, self.about(about, more))
    }
    /// Observed, done, observed; observed and done again, when nothing more may be sent.
    async fn twice(&self, name: &str, about: &str, more: Value, statement: &str) -> Effect {
        let seen = self.observe(name, about, more.clone()).await;
        assert!(seen.starts_with("differs"), "{name}: {seen}");
        let effect =
            self.act(name, about, more.clone(), 60).await.unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
        let seen = self.observe(name, about, more.clone()).await;
        assert!(seen.starts_with("in place"), "{name} after {effect:?}: {seen}");
        let told = self.told(statement);
        assert!(told > 0, "{name}: {statement:?} was never said");
        let again = self.act(name, about, more, 60).await.unwrap_or_else(|failure| panic!("{name} again: {failure:?}"));
        assert_eq!((again.changed, self.told(statement)), (Some(false), told), "{name} again: {again:?}");
        effect
    }
    fn context(&self, step: &str, seconds: u64) -> Context {
        self.trial.context(step, Duration::from_secs(seconds))
    }
    async fn act(&self, name: &str, about: &str, more: Value, seconds: u64) -> Result<Effect, Failure> {
        self.perform(name, about, more).act(&self.context(name, seconds)).await
    }
    async fn observe(&self, name: &str, about: &str, more: Value) -> String {
        match self.perform(name, about, more).observe(&self.context(name, 30)).await {
            Ok(Observation::InPlace { note }) => format!("in place: {note}"),
            Ok(Observation::Differs { change }) => format!("differs: {change}"),
            Ok(Observation::CannotTell { why }) => format!("cannot tell: {why}"),
            Err(fault) => format!("fault: {fault}"),
        }
    }
}

fn code(answer: Result<Effect, Failure>) -> String {
    match answer {
        Ok(effect) => format!("done: {}", effect.summary),
        Err(Failure::Failed(fault)) => fault.code,
        Err(Failure::Unclear(fault)) => format!("unclear {}", fault.code),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_told_by_everybody_and_checked() {
    let lab = Lab::start(Shape::new(ClusterType::Wsfc)).await;
    let effect = lab.act("mssql.ag.role", "S1", json!({ "is": "primary" }), 30).await.expect("read");
    let data = &effect.data;
    assert_eq!((&data["primary"], &data["cluster_type"]), (&json!("S1"), &json!("WSFC")), "{data}");
    assert_eq!(data["replicas"]["S2"]["role"], json!("SECONDARY"));
    assert_eq!(data["replicas"]["S2"]["databases"]["db1"]["synchronization_state"], json!("SYNCHRONIZED"));
    assert_eq!(data["replicas"]["S3"]["availability_mode"], json!("ASYNCHRONOUS_COMMIT"));
    assert_eq!(data["paused"], json!([]));
    assert_eq!(code(lab.act("mssql.ag.role", "S2", json!({ "is": "primary" }), 30).await), "BTN-0647");
    let expect = json!({ "expect": "primary == 'S1' && size(paused) == 0 && replicas.S3.role == 'SECONDARY'" });
    assert!(lab.act("mssql.ag.role", "S2", expect, 30).await.is_ok());
    lab.kill("S3");
    let effect = lab.act("mssql.ag.role", "S1", json!({}), 30).await.expect("the others answer");
    let error = effect.data["replicas"]["S3"]["error"].as_str().unwrap_or_default();
    assert!(error.contains("BTN-0601") && error.contains("S3 at 127."), "{error}");
    let gone = lab.act("mssql.ag.role", "S3", json!({ "is": "secondary" }), 30).await;
    assert_eq!(code(gone), "BTN-0601", "an instance that cannot be asked is no secondary");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_has_the_figures_of_the_bill_and_what_is_not_known_is_null() {
    let lab = Lab::start(Shape::new(ClusterType::Wsfc)).await;
    let data = lab.act("mssql.ag.sample", "S1", json!({}), 30).await.expect("taken").data;
    assert_eq!((&data["replica"], &data["role"]), (&json!("S1"), &json!("PRIMARY")));
    let rows = data["databases"].as_array().expect("rows");
    assert_eq!(rows.len(), 6, "{data}");
    let row = |replica: &str, name: &str| {
        rows.iter().find(|row| row["replica"] == replica && row["name"] == name).expect("a row").clone()
    };
    let own = row("S1", "db1");
    assert_eq!((&own["is_local"], &own["database_state"]), (&json!(true), &json!("ONLINE")));
    assert!(own["end_of_log_lsn"].as_str().is_some_and(|lsn| lsn.parse::<u128>().is_ok()), "{own}");
    assert!(
        own["last_commit_time"].as_str().is_some_and(|time| time.parse::<jiff::civil::DateTime>().is_ok()),
        "{own}"
    );
    let other = row("S2", "db1");
    assert_eq!((&other["is_local"], &other["is_failover_ready"]), (&json!(false), &json!(true)), "{other}");
    assert_eq!(row("S3", "db2")["is_failover_ready"], json!(false));
    let keys: Vec<&str> = own.as_object().expect("a row").keys().map(String::as_str).collect();
    let mut expected = vec![
        "name",
        "replica",
        "is_local",
        "synchronization_state",
        "is_failover_ready",
        "is_suspended",
        "end_of_log_lsn",
        "last_hardened_lsn",
        "last_commit_time",
        "recovery_lsn",
        "log_send_queue_kb",
        "database_state",
    ];
    expected.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(keys, expected);
    let data = lab.act("mssql.ag.sample", "S2", json!({}), 30).await.expect("taken").data;
    assert_eq!(data["databases"].as_array().map(Vec::len), Some(2), "a secondary knows only itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_primaries_stop_everything() {
    let lab = Lab::start(Shape::new(ClusterType::None)).await;
    lab.control
        .change(|world| {
            world.groups.get_mut("ag1").expect("the group").replicas.get_mut("S2").expect("S2").role = Role::Primary
        })
        .expect("changed");
    lab.until("both lead", |world| ["S1", "S2"].iter().all(|name| world.groups["ag1"].replicas[*name].leads())).await;
    let actions = [
        ("mssql.ag.failover", json!({})),
        ("mssql.ag.force_failover", json!({ "accept_data_loss": true })),
        ("mssql.ag.resume", json!({})),
        ("mssql.ag.suspend", json!({})),
        ("mssql.ag.set_mode", json!({ "availability": "synchronous" })),
        ("mssql.ag.synchronized", json!({ "wait": true })),
        ("mssql.ag.role", json!({ "wait": true, "is": "primary" })),
        ("mssql.ag.add", json!({ "database": "db3" })),
        ("mssql.ag.join", json!({ "database": "db1" })),
        ("mssql.ag.leave", json!({ "database": "db1" })),
    ];
    let lab = &lab;
    let all = actions.map(|(name, more)| async move {
        let seen = lab.observe(name, "S3", more.clone()).await;
        let done = lab.act(name, "S3", more, 30).await;
        let fault = match done {
            Err(Failure::Failed(fault)) => fault,
            other => panic!("{name}: {other:?}"),
        };
        assert!(seen.contains("BTN-0630") && fault.code == "BTN-0630", "{name}: {seen}; {fault}");
        assert!(fault.message.contains("S1") && fault.message.contains("S2"), "{name}: {fault}");
    });
    futures::future::join_all(all).await;
    assert_eq!(lab.told("ALTER "), 0);
    assert!(lab.act("mssql.ag.sample", "S2", json!({}), 30).await.is_ok(), "what each had is wanted now");
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_are_set_one_by_one_on_whoever_is_primary() {
    let lab = Lab::start(Shape::new(ClusterType::Wsfc)).await;
    lab.twice(
        "mssql.ag.set_mode",
        "S3",
        json!({ "availability": "synchronous", "failover": "automatic" }),
        "MODIFY REPLICA",
    )
    .await;
    assert!(lab.act("mssql.ag.synchronized", "S3", json!({ "wait": true }), 30).await.is_ok());
    let back = json!({ "availability": "asynchronous", "failover": "manual" });
    let effect = lab.twice("mssql.ag.set_mode", "S3", back, "AVAILABILITY_MODE = ASYNCHRONOUS_COMMIT").await;
    assert_eq!(effect.data["set"], json!(["FAILOVER_MODE = MANUAL", "AVAILABILITY_MODE = ASYNCHRONOUS_COMMIT"]));
    assert_eq!(effect.data["primary"], json!("S1"));
    assert_eq!(code(lab.act("mssql.ag.synchronized", "S3", json!({ "wait": true }), 30).await), "BTN-0644");
    let unknown =
        lab.act("mssql.ag.set_mode", "S3", json!({ "replica": "S9", "availability": "synchronous" }), 30).await;
    assert_eq!(code(unknown), "BTN-0631");
    for what in [What::DropAfter, What::FailAfterEffect { number: 41183, text: None }, What::DropBefore] {
        lab.mishap("S1", "MODIFY REPLICA", what);
        let other = match lab.observe("mssql.ag.set_mode", "S3", json!({ "availability": "synchronous" })).await {
            seen if seen.starts_with("in place") => "asynchronous",
            _ => "synchronous",
        };
        let set = lab.act("mssql.ag.set_mode", "S3", json!({ "availability": other }), 30).await;
        assert!(set.is_ok(), "{set:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn movement_is_suspended_and_resumed_and_a_wait_for_it_says_how_far() {
    let lab = Lab::start(Shape::new(ClusterType::Wsfc)).await;
    lab.twice("mssql.ag.suspend", "S2", json!({ "databases": ["db1"] }), "SET HADR SUSPEND").await;
    let role = lab.act("mssql.ag.role", "S1", json!({}), 30).await.expect("read");
    assert_eq!(role.data["paused"], json!([{ "replica": "S2", "database": "db1", "reason": "SUSPEND_FROM_USER" }]));
    assert_eq!(code(lab.act("mssql.ag.failover", "S2", json!({}), 30).await), "BTN-0633");
    assert_eq!(lab.told("] FAILOVER"), 0);
    lab.mishap("S2", "SET HADR RESUME", What::DropAfter);
    lab.twice("mssql.ag.resume", "S2", json!({}), "SET HADR RESUME").await;
    assert!(lab.act("mssql.ag.synchronized", "S2", json!({ "wait": true }), 30).await.is_ok());
    let end = |world: &baton_sqlserver::world::World| world.copy("S1", "ag1", "db1").expect("the primary's").end.0;
    let before = end(&lab.control.world().expect("a world"));
    assert!(lab.act("mssql.ag.suspend", "S2", json!({}), 30).await.is_ok());
    lab.control.set_load("db1", 2000).expect("set");
    lab.until("there is something to send", |world| end(world) > before + 2000).await;
    lab.control.set_send_limit("S2", Some(1)).expect("set");
    assert!(lab.act("mssql.ag.resume", "S2", json!({}), 30).await.is_ok());
    let (context, mut notes) = lab.trial.context_with_notes("wait", Duration::from_secs(2));
    let waited = lab.perform("mssql.ag.synchronized", "S2", json!({ "wait": true })).act(&context).await;
    let fault = match waited {
        Err(Failure::Failed(fault)) => fault,
        other => panic!("{other:?}"),
    };
    assert!(fault.code == "BTN-0645" && fault.message.contains("until the end of the step"), "{fault}");
    assert!(notes.recv().await.is_some_and(|note| note.note.contains("db1")), "progress was told");
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_leave_and_join() {
    let lab = Lab::start(Shape::new(ClusterType::Wsfc)).await;
    assert_eq!(code(lab.act("mssql.ag.leave", "S1", json!({ "database": "db2" }), 30).await), "BTN-0648");
    lab.twice("mssql.ag.leave", "S3", json!({ "database": "db2" }), "SET HADR OFF").await;
    lab.mishap("S3", "SET HADR AVAILABILITY GROUP", What::Refuse { number: 35250, text: None });
    lab.twice("mssql.ag.join", "S3", json!({ "database": "db2" }), "SET HADR AVAILABILITY GROUP").await;
    lab.control
        .change(|world| {
            world.create_database("S1", "db3");
            let database = world.database_mut("S1", "db3").expect("made just now");
            database.last_full_backup = Some(database.end);
        })
        .expect("changed");
    assert_eq!(code(lab.act("mssql.ag.join", "S3", json!({ "database": "db3" }), 30).await), "BTN-0648");
    lab.twice("mssql.ag.add", "S2", json!({ "database": "db3" }), "ADD DATABASE").await;
}
