//! What queries understand, and what they refuse.

use crate::wsfc;

#[test]
fn the_fact_sheets_own_queries_run() {
    let mut stage = wsfc();
    let state = "DECLARE @P1 sysname = N'ag1';
        SELECT ag.name, ag.cluster_type_desc, ag.sequence_number, ag.required_synchronized_secondaries_to_commit,
               ar.replica_server_name, ar.availability_mode, ar.failover_mode,
               rs.role, rs.operational_state, rs.connected_state, rs.synchronization_health, gs.primary_replica
        FROM sys.availability_groups AS ag
        JOIN sys.dm_hadr_availability_replica_states AS rs ON rs.group_id = ag.group_id AND rs.is_local = 1
        JOIN sys.availability_replicas AS ar ON ar.replica_id = rs.replica_id
        LEFT JOIN sys.dm_hadr_availability_group_states AS gs ON gs.group_id = ag.group_id
        WHERE ag.name = @P1;";
    assert_eq!(stage.ask("S2", state).lines(), ["ag1 wsfc 4294967297 0 S2 1 0 2 2 1 2 S1"]);
    let loss = "SELECT ar.replica_server_name, adc.database_name, s.is_suspended, cs.is_failover_ready,
               CASE WHEN cs.is_failover_ready = 1 THEN 0
                    ELSE DATEDIFF(second, s.last_commit_time, p.last_commit_time) END AS est_loss_seconds,
               s.log_send_queue_size AS unsent_kb
        FROM sys.dm_hadr_database_replica_states AS p
        JOIN sys.dm_hadr_database_replica_states AS s
             ON s.group_database_id = p.group_database_id AND s.is_primary_replica = 0
        JOIN sys.availability_replicas AS ar ON ar.replica_id = s.replica_id
        JOIN sys.availability_databases_cluster AS adc ON adc.group_database_id = s.group_database_id
        JOIN sys.dm_hadr_database_replica_cluster_states AS cs
             ON cs.replica_id = s.replica_id AND cs.group_database_id = s.group_database_id
        WHERE p.is_local = 1 AND p.is_primary_replica = 1 ORDER BY 1, 2;";
    assert_eq!(stage.ask("S1", loss).lines(), ["S2 db1 0 1 0 0", "S2 db2 0 1 0 0", "S3 db1 0 0 0 0", "S3 db2 0 0 0 0"]);
}

#[test]
fn the_unknown_is_an_error() {
    let mut stage = wsfc();
    for (text, number) in [
        ("SELECT * FROM sys.dm_os_wait_stats", 208),
        ("SELECT nothing FROM sys.databases", 207),
        ("SELECT x.name FROM sys.databases d", 4104),
        ("SELECT name FROM sys.databases a JOIN sys.availability_groups b ON 1 = 1", 209),
        ("SELECT FROBNICATE(1)", 195),
        ("EXEC sp_frobnicate", 2812),
        ("SELECT @nothing", 137),
        ("FROBNICATE", 102),
        ("SET FROBNICATION ON", 195),
        ("SELECT name, COUNT(*) FROM sys.databases", 8120),
        ("SELECT 1/0", 8134),
        ("USE nowhere", 911),
        ("BEGIN TRAN; ALTER AVAILABILITY GROUP ag1 FAILOVER", 574),
        ("USE db1; ALTER AVAILABILITY GROUP ag1 FAILOVER", 35208),
        ("ALTER AVAILABILITY GROUP agX FAILOVER", 15151),
        ("KILL 9999", 6106),
        ("KILL 1", 6107),
    ] {
        assert_eq!(stage.ask("S1", text).errors(), [number], "{text}");
    }
}

#[test]
fn programs_have_variables_branches_and_handlers() {
    let mut stage = wsfc();
    let answer = |stage: &mut baton_sqlserver::control::stage::Stage, text: &str| stage.ask("S1", text).lines();
    assert_eq!(
        answer(
            &mut stage,
            "DECLARE @n int = 3, @s nvarchar(50) = N''; WHILE @n > 0 BEGIN SET @s = @s + CAST(@n AS nvarchar(5)); SET @n = @n - 1 END SELECT @s"
        ),
        ["321"]
    );
    assert_eq!(
        answer(&mut stage, "BEGIN TRY SELECT 1/0 END TRY BEGIN CATCH SELECT ERROR_NUMBER(), ERROR_MESSAGE() END CATCH"),
        ["8134 Divide by zero error encountered."]
    );
    assert_eq!(
        answer(&mut stage, "EXEC sp_executesql N'SELECT @a + @b AS c', N'@a int, @b int', @a = 4, @b = 5"),
        ["9"]
    );
    assert_eq!(
        answer(
            &mut stage,
            "WITH x AS (SELECT name, database_id FROM sys.databases) SELECT TOP (2) name FROM x ORDER BY database_id DESC"
        ),
        ["db2", "db1"]
    );
    assert_eq!(
        answer(&mut stage, "SELECT v.a, COUNT(*) FROM (VALUES (1),(2),(1)) v(a) GROUP BY v.a HAVING COUNT(*) > 1"),
        ["1 2"]
    );
    assert_eq!(
        answer(
            &mut stage,
            "SELECT r.replica_server_name FROM sys.availability_replicas r WHERE NOT EXISTS (SELECT 1 FROM sys.availability_replicas o WHERE o.replica_server_name > r.replica_server_name)"
        ),
        ["S3"]
    );
    assert_eq!(
        answer(
            &mut stage,
            "SELECT @@SERVERNAME, @@TRANCOUNT, SERVERPROPERTY('IsHadrEnabled'), IS_SRVROLEMEMBER('sysadmin'), sys.fn_hadr_is_primary_replica(N'db1'), DB_NAME()"
        ),
        ["S1 0 1 1 1 master"]
    );
}

#[test]
fn transactions_show_their_rows_to_themselves_first() {
    let mut stage = wsfc();
    assert!(
        stage
            .ask("S1", "USE db1; CREATE TABLE t (id int PRIMARY KEY, at datetime DEFAULT GETUTCDATE(), n int IDENTITY)")
            .succeeded()
    );
    let one = stage.log_in("S1");
    assert!(stage.run("S1", one, "USE db1; BEGIN TRAN; INSERT t (id) VALUES (1), (2)").succeeded());
    assert_eq!(stage.run("S1", one, "SELECT COUNT(*), MAX(n) FROM t").lines(), ["2 2"]);
    assert_eq!(stage.ask("S1", "SELECT COUNT(*) FROM db1.dbo.t").lines(), ["0"]);
    assert!(stage.run("S1", one, "COMMIT").succeeded());
    assert_eq!(stage.ask("S1", "SELECT COUNT(*) FROM db1.dbo.t").lines(), ["2"]);
    assert_eq!(stage.ask("S1", "INSERT db1.dbo.t (id) VALUES (2)").errors(), [2627]);
    assert!(
        stage.ask("S1", "UPDATE db1.dbo.t SET id = id + 10 WHERE id = 2; DELETE db1.dbo.t WHERE id = 1").succeeded()
    );
    assert_eq!(stage.ask("S1", "SELECT id FROM db1.dbo.t").lines(), ["12"]);
    assert_eq!(stage.ask("S1", "ROLLBACK").errors(), [3903]);
}

#[test]
fn rights_are_asked_for() {
    let mut stage = wsfc();
    let nobody = stage.log_in_as("S1", "nobody");
    assert_eq!(stage.run("S1", nobody, "SELECT * FROM sys.dm_hadr_availability_replica_states").errors(), [300, 297]);
    assert_eq!(stage.run("S1", nobody, "SELECT * FROM sys.availability_groups").rows().len(), 0);
    assert_eq!(stage.run("S1", nobody, "ALTER AVAILABILITY GROUP ag1 FAILOVER").errors(), [15151]);
    assert_eq!(stage.run("S1", nobody, "KILL 51").errors(), [6102]);
    assert_eq!(stage.run("S1", nobody, "ALTER DATABASE db1 SET HADR SUSPEND").errors(), [5011, 5069]);
    let watcher = stage.log_in_as("S1", "watcher");
    assert_eq!(stage.run("S1", watcher, "SELECT COUNT(*) FROM sys.dm_hadr_availability_replica_states").lines(), ["3"]);
}
