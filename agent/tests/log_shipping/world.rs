//! Two instances, a primary and a secondary, over one directory; a share, and the secondary's own directory.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use baton_agent::{
    action::{Context, ContextOptions, Effect, Failure, Note, Perform, bind},
    host::sqlserver::{Encryption, Limits, Row, Session, Target},
    policy::Policy,
    secrets::{Secret, Secrets},
};
use baton_model::{
    action::Action,
    ids::{HostName, StepId, TaskId},
    outcome::{Fault, Observation},
};
use baton_sqlserver::{
    control::WorldBuilder,
    directory::Directory,
    instance::{Instance, system_clock},
    tds,
    world::{
        Options, World as Truth,
        fault::{Fault as Mishap, What},
        server::{Account, Right},
    },
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

const CHILD: &str = "BATON_TEST_INSTANCE";
const PORT: u16 = 21433;
const PATIENCE: Duration = Duration::from_secs(30);

pub const PRIMARY: &str = "SQLA";
pub const SECONDARY: &str = "SQLB";
pub const DATABASE: &str = "mgc";

/// See the module.
pub struct World {
    home: tempfile::TempDir,
    hosts: BTreeMap<&'static str, String>,
    processes: Mutex<BTreeMap<&'static str, Child>>,
}

struct Password;

#[async_trait]
impl Secrets for Password {
    async fn secret(&self, _name: &str) -> Result<Secret, Fault> {
        Ok(Secret::new("Secret-1".to_owned()))
    }
}

/// The child's part: it serves until it is killed.
pub fn be_instance() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let (directory, name) = told.split_once('|').expect("directory and name");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let token = CancellationToken::new();
        let instance = Instance::start(Path::new(directory), name, system_clock(), token.clone()).expect("started");
        let address = instance.address().expect("an address");
        let listener = tokio::net::TcpListener::bind(&address).await.expect("its address is free");
        tokio::spawn(instance.clone().tick());
        let options = tds::Options { encryption: tds::Encryption::None, ..Default::default() };
        tds::serve(listener, instance, options, token).await.expect("served");
    });
}

impl World {
    /// Both instances run; each has a `sa` and a `baton` with all rights.
    pub async fn start() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        // Addresses of their own: a port of the range that clients get could be taken while an instance is down.
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let (world, process) = (WORLDS.fetch_add(1, Ordering::Relaxed), std::process::id());
        let mut hosts = BTreeMap::new();
        let mut plan = WorldBuilder::new().seed(7).options(Options::quick());
        for (number, name) in [PRIMARY, SECONDARY].into_iter().enumerate() {
            let host =
                format!("127.{}.{}.{}", 20 + (world * 2 + number as u32) % 200, (process >> 8) & 255, process & 255);
            plan = plan.instance(name, &format!("{host}:{PORT}"), "Secret-1");
            hosts.insert(name, host);
        }
        let rights = [Right::ViewServerState, Right::AlterAnyDatabase];
        let plan = plan
            .login(&Account::administrator("baton", "Secret-1"))
            .login(&Account::with_rights("weak", "Secret-1", &rights));
        let world = Self { home, hosts, processes: Mutex::default() };
        for directory in ["share", "own", "agent/runs/g/1"] {
            fs::create_dir_all(world.path(directory)).expect("made");
        }
        plan.create(&world.path("world"), system_clock()()).expect("a world");
        for name in [PRIMARY, SECONDARY] {
            world.run(name).await;
        }
        world
    }

    /// A process for the instance; returns when it can be asked.
    pub async fn run(&self, name: &'static str) {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["instance_process", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
        command
            .env(CHILD, format!("{}|{name}", self.path("world").display()))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        // SAFETY: one system call between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let child = command.spawn().expect("started");
        if let Some(mut old) = self.processes.lock().expect("whole").insert(name, child) {
            let _ = old.wait();
        }
        let until = Instant::now() + PATIENCE;
        while let Err(error) = self.session(name, "master").await {
            assert!(Instant::now() < until, "{name} never answered: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&self, name: &'static str) {
        if let Some(mut child) = self.processes.lock().expect("whole").remove(name) {
            child.kill().expect("killed");
            child.wait().expect("gone");
        }
    }

    /// Waits until it has killed itself, as a mishap told it.
    pub async fn died(&self, name: &'static str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let gone = self
                .processes
                .lock()
                .expect("whole")
                .get_mut(name)
                .is_none_or(|child| child.try_wait().expect("asked").is_some());
            if gone {
                return;
            }
            assert!(Instant::now() < until, "{name} never died");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    pub async fn session(&self, name: &str, database: &str) -> Result<Session, String> {
        let target = Target {
            host: self.hosts[name].clone(),
            port: PORT,
            database: database.to_owned(),
            user: "sa".to_owned(),
            password: Some(zeroize::Zeroizing::new("Secret-1".to_owned())),
            encryption: Encryption::Off,
            instance: None,
            connect_timeout: Duration::from_secs(5),
        };
        let limits = Limits { cancel: CancellationToken::new(), deadline: Instant::now() + PATIENCE };
        Session::open(&target, &limits).await.map_err(|error| error.to_string())
    }

    /// Each batch on its own, in master.
    pub async fn sql(&self, name: &str, batches: &[&str]) {
        let mut session = self.session(name, "master").await.expect("a session");
        for batch in batches {
            session.batch(batch).await.unwrap_or_else(|error| panic!("{batch}: {error}"));
        }
    }

    pub async fn rows(&self, name: &str, database: &str, sql: &str) -> Vec<Row> {
        let mut session = self.session(name, database).await.expect("a session");
        session.rows(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    pub async fn one(&self, name: &str, database: &str, sql: &str) -> String {
        let rows = self.rows(name, database, sql).await;
        let row = rows.first().unwrap_or_else(|| panic!("{sql}: no row"));
        let column = row.0.first().expect("a column").0.clone();
        row.text(&column).unwrap_or_default()
    }

    pub async fn state(&self, name: &str) -> String {
        self.one(name, "master", &format!("SELECT state_desc AS state FROM sys.databases WHERE name = N'{DATABASE}'"))
            .await
    }

    /// What the instance was asked, that begins so.
    pub fn statements(&self, name: &str, beginning: &str) -> Vec<String> {
        let log = Directory::new(self.path("world")).statement_log(name);
        let text = fs::read_to_string(log).unwrap_or_default();
        let statement = |line: &str| -> Option<String> {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let found =
                line.as_object()?.values().filter_map(Value::as_str).find(|text| text.trim().starts_with(beginning))?;
            Some(found.to_owned())
        };
        text.lines().filter_map(statement).collect()
    }

    pub fn mishap(&self, name: &str, statement: &str, times: Option<u32>, what: What) {
        self.change(|truth| {
            truth.faults.push(Mishap { instance: Some(name.to_owned()), statement: statement.to_owned(), times, what });
        });
    }

    pub fn change(&self, how: impl FnOnce(&mut Truth)) {
        let directory = Directory::new(self.path("world"));
        let _lock = directory.lock().expect("locked");
        let (_, mut truth) = directory.load().expect("a world");
        how(&mut truth);
        directory.save(&truth).expect("saved");
    }

    pub fn connection(&self, name: &str) -> Value {
        json!({
            "kind": "sqlserver", "host": self.hosts[name], "port": PORT, "database": "master", "user": "baton",
            "password": { "pieces": [{ "secret": "sql" }] }, "server_name": name,
        })
    }

    pub fn context(&self, step: &str, timeout: Duration) -> Context {
        self.context_with_notes(step, timeout, None)
    }

    pub fn context_with_notes(&self, step: &str, timeout: Duration, progress: Option<mpsc::Sender<Note>>) -> Context {
        let directory = self.path("agent/task").join(step.replace('/', "_"));
        fs::create_dir_all(&directory).expect("made");
        let policy = "paths = ['/**']\ndatabases = ['*']\nsecrets = ['*']";
        Context::new(ContextOptions {
            task: Some(TaskId {
                run: "g-1".parse().expect("a run"),
                step: StepId(step.to_owned()),
                host: HostName::new("h1").expect("a name"),
                attempt: 1,
            }),
            directory: Some(directory),
            run_directory: Some(self.path("agent/runs/g/1")),
            policy: Arc::new(Policy::parse(Path::new("policy.toml"), policy).expect("a policy")),
            secrets: Arc::new(Password),
            host: Default::default(),
            timeout,
            cancel: CancellationToken::new(),
            progress,
        })
        .expect("a context")
    }

    /// An action on the instance's database, with more parameters; a fault where they make no sense.
    pub fn binds(&self, name: &str, instance: &str, more: Value) -> Result<Box<dyn Perform>, Fault> {
        let mut parameters = json!({ "connection": self.connection(instance), "database": DATABASE });
        for (key, value) in more.as_object().expect("a map") {
            parameters[key] = value.clone();
        }
        bind(&Action::parse(name, &parameters).unwrap_or_else(|error| panic!("{error}")))
    }

    /// As [`Self::binds`], of parameters that make sense.
    pub fn action(&self, name: &str, instance: &str, more: Value) -> Box<dyn Perform> {
        self.binds(name, instance, more).unwrap_or_else(|fault| panic!("{fault}"))
    }

    pub async fn observe(&self, action: &dyn Perform) -> Result<Observation, Fault> {
        action.observe(&self.context("1", PATIENCE)).await
    }

    pub async fn act(&self, action: &dyn Perform) -> Result<Effect, Failure> {
        let context = self.context("1", PATIENCE);
        let ended = action.act(&context).await;
        let (output, _) = context.output().finish();
        eprintln!("{ended:?}\n{}{}", output.head, output.tail);
        ended
    }

    /// Differs, is done, is in place, and is unchanged when it is done again.
    pub async fn changes(&self, action: &dyn Perform) -> Effect {
        let before = self.observe(action).await;
        assert!(matches!(before, Ok(Observation::Differs { .. })), "before: {before:?}");
        let effect = self.act(action).await.unwrap_or_else(|failure| panic!("{failure}"));
        assert_ne!(effect.changed, Some(false), "{effect:?}");
        self.unchanged(action).await;
        effect
    }

    pub async fn unchanged(&self, action: &dyn Perform) -> Value {
        let after = self.observe(action).await;
        assert!(matches!(after, Ok(Observation::InPlace { .. })), "after: {after:?}");
        let again = self.act(action).await.unwrap_or_else(|failure| panic!("again: {failure}"));
        assert_eq!(again.changed, Some(false), "again: {again:?}");
        action.found(&self.context("1", PATIENCE)).await.expect("data")
    }

    pub async fn refused(&self, action: &dyn Perform, code: &str) -> Fault {
        match self.act(action).await {
            Err(Failure::Failed(fault)) if fault.code == code => fault,
            other => panic!("it should be refused with {code}: {other:?}"),
        }
    }

    /// `mgc` on the primary with a table, and a full backup of it restored on the secondary.
    pub async fn shipped() -> Self {
        let world = Self::start().await;
        let full = world.text("full.bak");
        world.sql(PRIMARY, &[&format!("CREATE DATABASE [{DATABASE}]")]).await;
        world.write(PRIMARY, "CREATE TABLE note (id int, text nvarchar(100))").await;
        world.insert(0).await;
        world.sql(PRIMARY, &[&format!("BACKUP DATABASE [{DATABASE}] TO DISK = N'{full}'")]).await;
        world.sql(SECONDARY, &[&format!("RESTORE DATABASE [{DATABASE}] FROM DISK = N'{full}' WITH NORECOVERY")]).await;
        world
    }

    pub async fn write(&self, name: &str, sql: &str) {
        let mut session = self.session(name, DATABASE).await.expect("a session");
        session.batch(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub async fn insert(&self, id: u32) {
        self.write(PRIMARY, &format!("INSERT INTO note (id, text) VALUES ({id}, N'note {id}')")).await;
    }

    /// A row, and a log backup of it in a directory.
    pub async fn log_backup(&self, id: u32, directory: &str, file: &str) {
        self.insert(id).await;
        let path = self.text(&format!("{directory}/{file}"));
        self.sql(PRIMARY, &[&format!("BACKUP LOG [{DATABASE}] TO DISK = N'{path}'")]).await;
    }

    /// Five log backups on the share, whose names say nothing of their order.
    pub async fn five(&self) -> [&'static str; 5] {
        let files = ["mgc_20240105.trn", "mgc_20240101.trn", "zz.trn", "mgc (copy).trn", "a.trn"];
        for (number, file) in files.iter().enumerate() {
            self.log_backup(number as u32 + 1, "share", file).await;
        }
        files
    }

    pub async fn ids(&self, name: &str) -> Vec<i64> {
        let rows = self.rows(name, DATABASE, "SELECT id FROM note ORDER BY id").await;
        rows.iter().filter_map(|row| row.int("id")).collect()
    }

    pub fn copy(&self, more: Value) -> Box<dyn Perform> {
        let mut parameters = json!({ "source": self.text("share"), "destination": self.text("own") });
        for (key, value) in more.as_object().expect("a map") {
            parameters[key] = value.clone();
        }
        self.action("mssql.log_shipping.copy", SECONDARY, parameters)
    }

    pub fn apply(&self) -> Box<dyn Perform> {
        self.action("mssql.log_shipping.apply", SECONDARY, json!({ "directory": self.text("own") }))
    }

    pub fn recover(&self) -> Box<dyn Perform> {
        self.action("mssql.log_shipping.recover", SECONDARY, json!({}))
    }

    pub fn files(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).expect("a directory").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.processes.get_mut().expect("whole").values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
