//! What holds at all times, over random worlds: statements, kills, cuts, quorum and time in any order. And: no text, however
//! broken, brings the parser down.

use std::collections::BTreeMap;

use baton_sqlserver::control::stage::Stage;
use baton_sqlserver::control::{GroupPlan, ReplicaPlan, WorldBuilder};
use baton_sqlserver::sql::parse;
use baton_sqlserver::world::database::Movement;
use baton_sqlserver::world::group::{Availability, ClusterType, FailoverMode, Role};
use baton_sqlserver::world::{Doubts, Life, Options, World};
use proptest::prelude::*;

const NOW: i64 = 1_795_230_000_000;
const INSTANCES: [&str; 3] = ["S1", "S2", "S3"];
const DATABASES: [&str; 2] = ["db1", "db2"];

#[derive(Debug, Clone)]
enum Happening {
    Pass(i64),
    Kill(usize),
    Start(usize),
    Hang(usize),
    Cut(usize, usize),
    Mend(usize, usize),
    Quorum(bool),
    FailOver(usize),
    Force(usize),
    Offline(usize),
    BecomeSecondary(usize),
    Suspend(usize, usize),
    Resume(usize, usize),
    Mode(usize, bool),
    Insert(usize, usize),
    SendLimit(usize, Option<u32>),
}

fn happening() -> impl Strategy<Value = Happening> {
    let one = 0..3_usize;
    let database = 0..2_usize;
    prop_oneof![
        6 => (1..3000_i64).prop_map(Happening::Pass),
        1 => one.clone().prop_map(Happening::Kill),
        3 => one.clone().prop_map(Happening::Start),
        1 => one.clone().prop_map(Happening::Hang),
        1 => (one.clone(), one.clone()).prop_map(|(a, b)| Happening::Cut(a, b)),
        2 => (one.clone(), one.clone()).prop_map(|(a, b)| Happening::Mend(a, b)),
        1 => any::<bool>().prop_map(Happening::Quorum),
        3 => one.clone().prop_map(Happening::FailOver),
        1 => one.clone().prop_map(Happening::Force),
        1 => one.clone().prop_map(Happening::Offline),
        1 => one.clone().prop_map(Happening::BecomeSecondary),
        1 => (one.clone(), database.clone()).prop_map(|(a, b)| Happening::Suspend(a, b)),
        3 => (one.clone(), database.clone()).prop_map(|(a, b)| Happening::Resume(a, b)),
        2 => (one.clone(), any::<bool>()).prop_map(|(a, b)| Happening::Mode(a, b)),
        5 => (one.clone(), database).prop_map(|(a, b)| Happening::Insert(a, b)),
        1 => (one, proptest::option::of(0..50_u32)).prop_map(|(a, b)| Happening::SendLimit(a, b)),
    ]
}

fn outage() -> impl Strategy<Value = Happening> {
    let one = 0..2_usize;
    prop_oneof![
        4 => (1..1500_i64).prop_map(Happening::Pass),
        2 => one.clone().prop_map(Happening::Kill),
        3 => one.clone().prop_map(Happening::Start),
        1 => one.clone().prop_map(Happening::Hang),
        3 => Just(Happening::Cut(0, 1)),
        1 => Just(Happening::Mend(0, 1)),
        2 => one.clone().prop_map(Happening::FailOver),
        6 => (one, 0..2_usize).prop_map(|(at, database)| Happening::Insert(at, database)),
    ]
}

fn stage(cluster: ClusterType, seed: u64, doubts: Doubts) -> Stage {
    let external = |name: &str, mode| ReplicaPlan::new(name, mode, FailoverMode::External);
    let replicas = match cluster {
        ClusterType::Wsfc => {
            vec![ReplicaPlan::automatic("S1"), ReplicaPlan::automatic("S2"), ReplicaPlan::asynchronous("S3")]
        }
        ClusterType::None => {
            vec![ReplicaPlan::synchronous("S1"), ReplicaPlan::synchronous("S2"), ReplicaPlan::asynchronous("S3")]
        }
        ClusterType::External => vec![
            external("S1", Availability::Synchronous),
            external("S2", Availability::Synchronous),
            external("S3", Availability::Asynchronous),
        ],
    };
    let mut builder = WorldBuilder::new().seed(seed).options(Options::quick()).doubts(doubts);
    for (at, name) in INSTANCES.iter().enumerate() {
        builder = builder.instance(name, &format!("127.0.0.1:{at}"), "x");
    }
    let databases = DATABASES.map(str::to_owned).to_vec();
    let group =
        GroupPlan { name: "ag1".into(), cluster, databases, replicas, listener: None, required_synchronized: 0 };
    let mut stage = Stage::new(builder.group(group).build(NOW));
    stage.world.options.load.insert("db2".into(), 20);
    for database in DATABASES {
        assert!(stage.ask("S1", &format!("CREATE TABLE {database}.dbo.t (id int NOT NULL PRIMARY KEY)")).succeeded());
    }
    stage.pass(1000);
    stage
}

/// What a run of happenings remembers.
#[derive(Default)]
struct Memory {
    next_row: i32,
    sequence: BTreeMap<String, u64>,
    /// Acknowledged rows, by database.
    acknowledged: BTreeMap<&'static str, Vec<i32>>,
    /// A force was sent, or a group that nobody minds had its primary demoted: rows may be lost.
    loss_allowed: bool,
}

fn happen(stage: &mut Stage, memory: &mut Memory, happening: &Happening) {
    let ask = |stage: &mut Stage, at: usize, text: &str| stage.ask(INSTANCES[at], text).succeeded();
    let context = "EXEC sp_set_session_context N'external_cluster', N'yes'; ";
    match happening {
        Happening::Pass(ms) => stage.pass(*ms),
        Happening::Kill(at) => stage.kill(INSTANCES[*at]),
        Happening::Start(at) => match stage.alive[INSTANCES[*at]] {
            Life::Dead => stage.start(INSTANCES[*at]),
            _ => {
                stage.alive.insert(INSTANCES[*at].to_owned(), Life::Running);
            }
        },
        Happening::Hang(at) => {
            if stage.alive[INSTANCES[*at]] == Life::Running {
                stage.alive.insert(INSTANCES[*at].to_owned(), Life::Hung);
            }
        }
        Happening::Cut(one, other) => stage.world.cut_link(INSTANCES[*one], INSTANCES[*other]),
        Happening::Mend(one, other) => stage.world.mend_link(INSTANCES[*one], INSTANCES[*other]),
        Happening::Quorum(lost) => {
            if let Some(cluster) = &mut stage.world.cluster {
                cluster.lost = *lost;
            }
        }
        Happening::FailOver(at) => {
            ask(stage, *at, &format!("{context}ALTER AVAILABILITY GROUP ag1 FAILOVER"));
        }
        Happening::Force(at) => {
            memory.loss_allowed = true;
            ask(stage, *at, &format!("{context}ALTER AVAILABILITY GROUP ag1 FORCE_FAILOVER_ALLOW_DATA_LOSS"));
        }
        Happening::Offline(at) => {
            ask(stage, *at, "ALTER AVAILABILITY GROUP ag1 OFFLINE");
        }
        Happening::BecomeSecondary(at) => {
            ask(stage, *at, "ALTER AVAILABILITY GROUP ag1 SET (ROLE = SECONDARY)");
        }
        Happening::Suspend(at, database) => {
            ask(stage, *at, &format!("ALTER DATABASE {} SET HADR SUSPEND", DATABASES[*database]));
        }
        Happening::Resume(at, database) => {
            ask(stage, *at, &format!("ALTER DATABASE {} SET HADR RESUME", DATABASES[*database]));
        }
        Happening::Mode(at, synchronous) => {
            let mode = if *synchronous { "SYNCHRONOUS_COMMIT" } else { "ASYNCHRONOUS_COMMIT" };
            for asked in 0..3 {
                let manual = "FAILOVER_MODE = MANUAL";
                let name = INSTANCES[*at];
                ask(stage, asked, &format!("ALTER AVAILABILITY GROUP ag1 MODIFY REPLICA ON N'{name}' WITH ({manual})"));
                ask(
                    stage,
                    asked,
                    &format!(
                        "ALTER AVAILABILITY GROUP ag1 MODIFY REPLICA ON N'{name}' WITH (AVAILABILITY_MODE = {mode})"
                    ),
                );
            }
        }
        Happening::Insert(at, database) => {
            memory.next_row += 1;
            let (row, name) = (memory.next_row, DATABASES[*database]);
            if ask(stage, *at, &format!("INSERT {name}.dbo.t VALUES ({row})")) {
                memory.acknowledged.entry(name).or_default().push(row);
            }
        }
        Happening::SendLimit(at, limit) => match limit {
            Some(limit) => {
                stage.world.send_limit.insert(INSTANCES[*at].to_owned(), *limit);
            }
            None => {
                stage.world.send_limit.remove(INSTANCES[*at]);
            }
        },
    }
}

fn rows(world: &World, instance: &str, database: &str) -> Vec<i32> {
    let copy = world.database(instance, database).expect("every instance has a copy");
    let tables = world.log_of(copy).tables(copy.fork, copy.end);
    let write = |row: &Vec<baton_sqlserver::answer::Value>| match row[..] {
        [baton_sqlserver::answer::Value::Int(id)] => id,
        _ => panic!("a row of one number: {row:?}"),
    };
    tables["t"].rows.values().map(write).collect()
}

fn check(stage: &Stage, memory: &mut Memory, cluster: ClusterType) {
    let world = &stage.world;
    let group = &world.groups["ag1"];
    let primaries: Vec<&String> =
        group.replicas.iter().filter(|(_, replica)| replica.leads()).map(|(name, _)| name).collect();
    if cluster == ClusterType::Wsfc {
        let running: Vec<_> = primaries.iter().filter(|name| world.runs(&stage.alive, name)).collect();
        assert!(running.len() <= 1, "one cluster, primaries {running:?}");
    }
    for (name, replica) in &group.replicas {
        let sequence = replica.known.sequence;
        let before = memory.sequence.insert(name.clone(), sequence).unwrap_or(0);
        assert!(sequence >= before, "{name}: sequence_number fell from {before} to {sequence}");
        for database in DATABASES {
            let copy = world.database(name, database).expect("every instance has a copy");
            let hadr = copy.hadr.as_ref().expect("nobody leaves the group here");
            assert!(copy.redone <= copy.end, "{name}.{database}: redone beyond hardened");
            assert!(hadr.recovery <= copy.end, "{name}.{database}: recovery_lsn above what is hardened");
            assert!(hadr.suspended.is_none() || hadr.movement.code() == 0, "{name}.{database}: suspended and moving");
            let asynchronous =
                replica.known.members.get(name).is_some_and(|member| member.availability == Availability::Asynchronous);
            if replica.role == Role::Secondary
                && hadr.movement == Movement::Synchronized
                && world.runs(&stage.alive, name)
            {
                assert!(!asynchronous || !same_view(world, name), "{name}.{database}: asynchronous and SYNCHRONIZED");
                let session = replica.primary.as_ref().and_then(|primary| replica.sessions.get(primary));
                assert!(
                    session.is_some_and(|session| session.connected),
                    "{name}.{database}: SYNCHRONIZED with nobody"
                );
            }
            let log = world.log_of(copy);
            assert!(copy.end <= log.end(copy.fork), "{name}.{database}: beyond the end of its own fork");
        }
    }
    if memory.loss_allowed {
        return;
    }
    // Whoever leads, without a force: every acknowledged row is there.
    for primary in primaries {
        for (database, acknowledged) in &memory.acknowledged {
            let held = rows(world, primary, database);
            let lost: Vec<_> = acknowledged.iter().filter(|row| !held.contains(row)).collect();
            assert!(lost.is_empty() || !newest(world, primary), "{primary}.{database} lost {lost:?} without a force");
        }
    }
}

/// The replica knows what the primary last decided.
fn same_view(world: &World, instance: &str) -> bool {
    let group = &world.groups["ag1"];
    let newest = group.replicas.values().map(|replica| replica.known.sequence).max();
    Some(group.replicas[instance].known.sequence) == newest
}

/// Nobody else was promoted after it.
fn newest(world: &World, instance: &str) -> bool {
    let group = &world.groups["ag1"];
    let epoch = |name: &str| group.replicas[name].known.sequence >> 32;
    let dead_or_old = |name: &String| epoch(name) <= epoch(instance);
    group.replicas.keys().all(dead_or_old)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_cluster_keeps_its_promises(
        seed in any::<u64>(),
        other_way in any::<bool>(),
        happenings in proptest::collection::vec(happening(), 1..60),
    ) {
        let doubts = if other_way { Doubts::opposite() } else { Doubts::default() };
        let mut stage = stage(ClusterType::Wsfc, seed, doubts);
        let mut memory = Memory::default();
        for one in &happenings {
            happen(&mut stage, &mut memory, one);
            check(&stage, &mut memory, ClusterType::Wsfc);
        }
    }

    /// The shape of an outage: rows written while links fail and primaries die, and nobody forces anything.
    #[test]
    fn what_was_acknowledged_survives_every_failover_that_nobody_forced(
        seed in any::<u64>(),
        happenings in proptest::collection::vec(outage(), 5..60),
    ) {
        let mut stage = stage(ClusterType::Wsfc, seed, Doubts::default());
        let mut memory = Memory::default();
        for one in &happenings {
            happen(&mut stage, &mut memory, one);
            check(&stage, &mut memory, ClusterType::Wsfc);
        }
    }

    #[test]
    fn groups_without_a_cluster_keep_theirs(
        seed in any::<u64>(),
        external in any::<bool>(),
        other_way in any::<bool>(),
        happenings in proptest::collection::vec(happening(), 1..60),
    ) {
        let doubts = if other_way { Doubts::opposite() } else { Doubts::default() };
        let cluster = if external { ClusterType::External } else { ClusterType::None };
        let mut stage = stage(cluster, seed, doubts);
        // What a planned failover of an external group loses is its manager's business, which is not here.
        let mut memory = Memory { loss_allowed: external, ..Memory::default() };
        for one in &happenings {
            happen(&mut stage, &mut memory, one);
            check(&stage, &mut memory, cluster);
        }
    }

    #[test]
    fn the_same_seed_and_the_same_happenings_give_the_same_world(
        seed in any::<u64>(),
        happenings in proptest::collection::vec(happening(), 1..25),
    ) {
        let play = || {
            let mut stage = stage(ClusterType::Wsfc, seed, Doubts::default());
            let mut memory = Memory::default();
            for one in &happenings {
                happen(&mut stage, &mut memory, one);
            }
            stage.world
        };
        prop_assert!(play() == play());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_brings_the_parser_down(text in ".{0,200}") {
        let _ = parse::batch(&text);
    }

    #[test]
    fn no_bytes_bring_the_parser_down(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse::batch(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_heap_of_words_brings_parser_or_engine_down(words in proptest::collection::vec(word(), 0..40)) {
        let text = words.join(" ");
        if parse::batch(&text).is_ok() {
            let world = WorldBuilder::new().instance("S1", "127.0.0.1:1", "x").build(NOW);
            let mut stage = Stage::new(world);
            let _ = stage.ask("S1", &text);
        }
    }
}

fn word() -> impl Strategy<Value = String> {
    let words = [
        "SELECT",
        "*",
        "FROM",
        "sys.databases",
        "WHERE",
        "name",
        "=",
        "N'a'",
        "(",
        ")",
        ",",
        "1",
        "-",
        "NULL",
        "IS",
        "NOT",
        "JOIN",
        "ON",
        "GROUP",
        "BY",
        "ORDER",
        "COUNT(*)",
        "MAX(name)",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "BEGIN",
        "TRY",
        "CATCH",
        "IF",
        "ALTER",
        "AVAILABILITY",
        "DATABASE",
        "SET",
        "HADR",
        "RESUME",
        "RESTORE",
        "LOG",
        "BACKUP",
        "KILL",
        "51",
        "EXEC",
        "sp_who2",
        "DECLARE",
        "@x",
        "int",
        "INSERT",
        "VALUES",
        "UPDATE",
        "DELETE",
        "TOP",
        "UNION",
        "ALL",
        "LIKE",
        "%",
        "CAST(1 AS bit)",
        "[",
        "'",
        "/*",
        "--",
        ";",
        "USE",
        "msdb",
        "dbo",
        ".",
        "PRINT",
        "@@SPID",
        "0x1F",
        "1e5",
        "WITH",
        "AS",
        "9999999999999999999999999999",
        "DATEDIFF(second, 1, 2)",
        "SUBSTRING('a', 1, 99)",
        "REPLICATE('a', 2)",
        "+",
        "/",
        "AND",
        "CREATE",
        "TABLE",
        "t",
        "id",
        "IDENTITY",
        "DEFAULT",
        "COMMIT",
        "ROLLBACK",
        "TRAN",
        "TRUNCATE",
        "DROP",
        "OR",
        "IN",
    ];
    proptest::sample::select(words.to_vec()).prop_map(str::to_owned)
}
