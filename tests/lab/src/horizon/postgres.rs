//! One PostgreSQL server of a machine, and how to talk to it.
//!
//! Crash honesty: `fsync` and `synchronous_commit` stay on. Only `initdb` skips its syncs, before there is anything
//! to lose.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, time::timeout};
use tokio_postgres::{Client, NoTls};

use super::{Error, appliance::Appliance, layout};
use crate::packages::Programs;

/// How long a connection may take. A frozen server accepts and then says nothing.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// Where and as whom to connect.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The server.
    pub address: SocketAddr,
    /// The database's name.
    pub database: String,
    /// The role.
    pub user: String,
    /// Its password. Never printed.
    pub password: String,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}@{}/{}", self.user, self.address, self.database)
    }
}

impl Endpoint {
    /// Connects, within half a minute: a loaded machine is no dead server. The connection ends when the client is dropped.
    pub async fn connect(&self) -> Result<Client, Error> {
        self.connect_within(CONNECT_WITHIN).await
    }

    /// Connects within the given time.
    pub async fn connect_within(&self, within: Duration) -> Result<Client, Error> {
        let mut config = tokio_postgres::Config::new();
        config
            .host(self.address.ip().to_string())
            .port(self.address.port())
            .dbname(&self.database)
            .user(&self.user)
            .password(&self.password)
            .application_name("lab");
        let silent =
            || Error::NoAnswer { address: self.address, database: self.database.clone(), seconds: within.as_secs() };
        let refused = |source| Error::Connect { address: self.address, database: self.database.clone(), source };
        let (client, connection) =
            timeout(within, config.connect(NoTls)).await.map_err(|_| silent())?.map_err(refused)?;
        // Ends by itself when the client is dropped or the server goes away; the client then gets the error.
        tokio::spawn(connection);
        Ok(client)
    }

    /// Wraps a server's refusal with what was tried.
    pub fn refused(&self, what: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Error {
        let (what, address, database) = (what.into(), self.address, self.database.clone());
        move |source| Error::Sql { what, address, database, source }
    }

    /// Connects and runs statements.
    pub async fn run(&self, what: &str, statements: &str) -> Result<(), Error> {
        self.connect().await?.batch_execute(statements).await.map_err(self.refused(what))
    }
}

/// Who runs the servers: PostgreSQL refuses to run as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// User `postgres` when the lab runs as root; otherwise the lab's own user, which is `None` here.
    pub fn needed() -> Result<Option<Self>, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let fields = accounts.lines().find_map(|line| line.strip_prefix("postgres:")).ok_or(Error::NoPostgresUser)?;
        let mut fields = fields.split(':').skip(1).map(str::parse);
        match (fields.next(), fields.next()) {
            (Some(Ok(uid)), Some(Ok(gid))) => Ok(Some(Self { uid, gid })),
            _ => Err(Error::NoPostgresUser),
        }
    }

    /// Whether the user can enter the directory and all above it.
    pub fn can_enter(self, directory: &Path) -> Result<(), Error> {
        for above in directory.ancestors() {
            let Ok(found) = fs::metadata(above) else { continue };
            let bit = if found.uid() == self.uid {
                0o100
            } else if found.gid() == self.gid {
                0o010
            } else {
                0o001
            };
            if found.permissions().mode() & bit == 0 {
                return Err(Error::Unreachable { path: above.to_owned() });
            }
        }
        Ok(())
    }
}

/// Where a server lives: its files, and its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub data: PathBuf,
    pub log: PathBuf,
    pub address: SocketAddr,
}

impl From<&Appliance> for Place {
    fn from(appliance: &Appliance) -> Self {
        let address = SocketAddr::from((appliance.address, appliance.database_port));
        Self { data: appliance.data(), log: appliance.log("postgres"), address }
    }
}

/// The server of one machine.
#[derive(Debug, Clone)]
pub struct Server {
    programs: Programs,
    user: Option<User>,
    place: Place,
}

impl Server {
    /// Names the server; does nothing yet.
    pub fn new(place: impl Into<Place>, programs: &Programs, user: Option<User>) -> Self {
        Self { programs: programs.clone(), user, place: place.into() }
    }

    /// Makes an empty server with its superuser `postgres`.
    pub async fn initialize(&self, password: &str) -> Result<(), Error> {
        let Place { data, log, .. } = &self.place;
        let password_file = data.with_extension("password");
        layout::write_file(&password_file, 0o600, password)?;
        layout::create_directory(data)?;
        layout::write_file(log, 0o600, "")?;
        if let Some(user) = self.user {
            for path in [&password_file, data, log] {
                let owned = chown(path, Some(user.uid), Some(user.gid));
                owned.map_err(|source| Error::File { verb: "give to user postgres", path: path.clone(), source })?;
            }
        }
        let mut initdb = self.command("initdb");
        initdb.args(["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        initdb.arg("--no-instructions").arg("--pwfile").arg(&password_file);
        let made = finish("initdb", initdb, Duration::from_secs(60)).await;
        drop(fs::remove_file(&password_file));
        made?;
        self.append("postgresql.conf", &configuration(self.place.address))?;
        // Every machine of the world, by password; nobody without.
        let allowed = "host all all 127.0.0.0/8 scram-sha-256\n";
        let path = data.join("pg_hba.conf");
        fs::write(&path, allowed).map_err(|source| Error::File { verb: "write", path, source })
    }

    /// Starts it and waits until it takes connections; after a crash this includes the recovery.
    pub async fn start(&self) -> Result<(), Error> {
        let mut start = self.command("pg_ctl");
        start.args(["start", "-w", "-s", "-t", "60", "-l"]).arg(&self.place.log);
        finish("pg_ctl start", start, Duration::from_secs(70)).await.map(drop)
    }

    /// Stops it cleanly: open connections are ended, everything is written.
    pub async fn stop(&self) -> Result<(), Error> {
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "-w", "-s", "-m", "fast", "-t", "60"]);
        finish("pg_ctl stop", stop, Duration::from_secs(70)).await.map(drop)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.of_postgres(program));
        command
            .arg("-D")
            .arg(&self.place.data)
            .current_dir(&self.place.data)
            .env_clear()
            .env("LANG", "C.UTF-8")
            .env("PATH", "/usr/bin:/bin");
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    fn append(&self, file: &str, text: &str) -> Result<(), Error> {
        let path = self.place.data.join(file);
        let before = fs::read_to_string(&path);
        let written = before.and_then(|before| fs::write(&path, before + text));
        written.map_err(|source| Error::File { verb: "append to", path, source })
    }
}

fn configuration(address: SocketAddr) -> String {
    format!(
        "\n# The lab's own.\nlisten_addresses = '{}'\nport = {}\nunix_socket_directories = ''\n\
         max_connections = 80\nshared_buffers = 32MB\nmax_wal_size = 256MB\nautovacuum_naptime = 20s\n\
         # Files in the data directory: a killed server leaves nothing in /dev/shm.\n\
         dynamic_shared_memory_type = mmap\n\
         # No query here is worth compiling; loading the compiler costs every session more than its query.\n\
         jit = off\n\
         fsync = on\nsynchronous_commit = on\nlog_min_messages = warning\nlog_line_prefix = '%m [%p] %d %a '\n",
        address.ip(),
        address.port()
    )
}

/// Runs a program to its end and returns what it said; an error holds the end of it.
pub(super) async fn finish(what: &str, mut command: Command, within: Duration) -> Result<String, Error> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn();
    let child = child.map_err(|source| Error::Start { what: what.to_owned(), source })?;
    let Ok(ended) = timeout(within, child.wait_with_output()).await else {
        return Err(Error::TooSlow { what: what.to_owned(), seconds: within.as_secs(), output: "killed".into() });
    };
    let output = ended.map_err(|source| Error::Start { what: what.to_owned(), source })?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        return Ok(said);
    }
    let tail: Vec<&str> = said.lines().rev().take(6).collect();
    let output_tail = tail.into_iter().rev().collect::<Vec<_>>().join(" | ");
    Err(Error::Program { what: what.to_owned(), status: output.status.to_string(), output: output_tail })
}
