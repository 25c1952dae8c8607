//! Every action that can observe, with the agent killed in the middle, at moments of chance: the agent that comes back must
//! bring each to the one end that it was to have, without a second effect, and never say that nobody knows.
//!
//! Needs PostgreSQL's server, and root to start it as another user, for `sql.exec`.

#[path = "slony/appliances.rs"]
#[allow(dead_code, reason = "only a server is needed here")]
mod appliances;
#[allow(dead_code, reason = "each file of tests uses a part")]
#[path = "support/coordinator.rs"]
mod support;

use std::{path::Path, time::Duration};

use baton_model::{
    fence::Fence,
    ids::{StepId, TaskId},
    order::Order,
    outcome::{Outcome, Report},
    time::Span,
};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use support::world::{World, ready, until};

/// Each case is played this often, with other moments.
const ROUNDS: u64 = 5;
/// The agent is killed this often in one round, at most.
const KILLS_MAX: u32 = 3;
/// Longer than any of the cases takes: some of the moments come after its end.
const LATEST_MS: u64 = 700;

fn order(action: &str, params: Value) -> Order {
    let run = "g-1".parse().expect("a run");
    let task = TaskId { run, step: StepId("1".into()), host: "db1".parse().expect("a host"), attempt: 1 };
    let fence = Fence { generation: 1, term: 1, index: 10 };
    Order { task, fence, action: action.to_owned(), params, timeout: Span::from_secs(60) }
}

/// Orders, kills, starts again under the next leader, and waits for the end. The moments are the stimulus, not a wait.
async fn play(world: &mut World, mut order: Order, seed: u64, between: impl AsyncFn(u32)) -> Report {
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut coordinator = world.coordinator(&format!("c{seed}")).await;
    let kills = random.random_range(1..=KILLS_MAX);
    for round in 0..=kills {
        let mut peer = ready(world, &mut coordinator, u64::from(round) + 1).await;
        // Each leader orders what is due again; it may have a newer index for it.
        order.fence.term = u64::from(round) + 1;
        order.fence.index += u64::from(round);
        peer.execute(&order).await;
        if round == kills {
            let report = peer.finished(&order.task).await;
            world.kill();
            return report;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..LATEST_MS))).await;
        world.kill();
        between(round).await;
    }
    unreachable!("the last round returns")
}

fn assert_good(report: &Report, seed: u64) {
    assert!(matches!(report.outcome, Outcome::Changed | Outcome::Unchanged), "seed {seed}: {report:?}");
}

async fn nothing(_: u32) {}

#[tokio::test]
async fn service_start_ends_with_one_service() {
    for seed in 0..ROUNDS {
        let mut world = World::new();
        let (pids, pid) = (world.shown("pids"), world.shown("pid"));
        // Slow before and after; the service has a session of its own, as a daemon does.
        let start = format!(
            "sleep 0.2; setsid sh -c 'echo $$ >> {pids}; echo $$ > {pid}; exec sleep 1000' >/dev/null 2>&1 & sleep 0.4"
        );
        let status = format!("kill -0 $(cat {pid} 2>/dev/null) 2>/dev/null || exit 3");
        let shell = |script: &str| json!({ "argv": ["/bin/sh", "-c", script] });
        let manager =
            json!({ "commands": { "start": shell(&start), "stop": shell("true"), "status": shell(&status) } });
        world.policy.push_str("services = ['app']\n");
        let report =
            play(&mut world, order("service.start", json!({ "name": "app", "manager": manager })), seed, nothing).await;
        let text = std::fs::read_to_string(&pids).unwrap_or_default();
        let started: Vec<i32> = text.lines().map(|line| line.parse().expect("a pid")).collect();
        let running: Vec<&i32> = started.iter().filter(|pid| is_running(**pid)).collect();
        let count = running.len();
        running.into_iter().for_each(|pid| appliances::signal(*pid, 9));
        assert_good(&report, seed);
        assert_eq!(count, 1, "seed {seed}: one service runs, of {started:?}");
    }
}

#[tokio::test]
async fn process_stop_ends_with_the_process_gone() {
    for seed in 0..ROUNDS {
        let mut world = World::new();
        let program = world.path("worker");
        let script = "#!/bin/bash\ntrap 'sleep 0.3; exit' TERM\nmkfifo $0.fifo; exec 3<> $0.fifo\n: > $0.up\nwhile :; do read -t 0.05 <&3; done\n";
        std::fs::write(&program, script).expect("written");
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
        let mut child = std::process::Command::new(&program).spawn().expect("started");
        until("the process", || world.path("worker.up").exists()).await;
        world.policy = world.policy.replace("['/bin/sh']", &format!("['/bin/sh', '{}']", world.shown("worker")));
        let params = json!({ "program": world.shown("worker"), "grace": "5s", "settle": "300ms" });
        let report = play(&mut world, order("process.stop", params), seed, nothing).await;
        let gone = !is_running(child.id().cast_signed());
        child.kill().ok();
        child.wait().expect("waited for");
        assert_good(&report, seed);
        assert!(gone, "seed {seed}");
    }
}

#[tokio::test]
async fn file_properties_ends_with_the_file_edited_once() {
    for seed in 0..ROUNDS {
        let mut world = World::new();
        std::fs::write(world.path("a.properties"), "# kept\ndb.hosts = 10.0.0.1,10.0.0.2\nother=1\n").expect("written");
        let params = json!({ "path": world.shown("a.properties"), "set": { "new": "x" }, "remove_from_list": { "db.hosts": ["10.0.0.1"] } });
        let report = play(&mut world, order("file.properties", params), seed, nothing).await;
        assert_good(&report, seed);
        let text = std::fs::read_to_string(world.path("a.properties")).expect("read");
        assert_eq!(
            text.lines().take(3).collect::<Vec<_>>(),
            ["# kept", "db.hosts = 10.0.0.2", "other=1"],
            "seed {seed}"
        );
        assert_eq!(text.matches("new").count(), 1, "seed {seed}: {text}");
        let beside = std::fs::read_dir(world.directory.path()).expect("read").flatten();
        let left: Vec<_> =
            beside.map(|one| one.file_name()).filter(|name| name.to_string_lossy().contains("a.properties")).collect();
        assert_eq!(left.len(), 1, "seed {seed}: {left:?}");
    }
}

#[tokio::test]
async fn exec_with_creates_ends_with_its_effect_there_once() {
    for seed in 0..ROUNDS {
        let mut world = World::new();
        let made = world.shown("made");
        // A second time would fail.
        let script = format!("sleep 0.2; mkdir {made} && echo x >> {}; sleep 0.2", world.shown("effects"));
        let params = json!({ "argv": ["/bin/sh", "-ec", script], "creates": made });
        let report = play(&mut world, order("exec.run", params), seed, nothing).await;
        assert_good(&report, seed);
        assert!(Path::new(&world.path("made")).is_dir() && world.lines("effects") <= 1, "seed {seed}");
    }
}

#[tokio::test]
async fn wait_tcp_goes_on_waiting() {
    for seed in 0..ROUNDS {
        let mut world = World::new();
        let reserved = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = reserved.local_addr().expect("a port").port();
        drop(reserved);
        let open = std::sync::Mutex::new(None);
        // Nobody listens before the first kill.
        let between = async |round: u32| {
            if round == 0 {
                let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
                *open.lock().expect("not poisoned") = Some(listener);
            }
        };
        let params = json!({ "host": "127.0.0.1", "port": port });
        let report = play(&mut world, order("wait.tcp", params), seed, between).await;
        assert_eq!(report.outcome, Outcome::Unchanged, "seed {seed}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_exec_with_unless_takes_effect_once() {
    let servers = appliances::World::start().await;
    let a = &servers.a;
    let connection = json!({ "host": a.address, "port": a.port, "database": "fdb", "user": "slony", "password": appliances::PASSWORD });
    for seed in 0..ROUNDS {
        let name = format!("row-{seed}");
        a.client("fdb").await.execute("INSERT INTO appliance (name) VALUES ($1)", &[&name]).await.expect("a row");
        let params = json!({
            "connection": connection,
            "statements": [
                { "sql": "SELECT pg_sleep(0.3)::text" },
                { "sql": "UPDATE appliance SET capabilities = capabilities + 1 WHERE name = $1", "params": [name], "rows": 1 } ],
            "unless": { "sql": "SELECT capabilities > 0 FROM appliance WHERE name = $1", "params": [name] },
            "lock_timeout": "10s",
        });
        let mut world = World::new();
        world.policy.push_str("databases = ['fdb']\n");
        let report = play(&mut world, order("sql.exec", params), seed, nothing).await;
        assert_good(&report, seed);
        let row = a.client("fdb").await.query_one("SELECT capabilities FROM appliance WHERE name = $1", &[&name]).await;
        assert_eq!(row.expect("a row").get::<_, i32>(0), 1, "seed {seed}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slony_init_ends_with_one_whole_cluster() {
    let servers = appliances::World::start().await;
    let (a, b) = (&servers.a, &servers.b);
    for seed in 0..3 {
        let params = json!({ "databases": ["fdb"], "origin": a.server(), "subscriber": b.server(), "primary": "A" });
        let mut world = World::new();
        world.policy.push_str("databases = ['fdb']\n");
        let report = play(&mut world, order("slony.init", params.clone()), seed, nothing).await;
        assert_good(&report, seed);
        servers.unchanged("slony.init", params).await;
        for server in [a, b] {
            let params = json!({ "databases": ["fdb"], "server": server.server() });
            servers.act("slony.drop", params).await.expect("dropped for the next round");
        }
    }
}

fn is_running(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
}
