//! The lab's machines judged by themselves: services are processes, effects are counted by them, SQL Server is one of them.

use std::{os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use baton_lab::{
    horizon::{self, Network},
    machine::{Fleet, Need, Service},
    sqlserver::{self, Endpoint, GroupPlan, Instances, ReplicaPlan, WorldBuilder, Writer, world},
};

const WITHIN: Duration = Duration::from_secs(30);
const PASSWORD: &str = "a Password 1";

fn folder() -> tempfile::TempDir {
    let open = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().prefix("baton-machines-").permissions(open).tempdir().expect("a folder")
}

fn fleet(directory: &Path) -> Fleet {
    baton_platform::tls::install_crypto_provider();
    let helper = horizon::helper().expect("cargo builds baton-lab before this test");
    Fleet::build(&directory.join("world"), Network::claim_any().expect("addresses"), helper).expect("a fleet")
}

fn counted(fleet: &Fleet, machine: &str) -> Vec<String> {
    let effects = fleet.effects(machine).expect("effects");
    effects.into_iter().map(|effect| format!("{} {}", effect.what, effect.verb)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_counts_its_own_starts_and_its_parts_are_asked_like_services() {
    let directory = folder();
    let mut fleet = fleet(directory.path());
    let pom = Service::application("POM", 8080).with_parts(&["director", "manager"], 50);
    fleet.add("pom1", 1, &[pom]).expect("a machine");
    let stopped = fleet.service("pom1", "POM", "status").await.expect_err("it does not run");
    assert!(stopped.to_string().contains("exit status: 3"), "{stopped:#}");

    // Two at once are one.
    let (one, two) = tokio::join!(fleet.service("pom1", "POM", "start"), fleet.service("pom1", "POM", "start"));
    one.expect("started");
    two.expect("running");
    assert_eq!(fleet.healthy("pom1", 8080, WITHIN).await.expect("healthy"), "POM works");
    fleet.service("pom1", "manager", "status").await.expect("a part is up");
    let refused = fleet.service("pom1", "manager", "start").await.expect_err("a part is not started alone");
    assert!(refused.to_string().contains("exit status: 5"), "{refused:#}");
    let unknown = fleet.service("pom1", "nobody", "status").await.expect_err("nobody");
    assert!(unknown.to_string().contains("exit status: 4"), "{unknown:#}");

    assert!(fleet.kill("pom1", "POM").expect("killed"));
    let dead = fleet.service("pom1", "POM", "status").await.expect_err("it is dead");
    assert!(dead.to_string().contains("exit status: 1"), "{dead:#}");
    assert!(fleet.service("pom1", "manager", "status").await.is_err());
    fleet.service("pom1", "POM", "start").await.expect("started again");
    fleet.service("pom1", "POM", "stop").await.expect("stopped");
    fleet.service("pom1", "POM", "stop").await.expect("stopped already");
    let part = fleet.service("pom1", "manager", "status").await.expect_err("it went with the whole");
    assert!(part.to_string().contains("exit status: 3"), "{part:#}");
    // Who of the two came first to the record is nobody's business.
    let mut counts = counted(&fleet, "pom1");
    counts[..2].sort();
    assert_eq!(counts, ["POM start", "POM start-again", "POM start", "POM stop", "POM stop-again"]);

    fleet.service("pom1", "POM", "start").await.expect("started");
    let helper = horizon::helper().expect("cargo builds baton-lab before this test");
    let process = fleet.process("pom1", "POM").expect("it runs");
    drop(fleet);
    assert!(!process.alive(), "the world is swept");
    // The place is free for a successor.
    Fleet::build(&directory.path().join("world"), Network::claim_any().expect("addresses"), helper).expect("a fleet");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_server_is_a_service_and_what_needs_it_is_healthy_only_where_it_can_write() {
    let directory = folder();
    let mut fleet = fleet(directory.path());
    let network = fleet.network();
    let address = |host: u8| std::net::SocketAddr::from((network.address(host), sqlserver::PORT));
    let (one, two) = (address(1), address(2));
    let plan = WorldBuilder::new()
        .options(world::Options::quick())
        .instance("SQL1", &one.to_string(), PASSWORD)
        .instance("SQL2", &two.to_string(), PASSWORD)
        .group(GroupPlan {
            name: "ag".to_owned(),
            cluster: world::group::ClusterType::Wsfc,
            databases: vec!["pom".to_owned()],
            replicas: vec![ReplicaPlan::synchronous("SQL1"), ReplicaPlan::synchronous("SQL2")],
            listener: None,
            required_synchronized: 0,
        });
    let instances = Instances::create(&directory.path().join("sql"), &plan).expect("instances");
    fleet.add("db1", 1, &[instances.service("SQL1")]).expect("db1");
    fleet.add("db2", 2, &[instances.service("SQL2")]).expect("db2");
    let need = Need::Writable {
        any_of: vec![one, two],
        database: "pom".to_owned(),
        user: "sa".to_owned(),
        password: PASSWORD.to_owned(),
    };
    fleet.add("app", 3, &[Service::application("app", 8080).needs(need)]).expect("app");
    for machine in ["db1", "db2"] {
        fleet.service(machine, sqlserver::SERVICE, "start").await.expect("started");
    }
    fleet.service("app", "app", "start").await.expect("started");
    let works = fleet.healthy("app", 8080, WITHIN).await.expect("healthy");
    assert!(works.contains(&one.to_string()), "{works}");

    let endpoint = |address, database: &str| Endpoint {
        address,
        database: database.to_owned(),
        user: "sa".to_owned(),
        password: PASSWORD.to_owned(),
    };
    sqlserver::writer::prepare(&endpoint(one, "pom")).await.expect("a table");
    let writer = Writer::start(vec![endpoint(one, "pom"), endpoint(two, "pom")], Duration::from_millis(5));
    writer.has_written(10, WITHIN).await.expect("written");
    let mut session = endpoint(two, "master").connect().await.expect("a session");
    session.run("ALTER AVAILABILITY GROUP [ag] FAILOVER").await.expect("failed over");
    writer.has_written(10, WITHIN).await.expect("written to the new primary");
    let works = fleet.healthy("app", 8080, WITHIN).await.expect("healthy");
    assert!(works.contains(&two.to_string()), "{works}");
    let record = writer.stop().await;
    let there = sqlserver::writer::hardened(instances.control(), "SQL2", "pom").expect("rows");
    let lost: Vec<_> = record.acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "a planned failover lost {lost:?}");
    assert_eq!(instances.asked("SQL2", "availability group [ag] failover").len(), 1);

    assert!(fleet.kill("db2", sqlserver::SERVICE).expect("killed"));
    let (status, body) = fleet.health("app", 8080, "").await.expect("it answers");
    assert_eq!(status, 503, "{body}");
    fleet.service("db2", sqlserver::SERVICE, "start").await.expect("started again");
    fleet.healthy("app", 8080, WITHIN).await.expect("healthy again");
    fleet.service("db2", sqlserver::SERVICE, "stop").await.expect("stopped");
    assert_eq!(counted(&fleet, "db2"), ["mssqlserver start", "mssqlserver start", "mssqlserver stop"]);
}
