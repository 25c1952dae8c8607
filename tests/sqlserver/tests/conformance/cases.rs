//! The 25 cases, in the sheet's order. A case's words are the sheet's, shortened.

use std::future::Future;
use std::pin::Pin;

use baton_sqlserver::control::ShippingJob;
use baton_sqlserver::instance::system_clock;
use serde_json::json;

use crate::clients::{Client, Target, run};
use crate::site::{COPIES, Kind, PASSWORD, ROLE, Site};

pub struct Case {
    pub number: u8,
    pub kind: Kind,
    pub run: fn(Site) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

macro_rules! cases {
    ($($number:literal $kind:ident $name:ident,)*) => {
        pub fn table() -> Vec<Case> {
            vec![$(Case { number: $number, kind: Kind::$kind, run: |site| Box::pin(async move { $name(&site).await }) },)*]
        }
    };
}

cases! {
    1 Wsfc planned_failover,
    2 Wsfc asynchronous_target_is_refused,
    3 Wsfc suspended_target_is_refused,
    4 Wsfc primary_itself_is_refused,
    5 NoCluster no_cluster_no_failover,
    6 External context_of_an_external_cluster,
    7 Wsfc unknown_group,
    8 Wsfc only_in_master,
    9 Wsfc mode_changes_on_the_primary_only,
    10 Wsfc impossible_options,
    11 Wsfc asynchronous_primary,
    12 Manual forced_failover,
    13 Manual resume_after_force,
    14 Manual old_primary_returns,
    15 Wsfc force_where_nothing_is_lost,
    16 NoCluster no_cluster_force,
    17 Wsfc second_failover_at_once,
    18 Wsfc no_quorum,
    19 Wsfc who_sees_what,
    20 Wsfc reading_secondaries,
    21 Wsfc suspend_and_resume,
    22 Wsfc joining_needs_the_primary,
    23 Shipping log_restores,
    24 Shipping recovery,
    25 Shipping sessions_logins_attention,
}

const FAILOVER: &str = "ALTER AVAILABILITY GROUP [ag1] FAILOVER";
const FORCE: &str = "ALTER AVAILABILITY GROUP [ag1] FORCE_FAILOVER_ALLOW_DATA_LOSS";
const SYNCHRONIZED: &[&str] = &["db1 2 0 - 0", "db2 2 0 - 0"];
const SYNCHRONIZING: &[&str] = &["db1 1 0 - 0", "db2 1 0 - 0"];
const SUSPENDED: &[&str] = &["db1 0 1 1 0", "db2 0 1 1 0"];
const SEQUENCE: &str = "SELECT sequence_number FROM sys.availability_groups";
/// Whether S2 could take over without loss, asked of the primary.
const READY: &str = "SELECT r.replica_server_name, c.database_name, c.is_failover_ready \
     FROM sys.dm_hadr_database_replica_cluster_states c JOIN sys.availability_replicas r ON r.replica_id = c.replica_id \
     WHERE r.replica_server_name <> N'S1' ORDER BY 1, 2";

async fn nothing_changed(site: &Site) {
    site.until("S1", ROLE, &["1 2"]).await;
    site.until("S2", ROLE, &["2 2"]).await;
}

async fn planned_failover(site: &Site) {
    let before: i64 = site.see("S2", SEQUENCE).await.unwrap()[0].parse().unwrap();
    // A session in db1 that must be cut.
    let inside = tokio::net::TcpStream::connect(site.target("S1").address).await.unwrap();
    let mut config = tiberius::Config::new();
    config.authentication(tiberius::AuthMethod::sql_server("sa", PASSWORD));
    config.encryption(tiberius::EncryptionLevel::NotSupported);
    config.database("db1");
    let compat = tokio_util::compat::TokioAsyncWriteCompatExt::compat_write(inside);
    let mut inside = tiberius::Client::connect(config, compat).await.unwrap();
    site.expect("S2", &[FAILOVER], &[]).await;
    site.until("S2", ROLE, &["1 2"]).await;
    site.until("S2", COPIES, SYNCHRONIZED).await;
    site.until("S1", ROLE, &["2 2"]).await;
    let cut = inside.simple_query("SELECT 1").await;
    let cut = match cut {
        Ok(stream) => stream.into_results().await.is_err(),
        Err(_) => true,
    };
    assert!(cut, "the session in db1 on S1 was cut");
    if site.doubts.planned_failover_suspends_old_primary {
        site.until("S1", COPIES, SUSPENDED).await;
        for database in ["db1", "db2"] {
            site.expect("S1", &[&format!("ALTER DATABASE {database} SET HADR RESUME")], &[]).await;
        }
    }
    site.until("S1", COPIES, SYNCHRONIZED).await;
    site.until("S3", COPIES, SYNCHRONIZING).await;
    site.until("S3", "SELECT primary_replica FROM sys.dm_hadr_availability_group_states", &["S2"]).await;
    let after: i64 = site.see("S2", SEQUENCE).await.unwrap()[0].parse().unwrap();
    assert!(after > before, "{before} {after}");
}

async fn asynchronous_target_is_refused(site: &Site) {
    site.expect("S3", &[FAILOVER], &[41142]).await;
    nothing_changed(site).await;
    site.until("S3", ROLE, &["2 2"]).await;
}

async fn suspended_target_is_refused(site: &Site) {
    site.expect("S2", &["ALTER DATABASE [db2] SET HADR SUSPEND"], &[]).await;
    site.until("S2", COPIES, &["db1 2 0 - 0", "db2 0 1 0 0"]).await;
    site.expect("S2", &[FAILOVER], &[41142]).await;
    nothing_changed(site).await;
}

async fn primary_itself_is_refused(site: &Site) {
    site.expect("S1", &[FAILOVER], &[41122]).await;
    nothing_changed(site).await;
}

async fn no_cluster_no_failover(site: &Site) {
    site.expect("S2", &[FAILOVER], &[47122]).await;
    nothing_changed(site).await;
}

async fn context_of_an_external_cluster(site: &Site) {
    let without = site.doubts.without_context;
    site.expect("S2", &[FAILOVER], &[without]).await;
    let context = "EXEC sp_set_session_context @key = N'external_cluster', @value = N'yes'";
    site.expect("S2", &[context, FAILOVER], &[]).await;
    site.until("S2", ROLE, &["1 2"]).await;
    if site.doubts.external_old_primary_stays {
        site.until("S1", ROLE, &["1 2"]).await;
        site.expect("S1", &["ALTER AVAILABILITY GROUP ag1 SET (ROLE = SECONDARY)"], &[41104]).await;
        site.expect("S1", &["ALTER AVAILABILITY GROUP ag1 OFFLINE"], &[]).await;
        site.expect("S1", &["ALTER AVAILABILITY GROUP ag1 SET (ROLE = SECONDARY)"], &[]).await;
    }
    site.until("S1", ROLE, &["2 2"]).await;
    if !site.doubts.external_old_primary_stays {
        site.expect("S1", &[FAILOVER], &[without]).await;
    }
}

async fn unknown_group(site: &Site) {
    site.expect("S2", &["ALTER AVAILABILITY GROUP [agX] FAILOVER"], &[site.doubts.unknown_group]).await;
}

async fn only_in_master(site: &Site) {
    let set = "ALTER AVAILABILITY GROUP ag1 SET (HEALTH_CHECK_TIMEOUT = 60000)";
    site.expect("S1", &["USE db1", set], &[35208]).await;
    site.expect("S1", &["USE db1", FAILOVER], &[35208]).await;
    site.expect("S1", &[set], &[]).await;
}

async fn mode_changes_on_the_primary_only(site: &Site) {
    let modify = "ALTER AVAILABILITY GROUP [ag1] MODIFY REPLICA ON N'S3' WITH (AVAILABILITY_MODE = SYNCHRONOUS_COMMIT)";
    site.expect("S2", &[modify], &[41140]).await;
    site.expect("S1", &[modify], &[]).await;
    site.until(
        "S3",
        "SELECT availability_mode FROM sys.availability_replicas WHERE replica_server_name = 'S3'",
        &["1"],
    )
    .await;
    site.until("S3", COPIES, SYNCHRONIZED).await;
    let health = "SELECT synchronization_health FROM sys.dm_hadr_availability_replica_states WHERE is_local = 1";
    site.until("S3", health, &["2"]).await;
    site.until("S1", READY, &["S2 db1 1", "S2 db2 1", "S3 db1 1", "S3 db2 1"]).await;
    // Again: information, success.
    site.expect("S1", &[modify], &[]).await;
}

async fn impossible_options(site: &Site) {
    let modify = |replica: &str| {
        format!("ALTER AVAILABILITY GROUP [ag1] MODIFY REPLICA ON N'{replica}' WITH (FAILOVER_MODE = AUTOMATIC)")
    };
    site.expect("S1", &[&modify("S3")], &[35211]).await;
    site.expect("S1", &[&modify("S9")], &[35210]).await;
}

async fn asynchronous_primary(site: &Site) {
    let modify = "ALTER AVAILABILITY GROUP [ag1] MODIFY REPLICA ON N'S1' WITH (AVAILABILITY_MODE = ASYNCHRONOUS_COMMIT, FAILOVER_MODE = MANUAL)";
    site.expect("S1", &[modify], &[]).await;
    site.until("S2", COPIES, SYNCHRONIZING).await;
    let health = "SELECT synchronization_health FROM sys.dm_hadr_availability_replica_states WHERE is_local = 1";
    site.until("S2", health, &["1"]).await;
    site.until("S1", READY, &["S2 db1 0", "S2 db2 0", "S3 db1 0", "S3 db2 0"]).await;
    site.expect("S2", &[FAILOVER], &[41142]).await;
}

/// Rows 1 everywhere, row 2 not on S3; then S1 is killed and S3 forced.
async fn lose_a_row(site: &Site) {
    site.expect("S1", &["USE db1", "CREATE TABLE t (id int NOT NULL PRIMARY KEY)", "INSERT INTO t VALUES (1)"], &[])
        .await;
    site.until("S3", "SELECT id FROM db1.dbo.t", &["1"]).await;
    site.control.set_send_limit("S3", Some(0)).unwrap();
    site.expect("S1", &["INSERT INTO db1.dbo.t VALUES (2)"], &[]).await;
    site.until("S2", "SELECT id FROM db1.dbo.t", &["1", "2"]).await;
    site.kill("S1");
    site.control.set_send_limit("S3", None).unwrap();
    site.until("S2", COPIES, &["db1 0 0 - 0", "db2 0 0 - 0"]).await;
    let role = if site.doubts.leaderless_resolving { "0 3" } else { "2 2" };
    site.until("S2", ROLE, &[role]).await;
    site.expect("S3", &[FORCE], &[]).await;
    site.until("S3", ROLE, &["1 2"]).await;
}

async fn forced_failover(site: &Site) {
    lose_a_row(site).await;
    site.until("S3", "SELECT id FROM db1.dbo.t", &["1"]).await;
    site.until("S2", COPIES, SUSPENDED).await;
    site.until("S3", COPIES, SYNCHRONIZING).await;
    let seen = "SELECT s.is_suspended, s.suspend_reason_desc, s.synchronization_health \
                FROM sys.dm_hadr_database_replica_states s WHERE s.is_primary_replica = 0 AND s.is_local = 0";
    site.until("S3", seen, &["1 SUSPEND_FROM_PARTNER 0", "1 SUSPEND_FROM_PARTNER 0"]).await;
}

async fn resume_after_force(site: &Site) {
    lose_a_row(site).await;
    site.until("S2", COPIES, SUSPENDED).await;
    site.expect("S2", &["ALTER DATABASE [db1] SET HADR RESUME"], &[]).await;
    site.until("S2", COPIES, &["db1 1 0 - 0", "db2 0 1 1 0"]).await;
    site.until("S2", "SELECT id FROM db1.dbo.t", &["1"]).await;
    let modify = "ALTER AVAILABILITY GROUP [ag1] MODIFY REPLICA ON N'S3' WITH (AVAILABILITY_MODE = SYNCHRONOUS_COMMIT)";
    site.expect("S3", &[modify], &[]).await;
    site.until("S2", COPIES, &["db1 2 0 - 0", "db2 0 1 1 0"]).await;
}

async fn old_primary_returns(site: &Site) {
    lose_a_row(site).await;
    site.start("S1");
    site.until("S1", ROLE, &["2 2"]).await;
    site.until("S1", COPIES, SUSPENDED).await;
    let lsn = |column: &str, own: &str| {
        format!(
            "SELECT {column} FROM sys.dm_hadr_database_replica_states d JOIN sys.availability_databases_cluster c \
                 ON c.group_database_id = d.group_database_id WHERE c.database_name = 'db1' AND {own}"
        )
    };
    let number = |lines: Option<Vec<String>>| lines.unwrap()[0].parse::<i128>().unwrap();
    let recovery = number(site.see("S3", &lsn("recovery_lsn", "is_local = 1")).await);
    let hardened = number(site.see("S1", &lsn("last_hardened_lsn", "is_local = 1")).await);
    assert!(recovery < hardened, "{recovery} {hardened}");
    site.until("S1", "SELECT id FROM db1.dbo.t", &["1", "2"]).await;
    site.expect("S1", &["ALTER DATABASE [db1] SET HADR RESUME"], &[]).await;
    site.until("S1", COPIES, &["db1 1 0 - 0", "db2 0 1 1 0"]).await;
    site.until("S1", "SELECT id FROM db1.dbo.t", &["1"]).await;
}

async fn force_where_nothing_is_lost(site: &Site) {
    site.expect("S2", &[FORCE], &[]).await;
    site.until("S2", ROLE, &["1 2"]).await;
    if site.doubts.planned_failover_suspends_old_primary {
        site.until("S1", COPIES, SUSPENDED).await;
    } else {
        site.until("S1", COPIES, SYNCHRONIZED).await;
    }
    site.until("S3", COPIES, SYNCHRONIZING).await;
}

async fn no_cluster_force(site: &Site) {
    if site.doubts.none_force_swaps_roles {
        site.expect("S2", &[FORCE], &[]).await;
        site.until("S2", ROLE, &["1 2"]).await;
        site.until("S1", ROLE, &["2 2"]).await;
    } else {
        site.expect("S1", &["ALTER AVAILABILITY GROUP [ag1] OFFLINE"], &[]).await;
        site.until("S1", ROLE, &["0 3"]).await;
        site.expect("S2", &[FORCE], &[]).await;
        site.until("S2", ROLE, &["1 2"]).await;
        site.expect("S1", &["ALTER AVAILABILITY GROUP [ag1] SET (ROLE = SECONDARY)"], &[]).await;
        site.until("S1", ROLE, &["2 2"]).await;
    }
    site.until("S1", COPIES, SUSPENDED).await;
    for database in ["db1", "db2"] {
        site.expect("S1", &[&format!("ALTER DATABASE {database} SET HADR RESUME")], &[]).await;
    }
    site.until("S1", COPIES, SYNCHRONIZED).await;
    if site.doubts.none_force_swaps_roles {
        return;
    }
    // Without demoting the primary first there are two.
    site.expect("S1", &[FORCE], &[]).await;
    site.until("S1", ROLE, &["1 2"]).await;
    site.until("S2", ROLE, &["1 2"]).await;
    assert_eq!(site.control.primaries("ag1").unwrap(), ["S1", "S2"]);
}

async fn second_failover_at_once(site: &Site) {
    let answers = site.say("S2", &[FAILOVER, FAILOVER]).await;
    site.check(&answers[0], &[], &[FAILOVER]);
    let numbers = answers[1].as_ref().unwrap_err().numbers();
    assert!(numbers == [41113] || numbers == [41122], "{numbers:?}");
}

async fn no_quorum(site: &Site) {
    site.control.set_quorum_lost(true).unwrap();
    site.until("S1", ROLE, &["0 5"]).await;
    site.until("S2", ROLE, &["0 5"]).await;
    site.expect("S2", &[FORCE], &[site.doubts.without_quorum]).await;
    site.until("S2", "SELECT * FROM sys.dm_hadr_cluster", &[]).await;
    site.expect("S1", &["USE db1"], &[site.doubts.read_without_quorum]).await;
    site.control.set_quorum_lost(false).unwrap();
    site.until("S1", ROLE, &["1 2"]).await;
}

async fn who_sees_what(site: &Site) {
    for (instance, replicas, databases) in [("S1", 3, 6), ("S2", 1, 2)] {
        let statements = [
            "SELECT * FROM sys.dm_hadr_availability_replica_states",
            "SELECT * FROM sys.dm_hadr_database_replica_states",
            "SELECT * FROM sys.availability_replicas",
        ];
        let answers = site.say(instance, &statements).await;
        let counts: Vec<usize> = answers.iter().map(|answer| answer.as_ref().unwrap().sets[0].rows.len()).collect();
        assert_eq!(counts, [replicas, databases, 3], "{instance}");
    }
}

async fn reading_secondaries(site: &Site) {
    site.expect("S1", &["CREATE TABLE db1.dbo.t (id int)"], &[]).await;
    let allow = |what: &str| {
        format!(
            "ALTER AVAILABILITY GROUP ag1 MODIFY REPLICA ON N'S2' WITH (SECONDARY_ROLE (ALLOW_CONNECTIONS = {what}))"
        )
    };
    let allowed =
        "SELECT secondary_role_allow_connections FROM sys.availability_replicas WHERE replica_server_name = 'S2'";
    for (what, code, plain, intent) in
        [("NO", "0", Some(976), Some(976)), ("READ_ONLY", "1", Some(978), None), ("ALL", "2", None, None)]
    {
        site.expect("S1", &[&allow(what)], &[]).await;
        site.until("S2", allowed, &[code]).await;
        site.expect("S2", &["USE db1"], plain.as_slice()).await;
        let login = run(site.client, &site.target("S2").database("db1"), ["SELECT 1"]).await;
        match (plain, login) {
            (None, login) => assert!(login.is_ok_and(|answers| answers[0].is_ok()), "{what}"),
            (Some(_), login) => {
                let numbers = login.expect_err("the login fails").numbers();
                assert!(numbers.iter().all(|number| [4060, 18456].contains(number)), "{what}: {numbers:?}");
            }
        }
        if site.client.has_read_only_intent() {
            let answers = run(site.client, &site.target("S2").read_only(), ["USE db1"]).await.unwrap();
            site.check(&answers[0], intent.as_slice(), &["USE db1 with read-only intent"]);
        }
    }
    site.until("S2", "SELECT COUNT(*) FROM db1.dbo.t", &["0"]).await;
    site.expect("S2", &["USE db1", "UPDATE t SET id = 1"], &[3906]).await;
    let answers = site.say("S2", &[FAILOVER, "USE db1"]).await;
    site.check(&answers[1], &[983], &["USE db1 while RESOLVING"]);
}

async fn suspend_and_resume(site: &Site) {
    const SUSPENDED_BY_USER: &[&str] = &["db1 0 1 0 0", "db2 2 0 - 0"];
    site.expect("S1", &["ALTER DATABASE [db1] SET HADR SUSPEND"], &[]).await;
    site.until("S2", COPIES, SUSPENDED_BY_USER).await;
    site.until("S3", COPIES, &["db1 0 1 0 0", "db2 1 0 - 0"]).await;
    let seen = "SELECT COUNT(*) FROM sys.dm_hadr_database_replica_states WHERE is_local = 0 AND is_suspended = 1 \
                AND suspend_reason = 0 AND synchronization_state = 0 AND synchronization_health = 0";
    site.until("S1", seen, &["2"]).await;
    site.expect("S1", &["ALTER DATABASE [db1] SET HADR RESUME"], &[]).await;
    site.until("S2", COPIES, SYNCHRONIZED).await;
    site.until("S3", COPIES, SYNCHRONIZING).await;
    site.expect("S2", &["ALTER DATABASE [db1] SET HADR SUSPEND"], &[]).await;
    site.until("S2", COPIES, SUSPENDED_BY_USER).await;
    site.until("S1", seen, &["1"]).await;
    site.until("S3", COPIES, SYNCHRONIZING).await;
    site.expect("S2", &["ALTER DATABASE [db1] SET HADR RESUME"], &[]).await;
    site.until("S2", COPIES, SYNCHRONIZED).await;
    site.expect("S1", &["ALTER DATABASE [db1] SET HADR OFF"], &[35240]).await;
    site.expect(
        "S1",
        &["CREATE DATABASE alone", "ALTER DATABASE alone SET HADR RESUME"],
        &[site.doubts.hadr_without_group],
    )
    .await;
}

async fn joining_needs_the_primary(site: &Site) {
    let (full, log) = (site.path("db3.bak").display().to_string(), site.path("db3.trn").display().to_string());
    site.expect(
        "S1",
        &[
            "CREATE DATABASE db3",
            "CREATE TABLE db3.dbo.t (id int)",
            &format!("BACKUP DATABASE db3 TO DISK = N'{full}'"),
            "INSERT db3.dbo.t VALUES (7)",
            &format!("BACKUP LOG db3 TO DISK = N'{log}'"),
            "ALTER AVAILABILITY GROUP ag1 ADD DATABASE db3",
        ],
        &[],
    )
    .await;
    let join = "ALTER DATABASE [db3] SET HADR AVAILABILITY GROUP = [ag1]";
    site.expect("S3", &[&format!("RESTORE DATABASE db3 FROM DISK = N'{full}' WITH NORECOVERY"), join], &[1408]).await;
    site.expect("S3", &[&format!("RESTORE LOG db3 FROM DISK = N'{log}' WITH NORECOVERY")], &[]).await;
    site.control.cut_link("S1", "S3").unwrap();
    site.expect("S3", &[join], &[35250]).await;
    site.control.mend_link("S1", "S3").unwrap();
    site.until("S3", "SELECT connected_state FROM sys.dm_hadr_availability_replica_states WHERE is_local = 1", &["1"])
        .await;
    site.until("S3", "SELECT state FROM sys.databases WHERE name = 'db3'", &["1"]).await;
    site.expect("S3", &[join], &[]).await;
    site.until("S3", COPIES, &["db1 1 0 - 0", "db2 1 0 - 0", "db3 1 0 - 0"]).await;
    site.until("S3", "SELECT id FROM db3.dbo.t", &["7"]).await;
}

/// Four log backups of P's mgc, in the share.
async fn four_logs(site: &Site) -> Vec<String> {
    for _ in 0..4 {
        site.control.run_shipping_job("P", "mgc", ShippingJob::Backup).unwrap().unwrap();
    }
    let files = "SELECT m.physical_device_name FROM msdb.dbo.backupset b \
                 JOIN msdb.dbo.backupmediafamily m ON m.media_set_id = b.media_set_id WHERE b.type = 'L' ORDER BY b.first_lsn";
    let files = site.see("P", files).await.unwrap();
    assert_eq!(files.len(), 4);
    files
}

async fn log_restores(site: &Site) {
    let files = four_logs(site).await;
    let restore = |file: &str, end: &str| format!("RESTORE LOG [mgc] FROM DISK = N'{file}' WITH {end}");
    site.expect("L", &[&restore(&files[1], "NORECOVERY")], &[4305, 3013]).await;
    site.expect("L", &[&restore(&files[0], "NORECOVERY")], &[]).await;
    site.expect("L", &[&restore(&files[0], "NORECOVERY")], &[4326, 3013]).await;
    site.expect("L", &[&restore("/nowhere/mgc.trn", "NORECOVERY")], &[3201, 3013]).await;
    let history = "SELECT r.restore_type, b.database_name, b.type FROM msdb.dbo.restorehistory r \
                   JOIN msdb.dbo.backupset b ON b.backup_set_id = r.backup_set_id WHERE r.destination_database_name = N'mgc' ORDER BY r.restore_history_id";
    site.until("L", history, &["D mgc D", "L mgc L"]).await;
    let standby = format!("STANDBY = N'{}'", site.path("undo.tuf").display());
    site.expect("L", &[&restore(&files[1], &standby)], &[]).await;
    // A reader keeps the next one out.
    let reader = site.target("L").database("mgc");
    let holds = tokio::spawn(async move { run(Client::Tiberius, &reader, ["WAITFOR DELAY '00:00:30'"]).await });
    let who = "SELECT session_id FROM sys.dm_exec_sessions WHERE database_id = DB_ID(N'mgc') AND is_user_process = 1 AND session_id <> @@SPID";
    let spid = loop {
        if let Some(spid) = site.see("L", who).await.and_then(|lines| lines.first().cloned()) {
            break spid;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    site.expect("L", &[&restore(&files[2], &standby)], &[3101, 3013]).await;
    site.expect("L", &[&format!("KILL {spid}")], &[]).await;
    site.until("L", who, &[]).await;
    site.expect("L", &[&restore(&files[2], &standby)], &[]).await;
    let ended = holds.await.unwrap();
    assert!(!ended.is_ok_and(|answers| answers[0].is_ok()), "the reader was killed");
}

async fn recovery(site: &Site) {
    let files = four_logs(site).await;
    let single = "ALTER DATABASE [mgc] SET SINGLE_USER WITH ROLLBACK IMMEDIATE";
    site.expect("L", &[single], &[5052, 5069]).await;
    let recover = "RESTORE DATABASE [mgc] WITH RECOVERY";
    let first =
        format!("RESTORE LOG [mgc] FROM DISK = N'{}' WITH STANDBY = N'{}'", files[0], site.path("u.tuf").display());
    site.expect("L", &[&first], &[]).await;
    if site.doubts.single_user_on_standby {
        site.expect("L", &[single, "ALTER DATABASE mgc SET MULTI_USER"], &[]).await;
    } else {
        site.expect("L", &[single], &[5063, 5069]).await;
    }
    site.expect("L", &[recover], &[]).await;
    site.expect("L", &[recover], &[3153, 3013]).await;
    site.expect("L", &[&format!("RESTORE LOG mgc FROM DISK = N'{}' WITH NORECOVERY", files[1])], &[3117, 3013]).await;
    let delete = "EXEC master.dbo.sp_delete_log_shipping_secondary_database @secondary_database = N'mgc'";
    site.expect("L", &[delete], &[]).await;
    site.expect("L", &[delete], &[32014]).await;
    let site = Site::create(site.client, site.doubts.clone(), Kind::Wsfc);
    let full = site.path("db1.bak").display().to_string();
    site.expect("S1", &[&format!("BACKUP DATABASE db1 TO DISK = N'{full}'")], &[]).await;
    site.expect("S1", &[&format!("RESTORE DATABASE db1 FROM DISK = N'{full}' WITH REPLACE")], &[3104, 3013]).await;
}

async fn sessions_logins_attention(site: &Site) {
    let own = site.say("P", &["SELECT @@SPID"]).await.remove(0).unwrap();
    let own = own.value().as_i64().unwrap();
    // A new connection of one that has gone gets the same number.
    site.expect("P", &[&format!("KILL {own}")], &[6104]).await;
    site.expect("P", &["KILL 9999"], &[6106]).await;
    site.expect("P", &["KILL @p"], &[102]).await;
    let wrong = Target::new(site.target("P").address, "sa", "wrong");
    let refused = run(site.client, &wrong, ["SELECT 1"]).await.expect_err("a wrong password");
    assert_eq!(refused.numbers(), [18456]);
    // An attention in the middle of a restore leaves its database RESTORING and its connection usable.
    let files = four_logs(site).await;
    site.control.change(|world| world.options.restore_ms = 60_000).unwrap();
    let restore = format!("RESTORE LOG [mgc] FROM DISK = N'{}' WITH NORECOVERY", files[0]);
    let state = "SELECT state_desc FROM sys.databases WHERE name = N'mgc'";
    let before = system_clock()();
    if site.client == Client::Tiberius {
        let socket = tokio::net::TcpStream::connect(site.target("L").address).await.unwrap();
        let mut config = tiberius::Config::new();
        config.authentication(tiberius::AuthMethod::sql_server("sa", PASSWORD));
        config.encryption(tiberius::EncryptionLevel::NotSupported);
        config.command_timeout(None);
        let socket = tokio_util::compat::TokioAsyncWriteCompatExt::compat_write(socket);
        let mut client = tiberius::Client::connect(config, socket).await.unwrap();
        {
            let running = client.simple_query(restore.as_str());
            let cut = tokio::time::timeout(std::time::Duration::from_millis(700), async {
                running.await?.into_results().await
            });
            assert!(cut.await.is_err(), "the restore takes a minute");
        }
        client.cancel_query().await.unwrap();
        let usable = client.simple_query("SELECT 1").await.unwrap().into_results().await.unwrap();
        assert_eq!(usable.len(), 1);
    } else {
        let answers = run(site.client, &site.target("L").patience_s(1), [restore.as_str(), "SELECT 1"]).await.unwrap();
        assert!(answers[0].is_err(), "{answers:?}");
        if let Ok(usable) = &answers[1] {
            assert_eq!(usable.value(), &json!(1));
        }
    }
    assert!(system_clock()() - before < 30_000);
    site.until("L", state, &["RESTORING"]).await;
    site.control.change(|world| world.options.restore_ms = 20).unwrap();
    site.expect("L", &[&restore], &[]).await;
}
