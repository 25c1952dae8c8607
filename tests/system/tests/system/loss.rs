//! A failover that loses data: what its hosts said while they lived is there when they are gone, whoever leads by then; and
//! nothing is forced without the group's typed name.

use baton_model::bill::Bill;
use baton_platform::identity::Role;
use baton_proto::v1 as pb;
use baton_system_tests::{
    PATIENCE, World,
    calls::{operator, told},
    eventually,
    stand_in::StandIn,
};
use serde_json::{Value, json};

const GROUP: &str = "group: shop
primary: a
members:
  a: { hosts: { database: db1 } }
  b: { hosts: { database: db2 } }
hosts:
  db1: { address: 127.0.0.1, vars: { connection: sql1 } }
  db2: { address: 127.0.0.1, vars: { connection: sql2 } }
connections:
  sql1: { kind: sqlserver, host: 127.0.0.1, database: master, user: baton }
  sql2: { kind: sqlserver, host: 127.0.0.1, database: master, user: baton }
samples:
  ag: { on: database, every: 1s, action: { mssql.ag.sample: { group: SHOP_AG, connection: \"${host.vars.connection}\" } } }
runbooks: { failover: failover.yaml }
";
const FAILOVER: &str = "runbook: failover
kind: forced
steps:
  - name: Force it
    on: new.database
    mssql.ag.force_failover: { group: SHOP_AG, connection: \"${host.vars.connection}\", accept_data_loss: \"${accepted_data_loss}\" }
  - role.transfer: {}
";

fn says(replica: &str, role: &str, log: u64, commit: &str) -> Value {
    json!({ "taken_ms": 1, "replica": replica, "role": role, "databases": [{
        "name": "orders", "replica": replica, "is_local": true, "synchronization_state": "SYNCHRONIZING",
        "is_failover_ready": false, "is_suspended": false, "end_of_log_lsn": log.to_string(),
        "last_hardened_lsn": log.to_string(), "last_commit_time": format!("2026-11-21T02:59:{commit}"),
        "recovery_lsn": null, "log_send_queue_kb": null,
    }] })
}

fn start() -> (World, StandIn, StandIn) {
    let mut world = World::start(&["db1", "db2"]);
    let primary = StandIn::start(&mut world, "db1", says("SQL1", "PRIMARY", 900, "46.500"));
    let target = StandIn::start(&mut world, "db2", says("SQL2", "SECONDARY", 800, "44"));
    world.write("shop.yaml", GROUP);
    world.write("failover.yaml", FAILOVER);
    world.ready(&["db1", "db2"]);
    world.apply("shop");
    (world, primary, target)
}

fn plan(world: &World) -> (Value, Bill) {
    let view = world.json(&["plan", "shop", "failover", "--to", "b"]);
    let bill = serde_json::from_value(view["bill"].clone()).unwrap_or_else(|error| panic!("{error}: {view}"));
    (view, bill)
}

#[test]
fn what_the_primary_had_is_known_after_it_and_the_leader_are_dead_and_a_loss_is_accepted_by_name() {
    let (mut world, primary, target) = start();
    let (view, bill) = plan(&world);
    assert_eq!((&view["plan"]["loses_data"], bill.databases.len()), (&true.into(), 1), "{view}");
    assert!(bill.verdict().starts_with("orders: at most 3 s of commits, plus what happened in the "), "{bill:?}");
    let (digest, revision) = (view["digest"].clone(), view["plan"]["group_revision"].clone());

    // The primary goes on, and its samples with it: no plan is out of date for that.
    primary.says(says("SQL1", "PRIMARY", 950, "49.000"));
    let applied = || world.json(&["status"])["cluster"]["applied"].as_u64().expect("a number");
    let asked = (primary.asked(), target.asked());
    eventually("the new figures are committed, and some looks later", || {
        let seen = (primary.asked(), target.asked());
        if seen.0 >= asked.0 + 4 && seen.1 >= asked.1 + 4 { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    // What is said again and again is not written again and again.
    let (before, asked) = (applied(), primary.asked());
    eventually(
        "five more looks",
        || if primary.asked() >= asked + 5 { Ok(()) } else { Err(primary.asked().to_string()) },
    );
    assert!(applied() <= before + 2, "{} entries for nothing new", applied() - before);
    let (view, confirmed) = plan(&world);
    assert_eq!((&view["digest"], &view["plan"]["group_revision"]), (&digest, &revision));

    // The primary is gone, and then the leader. A new one has what the old one wrote, up to the primary's last word.
    drop(primary);
    eventually("status tells of the old sample", || {
        let warnings = world.json(&["status", "shop"])["warnings"].to_string();
        let told = warnings.contains("sample ag of db1 is ") && warnings.contains("db1 has no session");
        if told { Ok(()) } else { Err(warnings) }
    });
    let leader = world.cluster.leader().expect("a leader");
    world.cluster.kill_coordinator(leader);
    world.cluster.wait_for_leader(PATIENCE).expect("another leader");
    let (_, bill) = plan(&world);
    let orders = &bill.databases[0];
    assert_eq!(orders.old.log.value().map(|lsn| lsn.0), Some(950), "{bill:?}");
    assert!(bill.verdict().starts_with("orders: at most 5 s of commits, plus what happened in the "), "{bill:?}");
    assert!(orders.old.seen >= confirmed.databases[0].old.seen, "what was only confirmed is not forgotten: {bill:?}");
    let age = |seen: Option<baton_model::time::Moment>| bill.made.since(seen.expect("seen")).0;
    assert!(age(orders.old.seen) >= 3000 && age(orders.target.seen) < age(orders.old.seen), "{bill:?}");
    let table = world.baton(&["plan", "shop", "failover", "--to", "b"]);
    for words in ["SQL1 had", "950", "SQL2 has", "800", " ago", "The worst: orders: at most 5 s of commits"] {
        assert!(table.stdout.contains(words), "no {words:?} in\n{}", table.stdout);
    }

    // Refused without the word, and with another.
    let failover = ["failover", "shop", "--to", "b", "--yes", "--reason", "site a burns"];
    let with = |option: &'static str| [&failover[..], &[option]].concat();
    world.baton(&failover).is_refused("BTN-0170", &["at most 5 s of commits", "--accept-data-loss=shop"]);
    world.baton(&with("--accept-data-loss")).is_refused("BTN-0170", &["no terminal"]);
    world.baton(&with("--accept-data-loss=shoop")).is_refused("BTN-0171", &["\"shoop\"", "\"shop\""]);
    assert_eq!((world.json(&["runs"]), target.orders().len()), (json!([]), 0), "nothing was started");

    let done = world.baton(&with("--accept-data-loss=shop"));
    assert_eq!(done.code, 0, "{done:?}");
    let orders: Vec<_> = target.orders().into_values().collect();
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert_eq!(
        (orders[0].action.as_str(), &orders[0].params["accept_data_loss"]),
        ("mssql.ag.force_failover", &true.into())
    );
    let run = world.show("shop-1");
    assert_eq!((&run["phase"], &run["accepted_loss"]["typed"]), (&"succeeded".into(), &"shop".into()), "{run}");
    let kept: Bill = serde_json::from_value(run["accepted_loss"]["bill"].clone()).expect("a bill");
    assert_eq!(kept.databases[0].old.log.value().map(|lsn| lsn.0), Some(950));
    assert!(run["history"].to_string().contains("accepted the loss of data by typing"), "{run}");
    let table = world.baton(&["show", "shop-1"]).stdout;
    assert!(
        table.contains("operator accepted the loss of data by typing \"shop\"") && table.contains("SQL1 had"),
        "{table}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_believes_no_client_and_a_worse_bill_is_shown_again() {
    let (world, _primary, target) = tokio::task::block_in_place(start);
    let identity = world.cluster.operator("operator", Role::Admin).expect("an identity");
    let mut client = operator(&world.cluster, &identity);
    let wish = pb::PlanRequest {
        group: "shop".to_owned(),
        runbook: "failover".to_owned(),
        to: "b".to_owned(),
        accept_data_loss: true,
        ..pb::PlanRequest::default()
    };
    let shown = client.plan(wish.clone()).await.expect("planned").into_inner().document;
    let shown: Value = serde_json::from_slice(&shown).expect("a document");
    let start = |typed: &str, bill: Vec<u8>| pb::StartRequest {
        plan: Some(wish.clone()),
        digest: shown["digest"].as_str().expect("a digest").to_owned(),
        shown: shown["plan"].to_string().into_bytes().into(),
        accepted_data_loss: typed.to_owned(),
        shown_bill: bill.into(),
        ..pb::StartRequest::default()
    };
    let bill = || shown["bill"].to_string().into_bytes();
    for (typed, bill, code) in [("", bill(), "BTN-0170"), ("Shop", bill(), "BTN-0171"), ("shop", vec![], "BTN-0172")] {
        let refused = client.start(start(typed, bill)).await.expect_err("refused");
        assert!(told(&refused).starts_with(code), "{}", told(&refused));
    }
    // Since it was shown, the target fell behind itself, and a database came.
    let mut now = says("SQL2", "SECONDARY", 799, "44");
    let mut other = now["databases"][0].clone();
    other["name"] = json!("stock");
    now["databases"].as_array_mut().expect("a list").push(other);
    target.says(now);
    // A second question comes after the first one's answer was taken.
    let asked = target.asked();
    tokio::task::block_in_place(|| {
        eventually("the new figures are there", || {
            if target.asked() >= asked + 2 { Ok(()) } else { Err(target.asked().to_string()) }
        });
    });
    let refused = told(&client.start(start("shop", bill())).await.expect_err("refused"));
    assert!(refused.starts_with("BTN-0172") && refused.contains("went back from 800 to 799"), "{refused}");
    assert!(refused.contains("stock was not in it"), "{refused}");
    assert!(target.orders().is_empty(), "nothing was forced");
    tokio::task::block_in_place(|| drop((world, _primary, target)));
}
