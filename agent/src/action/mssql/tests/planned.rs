//! A planned failover with one thing going wrong at a time: the role moves or it does not, and the word FORCE is never sent.

use super::*;

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
