//! Two real PostgreSQL servers with real slons, on loopback addresses, gone with the test.
//!
//! Apart from the lab, whose world is a whole product; this is the least that Slony needs. It kills only what it started.

use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use baton_agent::{
    action::{Context, ContextOptions, Effect, Failure, bind},
    policy::Policy,
    secrets::{Secret, Secrets},
};
use baton_model::{
    action::Action,
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;

pub const PASSWORD: &str = "it's: a\\secret";
pub const DATABASES: [&str; 2] = ["fdb", "edb"];

pub struct Appliance {
    pub name: &'static str,
    pub address: &'static str,
    pub port: u16,
    home: PathBuf,
    owner: (u32, u32),
}

pub struct World {
    pub a: Appliance,
    pub b: Appliance,
    pub home: tempfile::TempDir,
}

struct NoSecrets;

#[async_trait::async_trait]
impl Secrets for NoSecrets {
    async fn secret(&self, name: &str) -> Result<Secret, Fault> {
        Err(Fault::new("BTN-0000", format!("no secret {name}"), ""))
    }
}

fn postgres(program: &str) -> PathBuf {
    let mut versions: Vec<PathBuf> =
        glob::glob(&format!("/usr/lib/postgresql/*/bin/{program}")).expect("a pattern").flatten().collect();
    versions.sort();
    versions.pop().expect("PostgreSQL's server programs are installed")
}

impl Appliance {
    fn new(name: &'static str, address: &'static str, home: &Path, owner: (u32, u32)) -> Self {
        let port = TcpListener::bind((address, 0)).and_then(|socket| socket.local_addr()).expect("a free port").port();
        let home = home.join(name);
        fs::create_dir(&home).expect("a directory");
        chown(&home, Some(owner.0), Some(owner.1)).expect("to be root");
        Self { name, address, port, home, owner }
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(postgres(program));
        command.arg("-D").arg(self.home.join("data")).args(arguments).current_dir(&self.home).stdin(Stdio::null());
        let said = fs::File::create(self.home.join("said.log")).expect("a file");
        command.stdout(said.try_clone().expect("a file")).stderr(said).uid(self.owner.0).gid(self.owner.1);
        let status = command.status().expect("it starts");
        assert!(
            status.success(),
            "{program} {arguments:?}: {}{}",
            fs::read_to_string(self.home.join("said.log")).expect("a file"),
            fs::read_to_string(self.home.join("postgres.log")).unwrap_or_default()
        );
    }

    fn create(&self) {
        let password = self.home.join("password");
        fs::write(&password, PASSWORD).expect("a file");
        chown(&password, Some(self.owner.0), Some(self.owner.1)).expect("to be root");
        self.run(
            "initdb",
            &["-U", "slony", "-A", "scram-sha-256", "--no-sync", "--pwfile", &password.display().to_string()],
        );
        let settings = format!(
            "listen_addresses = '{}'\nport = {}\nunix_socket_directories = ''\nfsync = off\nshared_buffers = 16MB\nmax_connections = 60\n\
             dynamic_shared_memory_type = mmap\n",
            self.address, self.port
        );
        let file = self.home.join("data/postgresql.conf");
        fs::write(&file, fs::read_to_string(&file).expect("it is there") + &settings).expect("written");
        let pgpass = self.home.join("pgpass");
        let escaped = PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
        fs::write(&pgpass, format!("*:*:*:slony:{escaped}\n")).expect("a file");
        fs::set_permissions(&pgpass, fs::Permissions::from_mode(0o600)).expect("permissions");
        for database in DATABASES {
            let script = self.script(database);
            let text = format!(
                "#!/bin/sh\nPGPASSFILE={} exec slon -p {}/slon_{database}.pid -s 200 -t 1000 slony '{}' >>{}/slon_{database}.log 2>&1 </dev/null &\n",
                pgpass.display(),
                self.home.display(),
                self.conninfo(database),
                self.home.display()
            );
            fs::write(&script, text).expect("a file");
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("permissions");
        }
        self.start();
    }

    fn conninfo(&self, database: &str) -> String {
        format!("host={} port={} dbname={database} user=slony connect_timeout=3", self.address, self.port)
    }

    pub fn script(&self, database: &str) -> PathBuf {
        self.home.join(format!("start_slon_{database}.sh"))
    }

    pub fn start(&self) {
        self.run(
            "pg_ctl",
            &["start", "-w", "-s", "-t", "60", "-l", &self.home.join("postgres.log").display().to_string()],
        );
    }

    fn postmaster(&self) -> Option<i32> {
        fs::read_to_string(self.home.join("data/postmaster.pid")).ok()?.lines().next()?.parse().ok()
    }

    /// The server dies: nothing is written, no session hears of it.
    pub fn kill(&self) {
        let pid = self.postmaster().expect("it runs");
        // It stands still first: it would have new children for those that die, and they would hold on to its memory when it is
        // started again.
        signal(pid, libc::SIGSTOP);
        wait_until("the server stands still", || stat(pid).is_none_or(|(state, _)| state == "T"));
        let all: Vec<i32> = children(pid).into_iter().chain([pid]).collect();
        all.iter().for_each(|one| signal(*one, libc::SIGKILL));
        wait_until("the server is dead", || all.iter().all(|one| is_dead(*one)));
        // Until init has buried it, its successor would take it for alive.
        fs::remove_file(self.home.join("data/postmaster.pid")).expect("a dead server's lock");
    }

    pub fn server(&self) -> Value {
        json!({ "name": self.name, "address": self.address, "port": self.port, "user": "slony", "password": PASSWORD })
    }

    /// What is in the conninfo of this appliance's own slons, and of nobody else's.
    pub fn own(&self) -> String {
        format!("host={} port={} ", self.address, self.port)
    }

    pub fn scripts(&self) -> Value {
        DATABASES
            .iter()
            .map(|database| ((*database).to_owned(), json!(self.script(database))))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    pub async fn client(&self, database: &str) -> Client {
        let mut config = tokio_postgres::Config::new();
        config
            .host(self.address)
            .port(self.port)
            .user("slony")
            .password(PASSWORD)
            .dbname(database)
            .application_name("test");
        let (client, connection) = config.connect(NoTls).await.expect("it connects");
        tokio::spawn(connection);
        client
    }

    pub fn slon_pids(&self) -> Vec<i32> {
        processes(|arguments| {
            arguments.first().is_some_and(|name| name.ends_with("slon"))
                && arguments.iter().any(|one| one.starts_with(&self.own()))
        })
    }
}

impl World {
    /// Both servers with the same schema and no replication.
    pub async fn start() -> Self {
        let home = tempfile::Builder::new().prefix("baton-slony-").tempdir().expect("a directory");
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let accounts = fs::read_to_string("/etc/passwd").expect("accounts");
        let fields: Vec<&str> = accounts
            .lines()
            .find(|line| line.starts_with("postgres:"))
            .expect("the user postgres")
            .split(':')
            .collect();
        let owner = (fields[2].parse().expect("a number"), fields[3].parse().expect("a number"));
        let world = Self {
            a: Appliance::new("A", "127.0.21.1", home.path(), owner),
            b: Appliance::new("B", "127.0.21.2", home.path(), owner),
            home,
        };
        std::thread::scope(|scope| {
            scope.spawn(|| world.a.create());
            scope.spawn(|| world.b.create());
        });
        for appliance in [&world.a, &world.b] {
            let client = appliance.client("postgres").await;
            for database in DATABASES {
                client.batch_execute(&format!("CREATE DATABASE {database}")).await.expect("created");
                let schema =
                    "CREATE TABLE appliance (id serial PRIMARY KEY, name text, capabilities int NOT NULL DEFAULT 0);
                    CREATE TABLE session (id bigserial PRIMARY KEY, note text, at timestamptz DEFAULT now());
                    CREATE TABLE keyless (note text);
                    INSERT INTO appliance (name) VALUES ('A'), ('B')";
                appliance.client(database).await.batch_execute(schema).await.expect("created");
            }
        }
        world
    }

    /// A is origin, B receives, by Baton's own actions.
    pub async fn replicated() -> Self {
        let world = Self::start().await;
        let (a, b) = (&world.a, &world.b);
        world.changes("slony.init", json!({ "origin": a.server(), "subscriber": b.server(), "primary": "A" })).await;
        world.start_slons(a).await;
        world.start_slons(b).await;
        world
            .changes("slony.subscribe", json!({ "origin": a.server(), "subscriber": b.server(), "primary": "A" }))
            .await;
        world
    }

    pub async fn start_slons(&self, appliance: &Appliance) {
        self.changes("slony.start", json!({ "server": appliance.server(), "scripts": appliance.scripts() })).await;
    }

    pub async fn stop_slons(&self, appliance: &Appliance) {
        self.changes("slony.stop", json!({ "server": appliance.server(), "arguments_contain": appliance.own() })).await;
    }

    pub fn context(&self, cancel: CancellationToken, timeout: Duration) -> Context {
        let directory = self.home.path().join("task");
        fs::create_dir_all(&directory).expect("a directory");
        let policy = Policy::parse(Path::new("policy.toml"), "programs = ['/**']").expect("a policy");
        Context::new(ContextOptions {
            task: None,
            directory: Some(directory),
            run_directory: Some(self.home.path().join("runs/g/1")),
            policy: Arc::new(policy),
            secrets: Arc::new(NoSecrets),
            host: Default::default(),
            timeout,
            cancel,
            progress: None,
        })
        .expect("a context")
    }

    /// The next task has a directory of its own.
    pub fn forget_task(&self) {
        fs::remove_dir_all(self.home.path().join("task")).expect("removed");
    }

    pub fn task_file(&self, name: &str) -> String {
        fs::read_to_string(self.home.path().join("task").join(name)).expect("an attachment")
    }

    pub fn action(name: &str, mut params: Value) -> Box<dyn baton_agent::action::Perform> {
        if name.starts_with("slony.") && params.get("databases").is_none() {
            params["databases"] = json!(DATABASES);
        }
        bind(&Action::parse(name, &params).unwrap_or_else(|error| panic!("{error}")))
            .unwrap_or_else(|fault| panic!("{fault}"))
    }

    pub async fn observe(&self, name: &str, params: Value) -> Result<Observation, Fault> {
        Self::action(name, params).observe(&self.context(CancellationToken::new(), Duration::from_secs(60))).await
    }

    pub async fn act(&self, name: &str, params: Value) -> Result<Effect, Failure> {
        let context = self.context(CancellationToken::new(), Duration::from_secs(90));
        let ended = Self::action(name, params).act(&context).await;
        let (output, _) = context.output().finish();
        eprintln!("{name}: {ended:?}\n{}{}", output.head, output.tail);
        ended
    }

    /// Observe, act, observe; then again: the second time nothing is to be done.
    pub async fn changes(&self, name: &str, params: Value) -> Effect {
        let before = self.observe(name, params.clone()).await;
        assert!(matches!(before, Ok(Observation::Differs { .. })), "{name} before: {before:?}");
        let effect = self.act(name, params.clone()).await.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert_eq!(effect.changed, Some(true), "{name}: {effect:?}");
        self.unchanged(name, params).await;
        effect
    }

    pub async fn unchanged(&self, name: &str, params: Value) {
        let after = self.observe(name, params.clone()).await;
        assert!(matches!(after, Ok(Observation::InPlace { .. })), "{name} after: {after:?}");
        let again = self.act(name, params).await.unwrap_or_else(|failure| panic!("{name} again: {failure}"));
        assert_eq!(again.changed, Some(false), "{name} again: {again:?}");
    }

    pub async fn refused(&self, name: &str, params: Value, code: &str) -> Fault {
        match self.act(name, params).await {
            Err(Failure::Failed(fault)) if fault.code == code => fault,
            other => panic!("{name} should be refused with {code}: {other:?}"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for appliance in [&self.a, &self.b] {
            for pid in appliance.slon_pids() {
                signal(pid, libc::SIGKILL);
            }
            if let Some(pid) = appliance.postmaster() {
                signal(pid, libc::SIGCONT);
                signal(pid, libc::SIGQUIT);
                let until = Instant::now() + Duration::from_secs(10);
                while !is_dead(pid) && Instant::now() < until {
                    std::thread::yield_now();
                }
            }
        }
    }
}

pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn signal(pid: i32, signal: i32) {
    // SAFETY: no memory is involved; the pid is of a process that this fixture started.
    unsafe { libc::kill(pid, signal) };
}

fn stat(pid: i32) -> Option<(String, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn is_dead(pid: i32) -> bool {
    stat(pid).is_none_or(|(state, _)| state == "Z")
}

fn pids() -> Vec<i32> {
    fs::read_dir("/proc")
        .expect("proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn children(parent: i32) -> Vec<i32> {
    pids().into_iter().filter(|pid| stat(*pid).is_some_and(|(_, of)| of == parent)).collect()
}

pub fn processes(wanted: impl Fn(&[String]) -> bool) -> Vec<i32> {
    let arguments = |pid: &i32| -> Vec<String> {
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        bytes
            .split(|byte| *byte == 0)
            .filter(|part| !part.is_empty())
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect()
    };
    pids().into_iter().filter(|pid| !is_dead(*pid) && wanted(&arguments(pid))).collect()
}
