//! Runs slonik: a script in, its words out, and an end in any case.
//!
//! Apart because slonik has waits without an end of their own. The deadline, a cancelled task and a dropped future all end its
//! process group. Passwords go through a password file of this call alone, never through the script.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use baton_model::outcome::Fault;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader},
    process::Command,
};

use crate::{
    action::Context,
    host::program::{self, leftovers},
};

use super::node::Node;

/// Where Slony's programs are, beside the PATH.
const DIRECTORIES: [&str; 6] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/slony/bin",
    "/usr/local/pgsql/bin",
    "/usr/lib/postgresql/bin",
];
/// Lines of slonik's words that an error repeats.
const SHOWN_LINES: usize = 8;

/// A program of Slony's by its name.
pub(super) fn program(name: &str) -> Result<PathBuf, Fault> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(DIRECTORIES.iter().map(PathBuf::from));
    places.map(|place| place.join(name)).find(|file| file.is_file()).ok_or_else(|| {
        Fault::new(
            "BTN-0732",
            format!("the program {name} is not on this host"),
            "Install Slony-I's programs, or put them in the agent's PATH.",
        )
    })
}

/// A script for a cluster. Each statement is a transaction of its own.
pub(super) struct Script {
    text: String,
    passwords: Vec<(String, zeroize::Zeroizing<String>)>,
    /// Bound on the locks that a statement waits for.
    pub lock_timeout: Option<Duration>,
}

impl Script {
    /// The preamble: the cluster, and how its nodes are reached.
    pub fn new(nodes: &[(i64, &Node)]) -> Self {
        let cluster = nodes.first().map(|(_, node)| node.cluster.name()).unwrap_or_default();
        let mut text = format!("cluster name = {cluster};\n");
        let mut passwords = Vec::new();
        for (id, node) in nodes {
            text.push_str(&format!("node {id} admin conninfo = '{}';\n", node.conninfo()));
            if let Some(password) = &node.target.password {
                let fields = [&node.target.host, &node.target.port.to_string(), &node.database, &node.target.user];
                let place = fields.map(|field| escaped(field)).join(":");
                passwords.push((place, password.clone()));
            }
        }
        Self { text, passwords, lock_timeout: None }
    }

    /// Adds a statement.
    pub fn say(&mut self, statement: impl AsRef<str>) -> &mut Self {
        self.text.push_str(statement.as_ref());
        self.text.push('\n');
        self
    }

    /// Runs it; what slonik said goes to the task's output as it says it. An error holds its last lines.
    pub async fn run(&self, what: &str, within: Duration, context: &Context) -> Result<(), Fault> {
        let password_file = self.password_file(context)?;
        let slonik = self::program("slonik")?;
        // Slonik holds back its output when piped; nobody would see what it waits for.
        let mut command = match Path::new("/usr/bin/stdbuf").is_file() {
            true => {
                let mut command = Command::new("/usr/bin/stdbuf");
                command.args(["-oL", "-eL"]).arg(slonik);
                command
            }
            false => Command::new(slonik),
        };
        let mut options = "-c client_min_messages=warning".to_owned();
        if let Some(bound) = self.lock_timeout {
            options.push_str(&format!(" -c lock_timeout={}", bound.as_millis()));
        }
        command.env("PGPASSFILE", password_file.path()).env("PGOPTIONS", options).env("PGCONNECT_TIMEOUT", "5");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        program::bind_to_agent(&mut command, context);
        let failed = |why: String| {
            Fault::new("BTN-0733", format!("{what}: {why}"), "Look at the task's output for all that slonik said.")
        };
        let mut child = command.spawn().map_err(|error| failed(format!("slonik could not be started: {error}")))?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        // A slonik that goes on after the agent was killed would work beside the one that comes next.
        group.0.into_iter().for_each(|leader| leftovers::note(context, leader));
        let mut input = child.stdin.take().expect("piped above");
        // A script that slonik gives up early shows in its exit, with slonik's own words.
        drop(input.write_all(self.text.as_bytes()).await);
        drop(input);
        let (out, err) = (child.stdout.take().expect("piped above"), child.stderr.take().expect("piped above"));
        let ended = async {
            let (mut said, more) = tokio::join!(listen(what, out, context), listen(what, err, context));
            said.extend(more);
            (child.wait().await, said)
        };
        let (status, said) = tokio::select! {
            () = context.cancelled() => return Err(failed("cancelled, and slonik was killed".to_owned())),
            () = tokio::time::sleep(within) => return Err(failed(format!("no end within {within:?}, and slonik was killed"))),
            ended = ended => ended,
        };
        // Reaped: from here on the number may be another's.
        group.0 = None;
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                let tail = said[said.len().saturating_sub(SHOWN_LINES)..].join(" | ");
                Err(failed(format!("slonik ended with {status}: {tail}")))
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }

    fn password_file(&self, context: &Context) -> Result<tempfile::NamedTempFile, Fault> {
        let failed = |error: std::io::Error| {
            Fault::new("BTN-0733", format!("cannot write the password file for slonik: {error}"), "")
        };
        // Readable by its owner alone, and removed when this call ends.
        let mut builder = tempfile::Builder::new();
        builder.prefix("baton-pgpass-");
        // A killed agent leaves it behind: then at least where only the agent looks.
        let made = context.directory().map_or_else(|| builder.tempfile(), |directory| builder.tempfile_in(directory));
        let mut file = made.map_err(failed)?;
        for (place, password) in &self.passwords {
            writeln!(file, "{place}:{}", escaped(password)).map_err(failed)?;
        }
        file.flush().map_err(failed)?;
        Ok(file)
    }
}

/// As libpq's password file wants it.
pub(super) fn escaped(field: &str) -> String {
    field.replace('\\', "\\\\").replace(':', "\\:")
}

async fn listen(what: &str, from: impl AsyncRead + Unpin, context: &Context) -> Vec<String> {
    let mut lines = BufReader::new(from).lines();
    let mut said = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        context.output().line(format!("{what}: {line}"));
        if said.len() >= 2 * SHOWN_LINES {
            said.remove(0);
        }
        said.push(line);
    }
    said
}

/// Ends the process group when the call ends in any way.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}
