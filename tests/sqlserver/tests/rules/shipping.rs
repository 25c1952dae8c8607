//! Backups, restores, log chains, log shipping.

use crate::NOW;
use baton_sqlserver::control::stage::Stage;
use baton_sqlserver::control::{Shipping, ShippingJob, WorldBuilder, run_job};
use baton_sqlserver::world::Options;
use tempfile::TempDir;

fn shipped(standby: bool) -> (TempDir, Stage) {
    let dir = tempfile::tempdir().expect("a directory");
    let place = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let world = WorldBuilder::new()
        .options(Options::quick())
        .instance("P", "127.0.0.1:11", "secret")
        .instance("L", "127.0.0.1:12", "secret")
        .shipping(Shipping {
            primary: "P".into(),
            secondary: "L".into(),
            database: "mgc".into(),
            share: place("share"),
            destination: place("copied"),
            standby,
        })
        .build(NOW);
    (dir, Stage::new(world))
}

/// Five log backups, each with a row of its own; their files.
fn five(stage: &mut Stage) -> Vec<String> {
    assert!(stage.ask("P", "CREATE TABLE mgc.dbo.t (id int)").succeeded());
    for id in 1..=5 {
        assert!(stage.ask("P", &format!("INSERT mgc.dbo.t VALUES ({id})")).succeeded());
        stage.pass(1000);
        run_job(&mut stage.world, "P", "mgc", ShippingJob::Backup).expect("the backup job runs");
    }
    stage.ask("P", "SELECT m.physical_device_name FROM msdb.dbo.backupset b JOIN msdb.dbo.backupmediafamily m ON m.media_set_id = b.media_set_id WHERE b.type = 'L' ORDER BY b.first_lsn").lines()
}

#[test]
fn the_jobs_carry_every_row_across() {
    let (_dir, mut stage) = shipped(false);
    five(&mut stage);
    assert_eq!(stage.ask("L", "SELECT state_desc FROM sys.databases WHERE name = 'mgc'").lines(), ["RESTORING"]);
    assert!(stage.ask("L", "EXEC msdb.dbo.sp_start_job @job_name = N'LSCopy_P_mgc'").succeeded());
    assert!(stage.ask("L", "EXEC msdb.dbo.sp_start_job N'LSRestore_P_mgc'").succeeded());
    assert!(stage.ask("L", "RESTORE DATABASE mgc WITH RECOVERY").succeeded());
    assert_eq!(stage.ask("L", "SELECT id FROM mgc.dbo.t").lines(), ["1", "2", "3", "4", "5"]);
    assert_eq!(stage.ask("L", "SELECT status FROM (SELECT session_status AS status FROM msdb.dbo.log_shipping_monitor_history_detail) x").lines(), ["2", "2"]);
}

#[test]
fn a_log_applies_by_its_lsns() {
    let (dir, mut stage) = shipped(false);
    let files = five(&mut stage);
    assert_eq!(files.len(), 5);
    let restore = |file: &str| format!("RESTORE LOG [mgc] FROM DISK = N'{file}' WITH NORECOVERY");
    assert_eq!(stage.ask("L", &restore(&files[1])).errors(), [4305, 3013]);
    assert!(stage.ask("L", &restore(&files[0])).succeeded());
    assert_eq!(stage.ask("L", &restore(&files[0])).errors(), [4326, 3013]);
    assert_eq!(stage.ask("L", &restore("/nowhere/x.trn")).errors(), [3201, 3013]);
    let half = dir.path().join("half.trn");
    let whole = std::fs::read(&files[1]).expect("the backup is there");
    std::fs::write(&half, &whole[..whole.len() / 2]).expect("half a backup");
    assert_eq!(stage.ask("L", &restore(&half.to_string_lossy())).errors(), [3241, 3013]);
    for file in &files[1..] {
        let outcome = stage.ask("L", &restore(file));
        assert!(outcome.succeeded());
        assert!(outcome.messages().iter().any(|message| message.number == 3014 && message.class == 0));
    }
    let applied = "SELECT COUNT(*) FROM msdb.dbo.restorehistory r JOIN msdb.dbo.backupset b ON b.backup_set_id = r.backup_set_id WHERE r.destination_database_name = 'mgc' AND r.restore_type = 'L'";
    assert_eq!(stage.ask("L", applied).lines(), ["5"]);
    let first = stage.ask("L", &format!("RESTORE HEADERONLY FROM DISK = N'{}'", files[2])).lines();
    let second = stage.ask("L", &format!("RESTORE HEADERONLY FROM DISK = N'{}'", files[3])).lines();
    let field = |line: &[String], at: usize| line[0].split(' ').nth(at).map(str::to_owned);
    assert_eq!(field(&first, 15), field(&second, 14), "{first:?} {second:?}");
}

#[test]
fn recovery_ends_the_chain_and_the_metadata_can_be_deleted_once() {
    let (_dir, mut stage) = shipped(false);
    let files = five(&mut stage);
    let single = "ALTER DATABASE [mgc] SET SINGLE_USER WITH ROLLBACK IMMEDIATE";
    assert_eq!(stage.ask("L", single).errors(), [5052, 5069]);
    assert_eq!(stage.ask("L", "USE mgc").errors(), [927]);
    assert!(stage.ask("L", "RESTORE DATABASE [mgc] WITH RECOVERY").succeeded());
    assert_eq!(stage.ask("L", "RESTORE DATABASE [mgc] WITH RECOVERY").errors(), [3153, 3013]);
    let log = format!("RESTORE LOG [mgc] FROM DISK = N'{}' WITH NORECOVERY", files[0]);
    assert_eq!(stage.ask("L", &log).errors(), [3117, 3013]);
    assert_eq!(
        stage.ask("L", "EXEC sp_help_log_shipping_secondary_database @secondary_database = N'mgc'").rows().len(),
        1
    );
    assert!(stage.ask("L", "EXEC sp_delete_log_shipping_secondary_database mgc").succeeded());
    assert_eq!(
        stage
            .ask("L", "EXEC master.dbo.sp_delete_log_shipping_secondary_database @secondary_database = N'mgc'")
            .errors(),
        [32014]
    );
    assert_eq!(stage.ask("L", "SELECT * FROM msdb.dbo.log_shipping_secondary").rows().len(), 0);
    assert_eq!(stage.ask("L", "SELECT * FROM msdb.dbo.sysjobs").rows().len(), 0);
}

#[test]
fn a_standby_database_is_read_and_its_readers_stand_in_the_way() {
    let (dir, mut stage) = shipped(true);
    let files = five(&mut stage);
    let undo = dir.path().join("undo.tuf");
    let restore = |file: &str| format!("RESTORE LOG mgc FROM DISK = N'{file}' WITH STANDBY = N'{}'", undo.display());
    assert!(stage.ask("L", &restore(&files[0])).succeeded());
    let reader = stage.log_in("L");
    assert!(stage.run("L", reader, "USE mgc").succeeded());
    assert_eq!(stage.run("L", reader, "SELECT id FROM t").lines(), ["1"]);
    assert_eq!(stage.run("L", reader, "INSERT t VALUES (9)").errors(), [3906]);
    assert_eq!(stage.run("L", reader, &restore(&files[1])).errors(), [3102, 3013]);
    assert_eq!(stage.ask("L", &restore(&files[1])).errors(), [3101, 3013]);
    assert_eq!(stage.ask("L", &format!("KILL {reader}")).errors(), [0; 0]);
    assert!(stage.run("L", reader, "SELECT 1").unfinished);
    assert!(stage.ask("L", &restore(&files[1])).succeeded());
    assert_eq!(
        stage.ask("L", "SELECT is_in_standby, state, is_read_only FROM sys.databases WHERE name = N'MGC'").lines(),
        ["1 0 1"]
    );
    assert_eq!(stage.ask("L", "ALTER DATABASE mgc SET READ_WRITE").errors(), [5063, 5069]);
}

#[test]
fn the_tail_of_the_log_closes_the_primary_and_opens_it_again() {
    let (dir, mut stage) = shipped(false);
    assert!(stage.ask("P", "CREATE TABLE mgc.dbo.t (id int); INSERT mgc.dbo.t VALUES (1)").succeeded());
    let tail = dir.path().join("tail.trn").display().to_string();
    assert!(stage.ask("P", &format!("BACKUP LOG mgc TO DISK = N'{tail}' WITH NORECOVERY, STATS = 10")).succeeded());
    assert_eq!(stage.ask("P", "USE mgc").errors(), [927]);
    assert!(stage.ask("L", &format!("RESTORE LOG mgc FROM DISK = N'{tail}' WITH RECOVERY")).succeeded());
    assert_eq!(stage.ask("L", "SELECT id FROM mgc.dbo.t").lines(), ["1"]);
    assert!(stage.ask("L", "INSERT mgc.dbo.t VALUES (2)").succeeded());
    let full = dir.path().join("full.bak").display().to_string();
    assert!(stage.ask("L", &format!("BACKUP DATABASE mgc TO DISK = N'{full}'")).succeeded());
    assert!(stage.ask("P", &format!("RESTORE DATABASE mgc FROM DISK = N'{full}' WITH REPLACE, RECOVERY")).succeeded());
    assert_eq!(stage.ask("P", "SELECT id FROM mgc.dbo.t").lines(), ["1", "2"]);
    // The chain of the other recovery path does not apply any more.
    assert_eq!(stage.ask("P", "BACKUP LOG model TO DISK = N'/tmp/never.trn'").errors(), [4208, 3013]);
}
