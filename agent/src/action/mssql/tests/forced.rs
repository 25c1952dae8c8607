//! A forced failover: when it is refused, and what is left behind by it.

use super::*;

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
async fn a_primary_that_only_we_cannot_reach_is_not_forced_away() {
    use baton_sqlserver::world::fault::Clients;
    let lab = Lab::start(Shape::new(ClusterType::Wsfc)).await;
    lab.control.set_clients("S1", Clients::Silent).expect("set");
    let force = |about: &'static str| {
        let lab = &lab;
        async move { code(lab.act("mssql.ag.force_failover", about, json!({ "accept_data_loss": true }), 60).await) }
    };
    let (synchronized, lagging) = tokio::join!(force("S2"), force("S3"));
    assert_eq!((synchronized.as_str(), lagging.as_str()), ("BTN-0638", "BTN-0639"));
    assert_eq!((lab.role("S1"), lab.told(FORCE)), (Role::Primary, 0));
}
