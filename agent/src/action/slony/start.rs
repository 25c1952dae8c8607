//! `slony.start`: starts the slons that do not run, and never a second one for the same node: that one would die and take the
//! live one's pid file with it.
//!
//! Apart because it must look in two places before it starts anything: the process table and the database's own sessions.

use std::{
    io::Write,
    os::unix::fs::{OpenOptionsExt, chown},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use async_trait::async_trait;
use baton_model::{
    action::slony::Start,
    outcome::{Fault, Observation},
};
use serde_json::json;
use tokio::process::Command;

use crate::action::{Context, Effect, Failure, Perform, sql::limits};

use super::{
    daemon::slons,
    node::Node,
    observed, sentence,
    slonik::{escaped, program},
    state::look,
};

const POLL_EVERY: Duration = Duration::from_millis(100);
/// A start script that has not returned by then is left alone: it may be the slon itself.
const SCRIPT_WITHIN: Duration = Duration::from_secs(20);
/// How often the origin makes a SYNC and how long an idle slon sleeps: with Slony's own defaults the rows at risk are seconds.
const TUNING: [&str; 4] = ["-s", "200", "-t", "1000"];
/// Where a slon that Baton starts itself keeps its password file and log.
const RUN_DIRECTORY: &str = "/run/baton/slon";

enum Running {
    Yes(String),
    No,
}

async fn running(node: &Node, context: &Context) -> Result<Running, Fault> {
    let target = &node.target;
    let mut unclear = Vec::new();
    for slon in slons() {
        match slon.serves(&target.host, target.port, &target.database) {
            Some(true) => return Ok(Running::Yes(slon.describe())),
            Some(false) => {}
            None => unclear.push(slon.describe()),
        }
    }
    // Started in another way, or on another host: its sessions show it.
    if look(node, context).await?.1.is_some_and(|view| view.slons > 0) {
        return Ok(Running::Yes("seen by its sessions".to_owned()));
    }
    if unclear.is_empty() {
        return Ok(Running::No);
    }
    let message = format!("{node}: it cannot be told whether these slons are its own: {}", unclear.join(", "));
    Err(Fault::new(
        "BTN-0752",
        message,
        "End them (slony.stop), then retry: a second slon for one node harms the first.",
    ))
}

#[async_trait]
impl Perform for Start {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut parts = Vec::new();
        for node in Node::all(&self.server, &self.databases, &self.cluster, context).await? {
            let one = match running(&node, context).await? {
                Running::Yes(how) => Ok(format!("slon runs: {how}")),
                Running::No => Err(match self.scripts.get(&node.database) {
                    Some(script) => format!("run {script}"),
                    None => "start slon".to_owned(),
                }),
            };
            parts.push((node.label(), one));
        }
        Ok(observed(parts))
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut parts = Vec::new();
        let mut changed = false;
        for node in Node::all(&self.server, &self.databases, &self.cluster, context).await? {
            if let Running::Yes(how) = running(&node, context).await? {
                parts.push((node.label(), format!("ran already ({how})")));
                continue;
            }
            match self.scripts.get(&node.database) {
                Some(script) => run_script(script, self.user.as_deref(), &node, context).await?,
                None => start_directly(self.user.as_deref(), &node)?,
            }
            changed = true;
            parts.push((node.label(), working(&node, context).await?));
        }
        Ok(Effect { summary: sentence(&parts), data: json!(null), changed: Some(changed) })
    }

    fn repeatable(&self) -> bool {
        true
    }
}

/// Waits until the slon is at work, or, where there is nothing to work on yet, until its process is there.
async fn working(node: &Node, context: &Context) -> Result<String, Fault> {
    let (session, _) = look(node, context).await?;
    loop {
        let view = super::state::read(&session, node).await?;
        let process = slons()
            .into_iter()
            .find(|slon| slon.serves(&node.target.host, node.target.port, &node.database) == Some(true));
        match (&view, &process) {
            (Some(view), _) if view.slons > 0 => return Ok("slon started".to_owned()),
            (None, Some(process)) => {
                return Ok(format!("slon started, waits for Slony's schema ({})", process.describe()));
            }
            _ => {}
        }
        if limits(context).pause("start slon", POLL_EVERY).await.is_err() {
            let seen = process
                .map_or("there is no such process".to_owned(), |process| format!("it runs as {}", process.describe()));
            return Err(Fault::new(
                "BTN-0753",
                format!("{node}: slon was started and is not at work; {seen}"),
                "Look at slon's log.",
            ));
        }
    }
}

fn identity(user: &str) -> Result<(u32, u32), Fault> {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let fields =
        accounts.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.first() == Some(&user));
    let ids = fields.and_then(|fields| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)));
    ids.ok_or_else(|| {
        Fault::new("BTN-0754", format!("there is no user {user:?} on this host"), "Correct the step's user.")
    })
}

fn detached(command: &mut Command, user: Option<&str>) -> Result<(), Fault> {
    if let Some(user) = user {
        let (uid, gid) = identity(user)?;
        command.uid(uid).gid(gid);
    }
    // A group of its own: the slon must outlive the task.
    command.process_group(0).current_dir("/").stdin(Stdio::null());
    Ok(())
}

async fn run_script(script: &str, user: Option<&str>, node: &Node, context: &Context) -> Result<(), Fault> {
    let path = context.policy().check_program(script)?;
    let failed = |why: String| {
        Fault::new("BTN-0753", format!("{node}: {script}: {why}"), "Run the script by hand to see what it says.")
    };
    // A file, not a pipe: the slon inherits it, and a pipe would be held open, or break, when the task ends.
    let said = tempfile::NamedTempFile::new().map_err(|error| failed(error.to_string()))?;
    let file = || said.as_file().try_clone().map(Stdio::from).map_err(|error| failed(error.to_string()));
    let mut command = Command::new(path);
    command.stdout(file()?).stderr(file()?);
    detached(&mut command, user)?;
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let ended = tokio::select! {
        () = context.cancelled() => return Err(failed("cancelled while it ran; it was left alone".to_owned())),
        ended = tokio::time::timeout(SCRIPT_WITHIN, child.wait()) => ended,
    };
    let text = std::fs::read_to_string(said.path()).unwrap_or_default();
    context.output().bytes(text.as_bytes());
    match ended {
        Ok(Ok(status)) if !status.success() => {
            let tail: Vec<&str> = text.lines().rev().take(5).collect();
            Err(failed(format!("{status}: {}", tail.into_iter().rev().collect::<Vec<_>>().join(" | "))))
        }
        Ok(Err(error)) => Err(failed(error.to_string())),
        // Still in the foreground: whether a slon is at work is asked next.
        Err(_) | Ok(Ok(_)) => Ok(()),
    }
}

fn start_directly(user: Option<&str>, node: &Node) -> Result<(), Fault> {
    let failed = |error: std::io::Error| Fault::new("BTN-0753", format!("{node}: slon cannot be started: {error}"), "");
    let mut command = Command::new(program("slon")?);
    let directory = PathBuf::from(RUN_DIRECTORY);
    std::fs::create_dir_all(&directory).map_err(failed)?;
    let name = format!("{}-{}-{}", node.target.host, node.target.port, node.database);
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    let log = options.open(directory.join(format!("{name}.log"))).map_err(failed)?;
    if let Some(password) = &node.target.password {
        // The slon reads it whenever it connects, to the other node too, whose address it takes from sl_path.
        let path = directory.join(format!("{name}.pgpass"));
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        writeln!(file, "*:*:*:{}:{}", escaped(&node.target.user), escaped(password)).map_err(failed)?;
        if let Some(user) = user {
            let (uid, gid) = identity(user)?;
            chown(&path, Some(uid), Some(gid)).map_err(failed)?;
        }
        command.env("PGPASSFILE", path);
    }
    command.args(TUNING).arg(node.cluster.name()).arg(node.conninfo());
    command.stdout(log.try_clone().map_err(failed)?).stderr(log);
    detached(&mut command, user)?;
    let mut child = command.spawn().map_err(failed)?;
    // Collected when it ends, so that no dead process stays behind; it is not waited for here.
    tokio::spawn(async move { child.wait().await });
    Ok(())
}
