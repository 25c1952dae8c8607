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
async fn a_planned_failover_moves_the_role_and_a_second_one_finds_it_moved() {
    let lab = Lab::start(Shape::new(ClusterType::Wsfc)).await;
    let seen = lab.observe("mssql.ag.failover", "S2", json!({})).await;
    assert!(seen.contains("S1 hands the primary role to S2"), "{seen}");
    let effect = lab.act("mssql.ag.failover", "S2", json!({}), 60).await.expect("moved");
    assert_eq!(effect.data["primary"], json!("S2"), "{effect:?}");
    assert_eq!(effect.data["from"], json!("S1"));
    assert_eq!((lab.role("S1"), lab.role("S2")), (Role::Secondary, Role::Primary));
    let seen = lab.observe("mssql.ag.failover", "S2", json!({})).await;
    assert!(seen.starts_with("in place"), "{seen}");
    let told = lab.told("] FAILOVER");
    let again = lab.act("mssql.ag.failover", "S2", json!({}), 60).await.expect("found");
    assert_eq!((again.changed, lab.told("] FAILOVER"), told), (Some(false), 1, 1), "nothing was sent twice");
    assert_eq!(lab.told(FORCE), 0);
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

/// The planned failover to S2 with one thing going wrong; what came of it, and of the roles.
async fn under(what: What, statement: &str, doubts: Doubts) -> (String, Role) {
    let lab = Lab::start(Shape::new(ClusterType::Wsfc).doubts(doubts)).await;
    let dies = matches!(what, What::DieBefore | What::DieAfter);
    lab.mishap("S2", statement, what);
    let acting = async { code(lab.act("mssql.ag.failover", "S2", json!({}), 45).await) };
    let reviving = async {
        if dies {
            lab.revive("S2").await;
        }
    };
    let (answer, ()) = tokio::join!(acting, reviving);
    assert_eq!(lab.told(FORCE), 0, "a planned failover never forces");
    assert_eq!(lab.told("SET (ROLE"), 0, "nor does it tell a role");
    (answer, lab.role("S2"))
}

/// Each goes wrong once, on the statement itself; in the end the role has moved.
async fn moves_in_spite_of(mishaps: Vec<What>, doubts: Doubts) {
    for what in mishaps {
        let said = format!("{what:?}");
        let (answer, role) = under(what, "] FAILOVER", doubts.clone()).await;
        assert!(answer.starts_with("done"), "{said}: {answer}");
        assert_eq!(role, Role::Primary, "{said}");
    }
}

fn error(number: i32) -> (i32, Option<String>) {
    (number, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_although_it_worked_is_a_success() {
    let after = |number| {
        let (number, text) = error(number);
        What::FailAfterEffect { number, text }
    };
    for doubts in [Doubts::default(), Doubts::opposite()] {
        moves_in_spite_of(vec![after(41131), after(41149)], doubts).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_passes_is_tried_again() {
    let refuse = |number| {
        let (number, text) = error(number);
        What::Refuse { number, text }
    };
    moves_in_spite_of(vec![refuse(41131), refuse(41104), refuse(41190)], Doubts::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_breaks_before_or_after_the_effect_is_looked_behind() {
    moves_in_spite_of(vec![What::DropBefore, What::DropAfter], Doubts::default()).await;
    moves_in_spite_of(vec![What::DropAfter], Doubts::opposite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_dies_before_or_after_the_effect_is_waited_for() {
    moves_in_spite_of(vec![What::DieBefore, What::DieAfter], Doubts::default()).await;
    moves_in_spite_of(vec![What::DieAfter], Doubts::opposite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_late_or_never_comes_is_not_waited_for() {
    let late = vec![What::AnswerLate { ms: 30_000 }, What::Hang, What::Delay { ms: 1500 }];
    moves_in_spite_of(late, Doubts::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_fails_with_the_servers_words_and_moves_nothing() {
    for (number, expected) in
        [(41142, "BTN-0610"), (15151, "BTN-0606"), (47104, "BTN-0641"), (41105, "BTN-0641"), (41125, "BTN-0610")]
    {
        let (answer, role) = under(What::Refuse { number, text: None }, "] FAILOVER", Doubts::default()).await;
        assert_eq!((answer.as_str(), role), (expected, Role::Secondary), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_dies_in_the_middle_leaves_the_cluster_to_move_the_role() {
    for doubts in [Doubts::default(), Doubts::opposite()] {
        let lab = Lab::start(Shape::new(ClusterType::Wsfc).doubts(doubts)).await;
        lab.mishap("S2", "] FAILOVER", What::Delay { ms: 800 });
        let acting = async { code(lab.act("mssql.ag.failover", "S2", json!({}), 45).await) };
        let killing = async {
            while lab.told("] FAILOVER") == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            lab.kill("S1");
        };
        let (answer, ()) = tokio::join!(acting, killing);
        assert!(answer.starts_with("done"), "{answer}");
        assert_eq!((lab.role("S2"), lab.told(FORCE)), (Role::Primary, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pacemakers_groups_are_moved_in_the_clusters_name() {
    for doubts in [Doubts::default(), Doubts::opposite()] {
        let lab = Lab::start(Shape::new(ClusterType::External).doubts(doubts)).await;
        lab.twice("mssql.ag.failover", "S2", json!({}), "] FAILOVER").await;
        assert_eq!((lab.role("S1"), lab.role("S2")), (Role::Secondary, Role::Primary));
        assert_eq!(lab.told(FORCE), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_type_none_is_refused_and_nothing_is_sent() {
    let lab = Lab::start(Shape::new(ClusterType::None)).await;
    let seen = lab.observe("mssql.ag.failover", "S2", json!({})).await;
    assert!(seen.contains("BTN-0634"), "{seen}");
    assert_eq!(code(lab.act("mssql.ag.failover", "S2", json!({}), 30).await), "BTN-0634");
    assert_eq!(lab.told("ALTER AVAILABILITY GROUP"), 0);
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
async fn force_is_for_a_dead_primary_and_an_operators_word_alone() {
    for doubts in [Doubts::default(), Doubts::opposite()] {
        let lab = Lab::start(Shape::new(ClusterType::Wsfc).doubts(doubts)).await;
        let accepted = json!({ "accept_data_loss": true });
        for (about, expected) in [("S2", "BTN-0638"), ("S3", "BTN-0639")] {
            assert_eq!(
                code(lab.act("mssql.ag.force_failover", about, accepted.clone(), 30).await),
                expected,
                "{about}"
            );
        }
        lab.kill("S1");
        let refused = lab.act("mssql.ag.force_failover", "S3", json!({ "accept_data_loss": false }), 45).await;
        assert_eq!((code(refused).as_str(), lab.told(FORCE)), ("BTN-0637", 0));
        let effect = lab.act("mssql.ag.force_failover", "S3", accepted.clone(), 45).await.expect("forced");
        assert_eq!((lab.role("S3"), lab.told(FORCE)), (Role::Primary, 1), "{effect:?}");
        assert!(effect.data["had"]["db1"]["last_hardened_lsn"].is_string(), "{effect:?}");
        let suspended = effect.data["suspended"].as_array().expect("a list").clone();
        assert!(suspended.iter().any(|one| one["replica"] == "S2" && one["database"] == "db1"), "{effect:?}");
        let again = lab.act("mssql.ag.force_failover", "S3", accepted, 45).await.expect("found");
        assert_eq!((again.changed, lab.told(FORCE)), (Some(false), 1));
        // The old primary is back with more than the new one ever got.
        lab.run("S1");
        lab.until("S1 is back, suspended", |world| {
            let copy = world.copy("S1", "ag1", "db1").and_then(|copy| copy.hadr.as_ref());
            world.groups["ag1"].replicas["S1"].role == Role::Secondary
                && copy.is_some_and(|hadr| hadr.suspended.is_some())
        })
        .await;
        assert_eq!(code(lab.act("mssql.ag.synchronized", "S1", json!({ "wait": true }), 30).await), "BTN-0644");
        let effect = lab.twice("mssql.ag.resume", "S1", json!({}), "SET HADR RESUME").await;
        let words = effect.data["resumed"]["db1"]["words"].as_str().unwrap_or_default();
        assert!(words.contains("is thrown away"), "{effect:?}");
        let wait = json!({ "wait": true, "state": "synchronizing" });
        assert!(lab.act("mssql.ag.synchronized", "S1", wait, 30).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_failover_that_seems_to_fail_is_not_forced_again() {
    for what in [What::FailAfterEffect { number: 41131, text: None }, What::DropAfter, What::Hang] {
        let lab = Lab::start(Shape::new(ClusterType::None)).await;
        lab.kill("S1");
        let said = format!("{what:?}");
        lab.mishap("S2", FORCE, what);
        let answer = lab.act("mssql.ag.force_failover", "S2", json!({ "accept_data_loss": true }), 45).await;
        assert!(answer.is_ok(), "{said}: {answer:?}");
        assert_eq!((lab.role("S2"), lab.told(FORCE)), (Role::Primary, 1), "{said}");
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_failover_that_pauses_the_old_primary_says_so_and_it_is_resumed() {
    let lab = Lab::start(Shape::new(ClusterType::Wsfc).doubts(Doubts::opposite())).await;
    let effect = lab.act("mssql.ag.failover", "S2", json!({}), 60).await.expect("moved");
    let paused = effect.data["paused"].as_array().expect("a list").clone();
    assert!(paused.iter().any(|one| one["replica"] == "S1" && one["database"] == "db1"), "{effect:?}");
    let effect = lab.twice("mssql.ag.resume", "S1", json!({}), "SET HADR RESUME").await;
    assert_eq!(effect.data["replica"], json!("S1"));
    assert!(lab.act("mssql.ag.synchronized", "S1", json!({ "wait": true }), 30).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_in_the_middle_finds_its_failover_under_way() {
    for doubts in [Doubts::default(), Doubts::opposite()] {
        let lab = Lab::start(Shape::new(ClusterType::Wsfc).doubts(doubts)).await;
        let dying = async { code(lab.act("mssql.ag.failover", "S2", json!({}), 45).await) };
        let sent = async {
            while lab.told("] FAILOVER") == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            biased;
            () = sent => {}
            ended = dying => panic!("it had ended before it was killed: {ended}"),
        }
        // What recovery does: it observes, and acts where that differs or cannot tell.
        let action = lab.perform("mssql.ag.failover", "S2", json!({}));
        assert!(action.repeatable() && action.repeatable_blind());
        let seen = lab.observe("mssql.ag.failover", "S2", json!({})).await;
        assert!(!seen.starts_with("fault"), "{seen}");
        let answer = code(lab.act("mssql.ag.failover", "S2", json!({}), 45).await);
        assert!(answer.starts_with("done"), "{answer}");
        assert_eq!((lab.role("S2"), lab.told(FORCE)), (Role::Primary, 0));
        assert!(lab.told("] FAILOVER") <= 2, "sent {} times", lab.told("] FAILOVER"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_replica_holds_up_nobody() {
    use baton_sqlserver::world::fault::Clients;
    for silent in ["S3", "S1"] {
        let lab = Lab::start(Shape::new(ClusterType::Wsfc)).await;
        lab.control.set_clients(silent, Clients::Silent).expect("set");
        let answer = code(lab.act("mssql.ag.failover", "S2", json!({}), 60).await);
        assert!(
            answer.starts_with("done") && answer.contains(&format!("{silent} cannot be asked")),
            "{silent}: {answer}"
        );
        assert_eq!((lab.role("S2"), lab.told(FORCE)), (Role::Primary, 0), "{silent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_quorum_nothing_moves_and_nothing_is_forced() {
    for doubts in [Doubts::default(), Doubts::opposite()] {
        let lab = Lab::start(Shape::new(ClusterType::Wsfc).doubts(doubts)).await;
        lab.control.set_quorum_lost(true).expect("set");
        lab.until("nobody leads", |world| !world.groups["ag1"].replicas["S1"].leads()).await;
        let failed = lab.act("mssql.ag.failover", "S2", json!({}), 8).await;
        assert!(failed.is_err(), "{failed:?}");
        assert_eq!((lab.role("S1") == Role::Primary || lab.role("S2") == Role::Primary, lab.told(FORCE)), (false, 0));
        lab.control.set_quorum_lost(false).expect("set");
        lab.well().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lost_its_primary_is_not_made_primary_while_that_lives() {
    let lab = Lab::start(Shape::new(ClusterType::Wsfc)).await;
    lab.control.cut_link("S1", "S2").expect("cut");
    lab.until("S2 is not ready", |world| !world.groups["ag1"].replicas["S1"].known.all_ready("S2")).await;
    assert_eq!(code(lab.act("mssql.ag.failover", "S2", json!({}), 30).await), "BTN-0633");
    let forced = lab.act("mssql.ag.force_failover", "S2", json!({ "accept_data_loss": true }), 30).await;
    assert_eq!(code(forced), "BTN-0639", "S1 answers as primary");
    assert_eq!((lab.told("] FAILOVER"), lab.told(FORCE)), (0, 0));
}
