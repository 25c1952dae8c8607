//! Sets up Slony-I between the two appliances of an organisation through slonik, and waits until the copy is active.
//!
//! The lab's own way, not Baton's: how the world was before anybody failed over.

use std::{fmt::Write as _, path::Path, path::PathBuf, process::Stdio, time::Duration};

use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use super::{
    CLUSTER, Error, SET_COMMENT,
    appliance::{Appliance, Database},
    postgres::Endpoint,
};

/// How slon works: the first bounds how often the origin makes a SYNC, the second how long an idle one sleeps.
/// Both bound the rows at risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// `-s`, milliseconds.
    pub sync_interval_ms: u32,
    /// `-t`, milliseconds.
    pub sync_interval_timeout_ms: u32,
}

impl Tuning {
    /// What the project recommends: under a second behind.
    pub const TUNED: Self = Self { sync_interval_ms: 200, sync_interval_timeout_ms: 1000 };
    /// Slony's own defaults: seconds behind.
    pub const DEFAULT: Self = Self { sync_interval_ms: 2000, sync_interval_timeout_ms: 10000 };

    /// As options of slon.
    pub fn options(self) -> String {
        format!("-s {} -t {}", self.sync_interval_ms, self.sync_interval_timeout_ms)
    }
}

/// One replicated database: node 1 is `origin`, node 2 is `subscriber`.
#[derive(Debug, Clone)]
pub struct Pair<'a> {
    /// The appliance that is written to.
    pub origin: &'a Appliance,
    /// The one that is read only.
    pub subscriber: &'a Appliance,
    /// Which database.
    pub database: Database,
}

/// The tables and sequences that Slony replicates: all with a place in the catalogue, except Slony's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relations {
    /// Qualified names.
    pub tables: Vec<String>,
    /// Qualified names.
    pub sequences: Vec<String>,
}

impl Relations {
    /// Reads them from the catalogue.
    pub async fn read(endpoint: &Endpoint) -> Result<Self, Error> {
        let rows = endpoint
            .connect()
            .await?
            .query(
                "select c.relkind = 'r', quote_ident(n.nspname) || '.' || quote_ident(c.relname)
                   from pg_class c join pg_namespace n on n.oid = c.relnamespace
                  where c.relkind in ('r', 'S') and c.relpersistence = 'p'
                    and n.nspname !~ '^(pg_|information_schema$)' and n.nspname <> '_slony' order by 2",
                &[],
            )
            .await
            .map_err(endpoint.refused("list the tables and sequences"))?;
        let mut relations = Self::default();
        for row in rows {
            if row.get(0) { &mut relations.tables } else { &mut relations.sequences }.push(row.get(1));
        }
        Ok(relations)
    }
}

/// Runs slonik scripts.
#[derive(Debug, Clone)]
pub struct Slonik {
    /// The program.
    pub program: PathBuf,
    /// libpq's password file: no password is ever part of a script, which Slony would store in clear.
    pub pgpass: PathBuf,
}

impl Pair<'_> {
    fn conninfo(&self, appliance: &Appliance) -> String {
        let (address, port, database) = (appliance.address, appliance.database_port, self.database);
        format!("host={address} port={port} dbname={database} user=slony connect_timeout=5")
    }

    /// What every script begins with: the cluster's name, and how to reach its two nodes.
    pub fn preamble(&self) -> String {
        let (one, two) = (self.conninfo(self.origin), self.conninfo(self.subscriber));
        format!("cluster name = {CLUSTER};\nnode 1 admin conninfo = '{one}';\nnode 2 admin conninfo = '{two}';\n")
    }

    /// Nodes, paths and the set. The slons are started after it: earlier they would sleep ten seconds for a path.
    pub fn initialization(&self, relations: &Relations) -> String {
        let (one, two) = (self.conninfo(self.origin), self.conninfo(self.subscriber));
        let (a, b) = (&self.origin.name, &self.subscriber.name);
        let mut script = self.preamble();
        script += &format!(
            "init cluster (id = 1, comment = '{a}');\nstore node (id = 2, comment = '{b}', event node = 1);\n\
             store path (server = 1, client = 2, conninfo = '{one}');\nstore path (server = 2, client = 1, conninfo = '{two}');\n\
             create set (id = 1, origin = 1, comment = '{SET_COMMENT}');\n"
        );
        for (number, table) in relations.tables.iter().enumerate() {
            let number = number + 1;
            let _ = writeln!(
                script,
                "set add table (set id = 1, origin = 1, id = {number}, fully qualified name = '{table}');"
            );
        }
        for (number, sequence) in relations.sequences.iter().enumerate() {
            let number = number + 1;
            let _ = writeln!(
                script,
                "set add sequence (set id = 1, origin = 1, id = {number}, fully qualified name = '{sequence}');"
            );
        }
        script
    }

    /// The subscription, and the wait until its copy is done and one SYNC after it is applied.
    pub fn subscription(&self) -> String {
        let wait = "wait for event (origin = 1, confirmed = 2, wait on = 1, timeout = 60);\n";
        let subscribe = "subscribe set (id = 1, provider = 1, receiver = 2, forward = yes);\n";
        format!("{}{subscribe}{wait}sync (id = 1);\n{wait}", self.preamble())
    }

    /// A SYNC on the origin, and the wait until the subscriber has it: certain catch-up while the origin lives.
    pub fn catch_up(&self) -> String {
        let wait = "sync (id = 1);\nwait for event (origin = 1, confirmed = 2, wait on = 1, timeout = 60);\n";
        format!("{}{wait}", self.preamble())
    }
}

impl Slonik {
    /// Runs a script to its end. Bounded from outside too: some of slonik's waits have no end of their own.
    pub async fn run(&self, what: &str, script: &str, within: Duration) -> Result<(), Error> {
        let mut child = Command::new(&self.program)
            .env("PGPASSFILE", &self.pgpass)
            .env("PGOPTIONS", "-c client_min_messages=warning")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| Error::Start { what: what.to_owned(), source })?;
        if let Some(mut input) = child.stdin.take() {
            // A script that slonik gives up early shows in its exit, with slonik's own words.
            drop(input.write_all(script.as_bytes()).await);
        }
        let Ok(ended) = timeout(within, child.wait_with_output()).await else {
            return Err(Error::TooSlow {
                what: what.to_owned(),
                seconds: within.as_secs(),
                output: "slonik was killed".into(),
            });
        };
        let output = ended.map_err(|source| Error::Start { what: what.to_owned(), source })?;
        if output.status.success() {
            return Ok(());
        }
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Err(Error::Program { what: what.to_owned(), status: output.status.to_string(), output: said.trim().to_owned() })
    }
}

/// Runs one of an appliance's scripts.
pub(super) async fn script(path: &Path, arguments: &[&str]) -> Result<String, Error> {
    let mut command = Command::new(path);
    command.args(arguments).current_dir("/");
    super::postgres::finish(&path.display().to_string(), command, Duration::from_secs(60)).await
}
