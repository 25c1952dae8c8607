//! A component that is a query, asked of a real PostgreSQL: it answers, it answers otherwise, it is gone.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use baton_agent::{
    action::{Context, ContextOptions},
    host::{Host, users},
    policy::Policy,
    probe::{Answer, Probe},
    secrets::{Secret, Secrets},
};
use baton_model::outcome::Fault;
use serde_json::json;
use tokio_util::sync::CancellationToken;

struct Nobodys;

#[async_trait]
impl Secrets for Nobodys {
    async fn secret(&self, name: &str) -> Result<Secret, Fault> {
        Err(Fault::new("BTN-0421", format!("there is no secret {name:?}"), "Make it."))
    }
}

fn context() -> Context {
    Context::new(ContextOptions {
        task: None,
        directory: None,
        run_directory: None,
        policy: Arc::new(Policy::parse(Path::new("/policy"), "databases = ['*']\nsecrets = ['*']").expect("a policy")),
        secrets: Arc::new(Nobodys),
        host: Host::default(),
        timeout: Duration::from_secs(10),
        cancel: CancellationToken::new(),
        progress: None,
    })
    .expect("a context")
}

/// A server of its own, stopped with the test.
struct Server {
    home: tempfile::TempDir,
    port: u16,
}

fn program(name: &str) -> PathBuf {
    let places = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL's server programs are installed");
    let mut found: Vec<PathBuf> = places.flatten().map(|place| place.path().join("bin").join(name)).collect();
    found.retain(|path| path.exists());
    found.sort();
    found.pop().expect("PostgreSQL's server programs are installed")
}

impl Server {
    fn start() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let server = Self { home, port };
        if let Some(owner) = server.owner() {
            chown(server.home.path(), Some(owner.0), Some(owner.1)).expect("to be root");
        }
        server.run("initdb", &["-U", "dm", "-A", "trust", "--no-sync"]);
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off -c dynamic_shared_memory_type=mmap"
        );
        server.run("pg_ctl", &["start", "-w", "-s", "-t", "60", "-o", &options]);
        server
    }

    /// PostgreSQL refuses to run as root.
    fn owner(&self) -> Option<(u32, u32)> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let user = users::by_name("nobody").expect("every system has nobody");
        Some((user.uid, user.gid))
    }

    fn run(&self, name: &str, arguments: &[&str]) {
        let mut command = Command::new(program(name));
        command.arg("-D").arg(self.home.path().join("data")).args(arguments).current_dir(self.home.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = self.owner() {
            command.uid(uid).gid(gid);
        }
        assert!(command.status().expect("it starts").success(), "{name} {arguments:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new(program("pg_ctl"))
            .args(["stop", "-m", "immediate", "-D"])
            .arg(self.home.path().join("data"))
            .uid(self.owner().map_or(rustix::process::getuid().as_raw(), |owner| owner.0))
            .stdout(Stdio::null())
            .status();
    }
}

#[tokio::test]
async fn a_query_is_healthy_by_its_rows_and_its_server() {
    let server = Server::start();
    let connection = json!({ "host": "127.0.0.1", "port": server.port, "database": "postgres", "user": "dm" });
    let question = |sql: &str, expect: &str, connection: &serde_json::Value| {
        let probe = json!({ "sql": { "connection": connection, "sql": sql, "expect": expect } });
        Probe::new(&serde_json::from_value(probe).expect("a probe")).expect("it makes sense")
    };
    let mut primary = question("SELECT pg_is_in_recovery() AS standby", "!rows[0].standby", &connection);
    assert_eq!(primary.ask(&context()).await, Answer::Healthy("1 rows, as expected".to_owned()));

    let mut standby = question("SELECT pg_is_in_recovery() AS standby", "rows[0].standby", &connection);
    let answer = standby.ask(&context()).await;
    assert!(matches!(&answer, Answer::Unhealthy(seen) if seen.contains("false")), "{answer:?}");

    let mut mistaken = question("SELECT 1 AS one", "rows[0].two", &connection);
    let answer = mistaken.ask(&context()).await;
    assert!(matches!(answer, Answer::CannotTell(_)), "an expectation that has no value is ours: {answer:?}");

    let mut without = connection.clone();
    without["password"] = json!({ "pieces": [{ "secret": "repository" }] });
    let answer = question("SELECT 1", "true", &without).ask(&context()).await;
    assert!(matches!(answer, Answer::CannotTell(_)), "a secret that is missing is ours: {answer:?}");

    let mut stranger = connection.clone();
    stranger["user"] = json!("stranger");
    let answer = question("SELECT 1", "true", &stranger).ask(&context()).await;
    assert!(matches!(answer, Answer::CannotTell(_)), "a server that refuses us is not down: {answer:?}");

    drop(server);
    let answer = primary.ask(&context()).await;
    assert!(matches!(&answer, Answer::Unhealthy(seen) if seen.contains("BTN-0710")), "{answer:?}");
}
