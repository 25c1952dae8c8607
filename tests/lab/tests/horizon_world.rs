//! The world of the lab `horizon-daas` itself, without Baton: real servers come up, replicate, crash, return and
//! leave nothing behind. If this is not so, nothing that the lab says about Baton means anything.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use baton_lab::{
    horizon::{
        self, Database, Error, Network, Options, Organization, Side, World,
        appliance::Service,
        power::Boot,
        verification::{self, Role},
    },
    ledger::{self, Ledger, Outcome, Target, Writer, writer},
    packages,
    processes::{self, ProcessId, registry, table},
};
use rustix::process::Signal;

/// How long anything here may take that is expected to happen.
/// A slon that saw its provider die sleeps sixty seconds before it looks again.
const WITHIN: Duration = Duration::from_secs(180);

fn directory() -> tempfile::TempDir {
    // Open to user postgres, who runs the servers.
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap()
}

async fn options(directory: &Path) -> Options {
    let programs = packages::ensure(&packages::HORIZON, |line| eprintln!("{line}")).await.unwrap();
    let helper = horizon::helper().expect("cargo builds the program before its tests");
    Options::new(directory.join("world"), Network::claim_any().unwrap(), programs, helper)
}

/// The service provider alone, with its servers and slons: what most tests need, in half the time.
async fn small(directory: &Path) -> Options {
    Options { tenant: false, boot: Boot::SERVER, thousands: 2, ..options(directory).await }
}

/// Processes that have to do with the directory in any way, found without the lab's registry.
fn traces(directory: &Path) -> Vec<String> {
    let word = directory.display().to_string();
    let own = table::ancestry();
    let touches = |process: &processes::Process| {
        process.command.iter().any(|argument| argument.contains(&word))
            || process.environment().iter().any(|variable| variable.contains(&word))
            || process.directory.as_ref().is_some_and(|here| here.starts_with(directory))
    };
    table::all()
        .iter()
        .filter(|process| !own.contains(&process.id.pid) && touches(process))
        .map(ToString::to_string)
        .collect()
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < WITHIN, "not so after {WITHIN:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn target(world: &World, organization: Organization, database: Database) -> Target {
    let primary = world.appliance(organization, Side::A);
    Target {
        place: format!("{organization:?}/{database}"),
        writer: format!("{organization:?}-{database}"),
        primary: writer::fixed(world.application(primary, database)),
        pause: Duration::from_millis(10),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_comes_up_replicating_and_leaves_nothing_behind() {
    let directory = directory();
    let world = World::build(options(directory.path()).await).await.unwrap();
    eprintln!("{:?}", world.timings());

    // Everything that is written arrives, in all four databases at once.
    let ledger = Ledger::open(&directory.path().join("ledger")).unwrap();
    let start = |pair: &horizon::replication::Pair<'_>| {
        Writer::start(&ledger, target(&world, pair.origin.organization, pair.database))
    };
    let writers: Vec<Writer> = world.pairs().iter().map(start).collect();
    assert_eq!(writers.len(), 4);
    until("each writer has 50 commits", async || writers.iter().all(|writer| writer.tally().acknowledged >= 50)).await;
    for writer in writers {
        writer.stop().await.unwrap();
    }
    let entries = ledger.entries().unwrap();
    for pair in world.pairs() {
        world.catch_up(&pair).await.unwrap();
        let subscriber = world.superuser(pair.subscriber, pair.database);
        let place = format!("{:?}/{}", pair.origin.organization, pair.database);
        let compared = ledger::compare(&entries, &place, &subscriber).await.unwrap();
        assert!(compared.is_exact(), "{place}: {}", compared.summary());
        assert!(compared.acknowledged >= 50, "{place}: {}", compared.summary());
        let origin = world.superuser(pair.origin, pair.database);
        let (one, two) = tokio::join!(verification::contents(&origin), verification::contents(&subscriber));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one, two, "{place}");
        assert!(one.len() >= 6, "{place} has tables");
        world.verify(pair.origin, pair.subscriber, pair.database).await.unwrap();
        // The wrong way round it must not pass.
        let wrong = world.verify(pair.subscriber, pair.origin, pair.database).await;
        assert!(matches!(wrong, Err(Error::NotReplicating { .. })), "{wrong:?}");
    }

    // The services write to A, on both sides, and were started once each.
    for appliance in world.appliances() {
        for service in Service::ALL {
            let says = world.ready(appliance, service, WITHIN).await.unwrap();
            let primary = world.appliance(appliance.organization, Side::A).server().to_string();
            assert!(says.contains(&primary), "{}: {says}", appliance.name);
            world.service(appliance, service, "start").await.unwrap();
            let verbs: Vec<String> = world
                .effects(appliance)
                .unwrap()
                .into_iter()
                .filter(|effect| effect.what == service.name())
                .map(|effect| effect.verb)
                .collect();
            assert_eq!(verbs, ["start", "start-again"], "{} of {}", service.name(), appliance.name);
        }
    }

    // Many processes run, and none does afterwards.
    assert!(traces(directory.path()).len() > 40);
    world.tear_down().unwrap();
    assert_eq!(traces(directory.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_names_the_rows_that_a_crash_took_along() {
    let directory = directory();
    let world = World::build(small(directory.path()).await).await.unwrap();
    let (a, b) = (world.appliance(Organization::Provider, Side::A), world.appliance(Organization::Provider, Side::B));
    let pair = world.pairs().remove(0);
    let ledger = Ledger::open(&directory.path().join("ledger")).unwrap();
    let writer = Writer::start(&ledger, target(&world, Organization::Provider, Database::Fdb));
    until("30 commits", async || writer.tally().acknowledged >= 30).await;
    world.catch_up(&pair).await.unwrap();
    let arrived = ledger.entries().unwrap();
    // From here on nothing is passed on, as if the line were slow: A's slon makes the SYNCs.
    for slon in world.running_on(a).unwrap().iter().filter(|process| process.name == "slon") {
        processes::signal(slon.id, Signal::STOP);
    }
    let before = writer.tally().acknowledged;
    until("40 more commits", async || writer.tally().acknowledged >= before + 40).await;

    assert!(world.crash(a, &[]).unwrap() >= 8);
    assert_eq!(world.running_on(a).unwrap(), []);
    until("the writer notices", async || writer.tally().failed > 0).await;
    writer.stop().await.unwrap();
    let entries = ledger.entries().unwrap();
    let acknowledged = entries.iter().filter(|entry| entry.outcome == Outcome::Acknowledged).count();

    let on_b = ledger::compare(&entries, "Provider/fdb", &world.superuser(b, Database::Fdb)).await.unwrap();
    eprintln!("on B: {}", on_b.summary());
    assert_eq!(on_b.acknowledged, acknowledged);
    assert!(on_b.missing.len() >= 30, "{}", on_b.summary());
    // What had arrived by the catch-up is there; what is missing came later.
    assert!(on_b.missing.iter().all(|lost| lost.number > 30), "{:?}", on_b.missing[0]);
    let held = entries.len() - on_b.missing.len() - entries.iter().filter(|e| e.outcome == Outcome::Unknown).count();
    assert!(held >= 30 && arrived.len() >= 30);
    assert!(on_b.unexpected.is_empty() && on_b.altered.is_empty() && on_b.doubled.is_empty(), "{}", on_b.summary());
    // B refuses writes as before: nothing promotes it by itself.
    assert!(!verification::accepts_writes(&world.superuser(b, Database::Fdb)).await.unwrap());

    // A's disk has every acknowledged row: the crash lost nothing that is not replicated only.
    world.boot(a, Boot::SERVER).await.unwrap();
    let on_a = ledger::compare(&entries, "Provider/fdb", &world.superuser(a, Database::Fdb)).await.unwrap();
    assert!(on_a.is_exact(), "{}", on_a.summary());
    drop(world);
    assert_eq!(traces(directory.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_follow_the_database_that_takes_writes() {
    let directory = directory();
    let options = Options { boot: Boot::EVERYTHING, ..small(directory.path()).await };
    let world = World::build(options).await.unwrap();
    let (a, b) = (world.appliance(Organization::Provider, Side::A), world.appliance(Organization::Provider, Side::B));
    let fdb = |appliance| world.superuser(appliance, Database::Fdb);

    // The watchdog brings a lost slon back.
    let slons = |appliance| {
        let running = world.running_on(appliance).unwrap();
        running
            .into_iter()
            .filter(|process| process.name == "slon")
            .map(|process| process.id)
            .collect::<Vec<ProcessId>>()
    };
    let first = slons(b);
    assert_eq!(first.len(), 2, "slon's own watchdog and its worker");
    for id in &first {
        processes::signal(*id, Signal::KILL);
    }
    until("slon is back on B", async || slons(b).len() == 2 && slons(b).iter().all(|id| !first.contains(id))).await;

    // A frozen server is not a dead one: it accepts and says nothing.
    assert!(world.freeze(a).unwrap() > 8);
    let asked = fdb(a).connect_within(Duration::from_millis(500)).await;
    assert!(matches!(asked, Err(Error::NoAnswer { .. })), "{:?}", asked.err());
    world.thaw(a).unwrap();
    assert!(verification::accepts_writes(&fdb(a)).await.unwrap());

    // A client that follows a file; what it writes last does not arrive at B, because A's slons are stuck.
    let told = directory.path().join("primary");
    std::fs::write(&told, a.server().to_string()).unwrap();
    let ledger = Ledger::open(&directory.path().join("ledger")).unwrap();
    let primary = writer::in_file(&told, world.application(a, Database::Fdb));
    let writer = Writer::start(&ledger, Target { primary, ..target(&world, Organization::Provider, Database::Fdb) });
    until("20 commits", async || writer.tally().acknowledged >= 20).await;
    for id in slons(a) {
        processes::signal(id, Signal::STOP);
    }
    let before = writer.tally().acknowledged;
    until("20 more commits", async || writer.tally().acknowledged >= before + 20).await;

    world.crash(a, &[]).unwrap();
    let down = horizon::application::ask(b.health(Service::DtService)).await.unwrap();
    assert_eq!(down.0, 503, "{}", down.1);
    assert!(down.1.contains("refuses writes"), "{}", down.1);

    // av-setup needs both its variables and the right password, and a database that takes writes.
    let av_setup = |password: Option<&str>| {
        let mut command = Command::new(b.av_setup());
        command.env("DB_HOST", b.address.to_string()).env_remove("DB_PASSWORD");
        command.envs(password.map(|password| ("DB_PASSWORD", password)));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let right = world.database_password().to_owned();
    assert_eq!(av_setup(None), (Some(64), "av-setup: DB_PASSWORD is not set\n".into()));
    let (code, said) = av_setup(Some("wrong"));
    assert!(code == Some(1) && said.contains("password authentication failed"), "{said}");
    let (code, said) = av_setup(Some(&right));
    assert!(code == Some(1) && said.contains("cannot be modified on a subscriber"), "{said}");

    // The vendor's step, by hand. No watchdog of A's can be in the way, and B's slon gives up its locks.
    let drop = "set lock_timeout = '10s'; set client_min_messages = warning; drop schema if exists _slony cascade";
    fdb(b).run("drop", drop).await.unwrap();
    assert_eq!(verification::role(verification::node(&fdb(b)).await.unwrap().as_ref()), Role::Standalone);
    let says = world.ready(b, Service::DtService, WITHIN).await.unwrap();
    assert!(says.contains(&b.server().to_string()), "{says}");
    assert_eq!(av_setup(Some(&right)).0, Some(0));
    let before = writer.tally().acknowledged;
    std::fs::write(&told, b.server().to_string()).unwrap();
    until("20 commits on B", async || writer.tally().acknowledged >= before + 20).await;
    writer.stop().await.unwrap();
    let entries = ledger.entries().unwrap();
    // However short it was: how long a hand takes here is the machine's affair.
    let outages = ledger::outages(&entries, "Provider/fdb", 0);
    assert!(outages.iter().any(|outage| (outage.from, outage.to) == (a.server(), b.server())), "{outages:?}");
    let on_b = ledger::compare(&entries, "Provider/fdb", &fdb(b)).await.unwrap();
    assert!(
        on_b.missing.len() >= 10 && on_b.missing.iter().all(|lost| lost.server == a.server()),
        "{}",
        on_b.summary()
    );
    // The sequence trap: nobody moved B's sequences ahead, so it gives out the numbers of lost rows again.
    assert!(!on_b.reused_ids.is_empty(), "{}", on_b.summary());
    let runs = world.effects(b).unwrap().into_iter().filter(|effect| effect.what == "av-setup" && effect.verb == "run");
    assert_eq!(runs.count(), 1);

    // A returns, and nothing fences it: both take writes, and a service whose file still names A goes back to it.
    world.boot(a, Boot::SERVER).await.unwrap();
    assert!(verification::accepts_writes(&fdb(a)).await.unwrap());
    assert!(verification::accepts_writes(&fdb(b)).await.unwrap());
    let says = world.ready(b, Service::DtService, WITHIN).await.unwrap();
    assert!(says.contains(&a.server().to_string()), "{says}");

    let service = |verb| world.service(b, Service::DtService, verb);
    service("status").await.unwrap();
    service("stop").await.unwrap();
    let stopped = service("status").await;
    assert!(matches!(&stopped, Err(Error::Program { status, .. }) if status.ends_with(": 3")), "{stopped:?}");
    assert!(horizon::application::ask(b.health(Service::DtService)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replication_that_only_looks_right_is_found_out() {
    let directory = directory();
    let world = World::build(small(directory.path()).await).await.unwrap();
    let (a, b) = (world.appliance(Organization::Provider, Side::A), world.appliance(Organization::Provider, Side::B));
    let (one, two) = (world.superuser(a, Database::Fdb), world.superuser(b, Database::Fdb));
    let findings = async || verification::findings(&one, &two).await.unwrap().join("; ");
    assert_eq!(findings().await, "");
    assert_eq!(verification::primaries(&two).await.unwrap()[&1000], ["sp-a"]);

    // Everything is as it should be, except that nothing moves.
    world.stop_slons(a).unwrap();
    assert_eq!(findings().await, "");
    let stalled = verification::replicates(&one, &two, Duration::from_secs(3)).await;
    assert!(matches!(stalled, Err(Error::Never { .. })), "{stalled:?}");
    world.start_slons(a).await.unwrap();

    // Somebody took the guard off one table of B.
    two.run("open", "alter table session disable trigger _slony_denyaccess").await.unwrap();
    assert!(findings().await.contains("the subscriber is Contradictory"), "{}", findings().await);
    two.run("close", "alter table session enable trigger _slony_denyaccess").await.unwrap();

    // The subscriber itself does not call its subscription active; the origin goes on doing so.
    let activate = |state: bool| format!("update _slony.sl_subscribe set sub_active = {state}");
    two.run("deactivate", &activate(false)).await.unwrap();
    assert!(findings().await.contains("no active subscription"), "{}", findings().await);
    two.run("activate", &activate(true)).await.unwrap();

    // A table and its sequence that nobody added to the set.
    let new = "create table forgotten(id serial primary key)";
    one.run("add a table", new).await.unwrap();
    assert!(
        findings().await.contains("not replicated on the origin: forgotten, forgotten_id_seq"),
        "{}",
        findings().await
    );
    one.run("drop the table", "drop table forgotten").await.unwrap();
    assert_eq!(findings().await, "");

    // An empty set, without a subscriber: the vendor's row is as expected.
    for endpoint in [&two, &one] {
        world.stop_slons(a).unwrap();
        world.stop_slons(b).unwrap();
        endpoint.run("drop", "drop schema _slony cascade").await.unwrap();
    }
    let pair = world.pairs().remove(0);
    let empty = pair.initialization(&horizon::replication::Relations::default());
    world.slonik("an empty set", &empty, WITHIN).await.unwrap();
    let rows = verification::vendor_rows(&one).await.unwrap();
    assert!(rows.len() == 1 && rows[0].master_node && rows[0].local_id == 1, "{rows:?}");
    let found = findings().await;
    assert!(found.contains("the set of the origin is empty") && found.contains("no active subscription"), "{found}");
    assert!(found.contains("the subscriber accepts writes"), "{found}");
}

/// Not a test: the lab that is killed by the test below. It builds a world, says so, and waits for its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the test of a crashed predecessor, in a process of its own"]
async fn predecessor() {
    let Some(directory) = std::env::var_os("BATON_LAB_TEST_PREDECESSOR") else { return };
    let _world = World::build(small(Path::new(&directory)).await).await.unwrap();
    println!("\nthe world is up");
    std::future::pending::<()>().await;
}

/// Sweeps whatever the tried labs have left, also when a test fails in the middle.
struct Swept(PathBuf);

impl Drop for Swept {
    fn drop(&mut self) {
        if let Err(error) = registry::sweep(&self.0) {
            eprintln!("could not sweep: {error}");
        }
    }
}

fn start_predecessor(directory: &Path) -> std::process::Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "predecessor", "--ignored", "--nocapture"])
        .env("BATON_LAB_TEST_PREDECESSOR", directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "the world is up"), "the predecessor did not get its world up");
    child
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_ends_with_its_lab_and_a_successor_sweeps_the_rest() {
    let directory = directory();
    let path = directory.path().join("world/processes");
    let _swept = Swept(path.clone());

    // Killed, the lab cannot clean up; its keeper does.
    let mut lab = start_predecessor(directory.path());
    assert!(registry::survivors(&path).unwrap().len() > 8);
    lab.kill().unwrap();
    lab.wait().unwrap();
    until("the keeper has swept", async || registry::survivors(&path).unwrap().is_empty()).await;
    until("the keeper is gone", async || traces(&directory.path().join("world")).is_empty()).await;

    // Killed together with its keeper, it leaves everything running.
    let mut lab = start_predecessor(directory.path());
    let keeper = |process: &&processes::Process| process.command.get(1).is_some_and(|name| name == "world-keeper");
    let all = table::all();
    let keeper = all.iter().filter(keeper).find(|process| process.parent == i32::try_from(lab.id()).unwrap()).unwrap();
    processes::signal(keeper.id, Signal::KILL);
    lab.kill().unwrap();
    lab.wait().unwrap();
    let left = registry::survivors(&path).unwrap();
    assert!(left.len() > 8, "{left:?}");

    let world = World::build(small(directory.path()).await).await.unwrap();
    assert!(left.iter().all(|process| !process.id.alive()), "the predecessor's processes are gone");
    let pair = world.pairs().remove(0);
    world.verify(pair.origin, pair.subscriber, pair.database).await.unwrap();
    world.tear_down().unwrap();
    assert_eq!(traces(&directory.path().join("world")), Vec::<String>::new());
}
