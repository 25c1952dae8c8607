//! Every Slony action against real servers and real slons. Needs PostgreSQL's server, Slony-I, and root (a server refuses to
//! run as root, so it is started as user postgres).

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[path = "slony/appliances.rs"]
mod appliances;

use appliances::{Appliance, DATABASES, World, signal, wait_until};

/// Writes as fast as it can and keeps what was acknowledged.
fn writer(client: tokio_postgres::Client, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<BTreeSet<i64>> {
    tokio::spawn(async move {
        let mut acknowledged = BTreeSet::new();
        while !stop.load(Ordering::Relaxed) {
            match client
                .query_one("INSERT INTO session (note) VALUES ('it''s \\ \"a\" note, really') RETURNING id", &[])
                .await
            {
                Ok(row) => {
                    acknowledged.insert(row.get(0));
                }
                // A locked set refuses writes; a dead server ends the session.
                Err(error) if error.as_db_error().is_none() => break,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        acknowledged
    })
}

async fn ids(appliance: &Appliance, database: &str) -> BTreeSet<i64> {
    let rows = appliance.client(database).await.query("SELECT id FROM session", &[]).await.expect("rows");
    rows.iter().map(|row| row.get(0)).collect()
}

async fn wait_for_rows(appliance: &Appliance, database: &str, count: i64) {
    let client = appliance.client(database).await;
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    while client.query_one("SELECT count(*) FROM session", &[]).await.expect("rows").get::<_, i64>(0) < count {
        assert!(tokio::time::Instant::now() < until, "never: {count} rows");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn inserted(sql: &str) -> BTreeSet<i64> {
    let lines = sql.lines().filter_map(|line| line.strip_prefix("INSERT INTO \"public\".\"session\" "));
    lines
        .map(|line| {
            line.split("VALUES ('")
                .nth(1)
                .and_then(|rest| rest.split('\'').next())
                .expect("an id")
                .parse()
                .expect("a number")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn forced_failover_keeps_the_evidence_and_lists_exactly_what_was_lost() {
    let world = World::replicated().await;
    let (a, b) = (&world.a, &world.b);
    let both = json!({ "origin": a.server(), "subscriber": b.server() });
    let proven = world.act("slony.verify", both.clone()).await.expect("replication is proven");
    assert_eq!(
        proven.data["not_proven"].as_array().map(Vec::len),
        Some(4),
        "the keyless table of each side: {proven:?}"
    );
    world.act("slony.origin", json!({ "server": a.server(), "local_id": 1 })).await.expect("A is origin");
    world.act("slony.origin", json!({ "server": b.server(), "is": false })).await.expect("B is not");
    world.refused("slony.origin", json!({ "server": b.server() }), "BTN-0741").await;

    // A dies in the middle of writing; B's slons had gone a moment before, so that something is lost for certain.
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for database in DATABASES {
        writers.push(writer(a.client(database).await, stop.clone()));
    }
    for database in DATABASES {
        wait_for_rows(b, database, 50).await;
    }
    let (a_slons, b_slons) = (a.slon_pids(), b.slon_pids());
    assert_eq!((a_slons.len(), b_slons.len()), (4, 4), "a watchdog and a worker for each database");
    world.stop_slons(b).await;
    assert_eq!(a.slon_pids(), a_slons, "the other appliance's slons were not touched");
    for database in DATABASES {
        let reached = ids(a, database).await.len() as i64;
        wait_for_rows(a, database, reached + 50).await;
    }
    a.kill();
    let mut ledgers = Vec::new();
    for writer in writers {
        ledgers.push(writer.await.expect("a ledger"));
    }

    let evidence = world.act("slony.evidence", json!({ "server": b.server() })).await.expect("evidence").data;
    // More than A can hand out in the time that all of this takes, however slow the machine is.
    let advance = json!({ "server": b.server(), "by": 1_000_000 });
    world.changes("slony.advance_sequences", advance.clone()).await;
    let last = b
        .client("fdb")
        .await
        .query_one("SELECT last_value FROM session_id_seq", &[])
        .await
        .expect("a row")
        .get::<_, i64>(0);
    let only_fdb = json!({ "fdb": evidence["fdb"] });
    world.refused("slony.drop", json!({ "server": b.server(), "evidence": only_fdb }), "BTN-0748").await;
    let state = world.act("slony.state", json!({ "server": b.server() })).await.expect("a state").data;
    assert_eq!(state["fdb"]["role"], "subscriber", "nothing was dropped");
    world.changes("slony.drop", json!({ "server": b.server(), "evidence": evidence })).await;
    world.unchanged("slony.advance_sequences", advance).await;
    let after = b
        .client("fdb")
        .await
        .query_one("SELECT last_value FROM session_id_seq", &[])
        .await
        .expect("a row")
        .get::<_, i64>(0);
    assert_eq!(last, after, "moved once");

    world.refused("slony.init", json!({ "origin": b.server(), "primary": "A" }), "BTN-0740").await;
    let baton = async || {
        let row = b.client("fdb").await.query_one("SELECT to_regnamespace('baton') IS NOT NULL", &[]).await;
        row.expect("a row").get::<_, bool>(0)
    };
    assert!(baton().await, "the record of the move");
    world.changes("slony.init", json!({ "origin": b.server(), "primary": "B" })).await;
    assert!(!baton().await, "a new life: nothing of ours is left that a judge could find");
    world.act("slony.origin", json!({ "server": b.server(), "local_id": 1 })).await.expect("B is node 1");
    world.act("slony.verify", json!({ "origin": b.server() })).await.expect("the origin's side is proven");
    for database in DATABASES {
        b.client(database)
            .await
            .execute("INSERT INTO session (note) VALUES ('on B')", &[])
            .await
            .expect("B takes writes");
    }

    // A comes back with its slons, and takes a write that nobody should have made.
    a.start();
    let late = a
        .client("fdb")
        .await
        .query_one("INSERT INTO session (note) VALUES ('late') RETURNING id", &[])
        .await
        .expect("A takes it");
    ledgers[0].insert(late.get(0));
    let lost = json!({ "server": a.server(), "evidence": evidence });
    world.refused("slony.lost_rows", lost.clone(), "BTN-0782").await;
    world.stop_slons(a).await;
    let told = world.act("slony.lost_rows", lost.clone()).await.expect("the list").data;
    for (database, ledger) in DATABASES.iter().zip(&ledgers) {
        let survived = ids(b, database).await;
        let expected: BTreeSet<i64> = ledger.difference(&survived).copied().collect();
        let listed = inserted(&world.task_file(&format!("lost-rows-{database}.sql")));
        assert!(expected.len() >= 50 && expected.is_subset(&listed), "every acknowledged row that B lacks is listed");
        // A commit whose acknowledgement the crash swallowed is on A and not in the ledger.
        let unheard: Vec<i64> = listed.difference(&expected).copied().collect();
        let on_a = ids(a, database).await;
        assert!(unheard.len() <= 1 && unheard.iter().all(|id| on_a.contains(id)), "{unheard:?}");
        assert_eq!(told[database]["tables"]["public.session"]["inserted"], json!(listed.len()));
        assert_eq!(world.task_file(&format!("lost-rows-{database}.csv")).lines().count(), listed.len() + 1);
    }
    let counted: u64 = DATABASES.iter().map(|database| told[*database]["count"].as_u64().expect("a count")).sum();
    assert_eq!(told["rows"], json!(counted), "what a runbook asks before it goes on");
    let swapped = json!({ "origin": a.server(), "subscriber": b.server(), "primary": "A" });
    world.refused("slony.subscribe", swapped, "BTN-0766").await;
    let join = json!({ "origin": b.server(), "subscriber": a.server(), "primary": "B" });
    world.refused("slony.join", join.clone(), "BTN-0765").await;
    world.refused("slony.drop", json!({ "server": a.server(), "evidence": evidence }), "BTN-0748").await;
    world.changes("slony.drop", json!({ "server": a.server(), "evidence": told })).await;

    // A rejoin that is tried again, from its first step: after its drop, and after its join.
    let listed = world.task_file("lost-rows-fdb.sql");
    world.forget_task();
    let again = world.act("slony.lost_rows", lost.clone()).await.expect("listed before");
    assert_eq!(again.data, told);
    assert!(again.summary.contains("listed before"), "{}", again.summary);
    assert_eq!(world.task_file("lost-rows-fdb.sql"), listed);
    world.unchanged("slony.drop", json!({ "server": a.server(), "evidence": told })).await;
    world.changes("slony.join", join.clone()).await;
    let again = world.act("slony.lost_rows", lost.clone()).await.expect("listed before").data;
    assert_eq!(again["rows"], told["rows"]);
    world.refused("slony.drop", json!({ "server": a.server(), "evidence": told }), "BTN-0748").await;
    world.changes("slony.drop", json!({ "server": a.server(), "evidence": again })).await;
    // Evidence of something else has no list, and then nobody can tell.
    let mut foreign = evidence.clone();
    foreign["fdb"]["applied"]["seqno"] = json!(1);
    world.refused("slony.lost_rows", json!({ "server": a.server(), "evidence": foreign }), "BTN-0783").await;

    world.changes("slony.join", join.clone()).await;
    let turned = json!({ "origin": a.server(), "subscriber": b.server(), "primary": "B" });
    world.refused("slony.subscribe", turned, "BTN-0740").await;
    world.refused("slony.subscribe", join.clone(), "BTN-0767").await;
    world.start_slons(b).await;
    world.start_slons(a).await;
    let copied = world.changes("slony.subscribe", join).await;
    assert!(copied.summary.contains("rows in 3 tables were replaced"), "{}", copied.summary);
    let back = json!({ "origin": b.server(), "subscriber": a.server() });
    world.act("slony.verify", back.clone()).await.expect("replication is proven the other way");
    world.act("slony.caught_up", back).await.expect("caught up");

    // The rescued rows keep their keys.
    for (database, ledger) in DATABASES.iter().zip(&ledgers) {
        let sql = world.task_file(&format!("lost-rows-{database}.sql"));
        b.client(database).await.batch_execute(&sql).await.expect("the file is valid, and every key is free");
        assert!(ledger.is_subset(&ids(b, database).await), "nothing is lost any more");
    }
}

/// The vendor's "if the database on the primary appliance is still accessible": the copy takes everything but the replication.
#[tokio::test(flavor = "multi_thread")]
async fn databases_that_can_still_be_read_are_copied_without_the_replication() {
    let world = World::replicated().await;
    let (a, b) = (&world.a, &world.b);
    let copy = json!({ "from": a.server(), "to": b.server() });
    world.refused("slony.copy", copy.clone(), "BTN-0786").await;
    world.stop_slons(a).await;
    world.stop_slons(b).await;
    // More than replication would bring: a keyless table, and rows after the last SYNC.
    for database in DATABASES {
        let sql = "INSERT INTO session (note) SELECT 'late ' || n FROM generate_series(1, 500) n;
                   INSERT INTO keyless VALUES ('x'), (NULL); UPDATE appliance SET capabilities = 7 WHERE name = 'B'";
        a.client(database).await.batch_execute(sql).await.expect("written");
    }
    world.changes("slony.drop", json!({ "server": b.server() })).await;
    let copied = world.changes("slony.copy", copy.clone()).await;
    assert_eq!(copied.data["fdb"]["sha256"].as_str().map(str::len), Some(64), "{copied:?}");
    for database in DATABASES {
        assert_eq!(ids(a, database).await, ids(b, database).await);
        let client = b.client(database).await;
        let sql =
            "SELECT to_regnamespace('_slony') IS NULL, (SELECT count(*) FROM pg_trigger WHERE tgname LIKE '\\_slony%'),
            (SELECT count(*) FROM keyless)";
        let row = client.query_one(sql, &[]).await.expect("a row");
        assert_eq!((row.get(0), row.get(1), row.get(2)), (true, 0i64, 2i64), "{database}");
        client
            .execute("INSERT INTO session (note) VALUES ('on B')", &[])
            .await
            .expect("B takes writes, with a free key");
    }
    let seen = world.observe("slony.copy", copy.clone()).await;
    assert!(format!("{seen:?}").contains("session has 501 rows instead of 500"), "{seen:?}");
    a.kill();
    let seen = world.observe("slony.copy", copy.clone()).await;
    assert!(matches!(seen, Ok(baton_model::outcome::Observation::CannotTell { .. })), "{seen:?}");
    world.refused("slony.copy", copy, "BTN-0710").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn set_moves_there_and_back_under_a_writer_without_loss() {
    let world = World::replicated().await;
    let (a, b) = (&world.a, &world.b);
    let there = json!({ "old_origin": a.server(), "new_origin": b.server() });
    let back = json!({ "old_origin": b.server(), "new_origin": a.server() });

    // A slon that is down is found before anything is locked.
    world.stop_slons(b).await;
    world.refused("slony.move_set", there.clone(), "BTN-0771").await;
    a.client("fdb")
        .await
        .execute("INSERT INTO session (note) VALUES ('still')", &[])
        .await
        .expect("A still takes writes");
    world.start_slons(b).await;

    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for appliance in [a, b] {
        writers.push(writer(appliance.client("fdb").await, stop.clone()));
    }
    wait_for_rows(b, "fdb", 20).await;
    let moved = world.changes("slony.move_set", there.clone()).await;
    assert!(moved.data["outage_ms"].as_u64().is_some_and(|outage| outage > 0), "{moved:?}");
    world.act("slony.verify", json!({ "origin": b.server(), "subscriber": a.server() })).await.expect("proven");
    world.changes("slony.move_set", back).await;
    stop.store(true, Ordering::Relaxed);
    let mut ledger = BTreeSet::new();
    for writer in writers {
        ledger.extend(writer.await.expect("a ledger"));
    }
    world.act("slony.caught_up", json!({ "origin": a.server(), "subscriber": b.server() })).await.expect("caught up");
    for appliance in [a, b] {
        let missing: Vec<i64> = ledger.difference(&ids(appliance, "fdb").await).copied().collect();
        assert!(missing.is_empty(), "{} lacks {missing:?} of {}", appliance.name, ledger.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_that_was_cut_off_is_undone_or_carried_on_from() {
    let world = World::replicated().await;
    let (a, b) = (&world.a, &world.b);
    let there = json!({ "old_origin": a.server(), "new_origin": b.server() });

    // A transaction that stays open holds up LOCK SET; slonik is killed while it waits.
    let holder = a.client("postgres").await;
    holder.batch_execute("BEGIN; SELECT txid_current()").await.expect("a transaction");
    let moving = {
        let context = world.context(CancellationToken::new(), Duration::from_secs(90));
        let action = World::action(
            "slony.move_set",
            json!({ "databases": ["fdb"], "old_origin": there["old_origin"], "new_origin": there["new_origin"] }),
        );
        tokio::spawn(async move { action.act(&context).await })
    };
    let locked = async || {
        let row = a
            .client("fdb")
            .await
            .query_one("SELECT set_locked IS NOT NULL FROM _slony.sl_set", &[])
            .await
            .expect("a row");
        row.get::<_, bool>(0)
    };
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    while !locked().await {
        assert!(tokio::time::Instant::now() < until, "never locked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mine = std::process::id();
    let slonik = || appliances::processes(|arguments| arguments.first().is_some_and(|name| name.ends_with("slonik")));
    let of_mine = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
            stat.rsplit(')').next().is_some_and(|rest| rest.split_whitespace().nth(1) == Some(&mine.to_string()))
        })
    };
    let pids: Vec<i32> = slonik().into_iter().filter(of_mine).collect();
    assert_eq!(pids.len(), 1, "one slonik waits for the open transaction");
    signal(pids[0], libc::SIGKILL);
    let failure = moving.await.expect("no panic").expect_err("slonik was killed");
    assert!(failure.to_string().contains("unlocked again"), "{failure}");
    assert!(!locked().await, "compensated");
    holder.batch_execute("COMMIT").await.expect("ended");
    a.client("fdb")
        .await
        .execute("INSERT INTO session (note) VALUES ('after')", &[])
        .await
        .expect("A takes writes again");

    // Left locked by an agent that died: the next attempt goes on.
    a.client("fdb").await.batch_execute("SELECT _slony.lockSet(1)").await.expect("locked");
    let seen = world.observe("slony.move_set", there.clone()).await.expect("an observation");
    assert!(format!("{seen:?}").contains("locked on A"), "{seen:?}");
    world.changes("slony.move_set", there.clone()).await;

    // MOVE SET sent, the new origin's slon down: nobody is origin, and that is said with the cure.
    let back = json!({ "old_origin": b.server(), "new_origin": a.server() });
    world.stop_slons(a).await;
    for database in DATABASES {
        let client = b.client(database).await;
        client.batch_execute("SELECT _slony.lockSet(1)").await.expect("locked");
        client.batch_execute("SELECT _slony.moveSet(1, 1)").await.expect("sent");
    }
    let seen = world.observe("slony.move_set", back.clone()).await.expect("an observation");
    assert!(format!("{seen:?}").contains("nobody is origin"), "{seen:?}");
    world.refused("slony.move_set", back.clone(), "BTN-0772").await;
    world.start_slons(a).await;
    // Its slon applies MOVE SET at once; whether the step still finds work is a race, that it succeeds is not.
    world.act("slony.move_set", back.clone()).await.expect("it settles");
    world.unchanged("slony.move_set", back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_drop_names_the_blocker_and_drops_nothing() {
    let world = World::replicated().await;
    let b = &world.b;
    world.stop_slons(b).await;
    let reader = b.client("fdb").await;
    reader.batch_execute("BEGIN; SELECT * FROM session").await.expect("a reader");
    let pid: i32 = reader.query_one("SELECT pg_backend_pid()", &[]).await.expect("a row").get(0);
    let blocked = json!({ "server": b.server(), "lock_timeout": "1s" });
    let fault = world.refused("slony.drop", blocked.clone(), "BTN-0749").await;
    assert!(
        fault.message.contains(&format!("pid {pid} "))
            && fault.message.contains("application test")
            && fault.message.contains("SELECT pg_backend_pid"),
        "{fault}"
    );
    let state = world.act("slony.state", json!({ "server": b.server() })).await.expect("a state").data;
    assert_eq!(state["fdb"]["role"], "subscriber", "nothing was dropped");
    assert_eq!(state["fdb"]["view"]["sets"][0]["tables"], 3);
    let mut ending = blocked;
    ending["end_blockers"] = json!(true);
    world.changes("slony.drop", ending).await;
    reader.query("SELECT 1", &[]).await.expect_err("the blocker was ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn split_brain_is_seen_where_the_vendors_row_is_content() {
    let world = World::replicated().await;
    let (a, b) = (&world.a, &world.b);
    // Slony's FAILOVER is refused while the old origin answers …
    let failover = json!({ "failed": a.server(), "backup": b.server() });
    world.refused("slony.failover", failover.clone(), "BTN-0774").await;
    world.stop_slons(a).await;
    world.stop_slons(b).await;
    a.kill();
    world.changes("slony.failover", failover).await;
    // … and fences nobody: A comes back and says the same.
    a.start();
    for appliance in [a, b] {
        world
            .act("slony.origin", json!({ "server": appliance.server() }))
            .await
            .expect("the vendor's row says t, on both");
    }
    let fault =
        world.refused("slony.verify", json!({ "origin": b.server(), "subscriber": a.server() }), "BTN-0776").await;
    assert!(fault.message.contains("split brain"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_server_ends_in_a_fault_and_not_in_a_wait() {
    let world = World::start().await;
    let a = &world.a;
    let postmaster = appliances::processes(|arguments| {
        arguments.iter().any(|one| one.starts_with(&format!("{}/A/data", world.home.path().display())))
    });
    assert!(!postmaster.is_empty());
    postmaster.iter().for_each(|pid| signal(*pid, libc::SIGSTOP));
    let started = std::time::Instant::now();
    let fault = world.refused("slony.evidence", json!({ "server": a.server() }), "BTN-0710").await;
    assert!(started.elapsed() < Duration::from_secs(8) && fault.message.contains("frozen"), "{fault}");
    postmaster.iter().for_each(|pid| signal(*pid, libc::SIGCONT));
}

#[tokio::test(flavor = "multi_thread")]
async fn orphaned_worker_is_ended_and_no_second_slon_is_started() {
    let world = World::replicated().await;
    let b = &world.b;
    let start = json!({ "server": b.server(), "scripts": b.scripts() });
    let before = b.slon_pids();
    world.unchanged("slony.start", start).await;
    assert_eq!(b.slon_pids(), before, "no second slon");
    // The watchdogs die hard: their workers go on and ignore TERM.
    let watchdogs: Vec<i32> = DATABASES
        .iter()
        .map(|database| {
            std::fs::read_to_string(world.home.path().join(format!("B/slon_{database}.pid")))
                .expect("a pid file")
                .trim()
                .parse()
                .expect("a pid")
        })
        .collect();
    watchdogs.iter().for_each(|pid| signal(*pid, libc::SIGKILL));
    wait_until("the watchdogs are dead", || b.slon_pids().len() == 2);
    world.stop_slons(b).await;
    assert!(b.slon_pids().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_one_transaction_with_bound_values() {
    let world = World::start().await;
    let a = &world.a;
    let connection = json!({ "host": a.address, "port": a.port, "database": "fdb", "user": "slony", "password": appliances::PASSWORD });
    let grant = |name: &str| {
        json!({ "connection": connection,
            "statements": [
                { "sql": "UPDATE appliance SET capabilities = capabilities & 65343 WHERE name = $1", "params": ["A"], "rows": 1 },
                { "sql": "UPDATE appliance SET capabilities = capabilities | 192 WHERE name = $1", "params": [name], "rows": 1 } ],
            "unless": { "sql": "SELECT capabilities & 192 = 192 FROM appliance WHERE name = $1", "params": ["B"] } })
    };
    a.client("fdb").await.execute("UPDATE appliance SET capabilities = 255 WHERE name = 'A'", &[]).await.expect("set");
    world.refused("sql.exec", grant("nobody'; DROP TABLE session; --"), "BTN-0720").await;
    let query = |expect: &str, wait: bool| {
        json!({ "connection": connection, "sql": "SELECT name, capabilities, now() AS at, 1.50::numeric AS n, ARRAY[1,2] AS list, NULL::text AS none FROM appliance ORDER BY name",
            "expect": expect, "wait": wait })
    };
    world.act("sql.query", query("rows[0].capabilities == 255 && size(rows) == 2", false)).await.expect("rolled back");
    let effect = world.act("sql.exec", grant("B")).await.expect("granted");
    assert_eq!(effect.data, json!({ "rows": [1, 1] }));
    let seen = world.observe("sql.exec", grant("B")).await;
    assert!(matches!(seen, Ok(baton_model::outcome::Observation::InPlace { .. })), "{seen:?}");
    let rows = world
        .act("sql.query", query("rows[0].capabilities == 63 && rows[1].capabilities == 192", false))
        .await
        .expect("as expected");
    let row: &Value = &rows.data["rows"][0];
    assert_eq!((&row["n"], &row["list"], &row["none"]), (&json!("1.50"), &json!([1, 2]), &Value::Null));
    world.refused("sql.query", query("rows[0].capabilities == 1", false), "BTN-0723").await;

    // A query that waits sees the change; one that is cancelled ends on the server too.
    let client = a.client("fdb").await;
    let (waited, _) = tokio::join!(world.act("sql.query", query("rows[0].capabilities == 7", true)), async {
        client.execute("UPDATE appliance SET capabilities = 7 WHERE name = 'A'", &[]).await.expect("set")
    });
    waited.expect("it came true");
    let cancel = CancellationToken::new();
    let context = world.context(cancel.clone(), Duration::from_secs(60));
    let sleeping =
        World::action("sql.query", json!({ "connection": connection, "sql": "SELECT pg_sleep(3600)::text" }));
    let running = tokio::spawn(async move { sleeping.act(&context).await });
    let sleepers = async || {
        client
            .query("SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'", &[])
            .await
            .expect("rows")
            .len()
    };
    while sleepers().await == 0 {
        tokio::task::yield_now().await;
    }
    cancel.cancel();
    running.await.expect("no panic").expect_err("cancelled");
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while sleepers().await > 0 {
        assert!(tokio::time::Instant::now() < until, "the server goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
