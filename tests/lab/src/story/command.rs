//! The `baton` command as a story uses it: runs to their end, refusals, what status says.
//!
//! Apart, because every story needs it, and none may know more of Baton than a user sees.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Teller, Told};
use crate::cluster::{Cluster, until};

/// Whether `baton`'s own live tree is shown on the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    Live,
    Quiet,
}

/// How an operator types it: words with blanks are quoted.
pub fn typed(arguments: &[&str]) -> String {
    let quoted = |word: &&str| if word.contains(' ') { format!("{word:?}") } else { (*word).to_owned() };
    format!("$ baton {}", arguments.iter().map(quoted).collect::<Vec<_>>().join(" "))
}

/// Runs `baton` for a runbook to its end; answers a `confirm` as a person would after looking. Returns the run's name.
pub fn run(cluster: &Cluster, teller: &mut Teller, show: Show, arguments: &[&str]) -> Result<String> {
    let mut all = arguments.to_vec();
    all.extend(["--yes"]);
    let group = arguments[1].to_owned();
    let before = newest_run(cluster, &group)?;
    teller.say(&typed(&all));
    let mut ended = shown(cluster.command(&all), show).spawn()?.wait_with_output()?;
    let id = until(Duration::from_secs(20), "new run", || match newest_run(cluster, &group)? {
        Some(id) if Some(&id) != before.as_ref() => Ok(id),
        _ => bail!("no run began: {}", String::from_utf8_lossy(&ended.stderr)),
    })?;
    while ended.status.code() == Some(3) {
        let view = cluster.json(&["show", &id])?;
        let question = view["steps"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|step| step["state"] == "waiting")
            .map(|step| step["question"].as_str().unwrap_or_default().to_owned());
        let Some(question) = question else {
            bail!("{id} is halted: {}", view["why"]);
        };
        teller.say(&format!("a person is asked: {question}"));
        cluster.json(&["confirm", &id, "--reason", "seen"])?;
        ended = shown(cluster.command(&["watch", &id]), show).spawn()?.wait_with_output()?;
    }
    let view = cluster.json(&["show", &id])?;
    let took =
        view["ended"].as_u64().unwrap_or_default().saturating_sub(view["started"]["when"].as_u64().unwrap_or_default());
    let phase = view["phase"].as_str().unwrap_or("?").to_owned();
    teller.record.runs.push(Told {
        run: id.clone(),
        runbook: view["runbook"].as_str().unwrap_or("?").to_owned(),
        phase: phase.clone(),
        steps: view["steps"].as_array().map_or(0, Vec::len),
        took_ms: took,
    });
    if !ended.status.success() || phase != "succeeded" {
        bail!("{id} ended {phase} ({}): {} {}", ended.status, view["why"], String::from_utf8_lossy(&ended.stderr));
    }
    Ok(id)
}

fn shown(mut command: Command, show: Show) -> Command {
    match show {
        Show::Live => command.stdout(Stdio::inherit()).stderr(Stdio::inherit()),
        Show::Quiet => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
    };
    command
}

/// Runs `baton`, which must refuse with this code, and say all of `words`. What it said is told.
pub fn refused(cluster: &Cluster, teller: &mut Teller, arguments: &[&str], code: &str, words: &[&str]) -> Result<()> {
    teller.say(&typed(arguments));
    let output = cluster.baton(arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    said.lines().for_each(|line| teller.say(&format!("  {line}")));
    let missing: Vec<&&str> = words.iter().filter(|word| !said.contains(**word)).collect();
    let ok = output.status.code() == Some(5) && said.contains(code) && missing.is_empty();
    let seen = match ok {
        true => format!("{code}, nothing was changed"),
        false => format!("exit {:?}, not said: {missing:?}; said: {said}", output.status.code()),
    };
    teller.check("refused", ok, seen);
    Ok(())
}

/// Runs `baton` and shows what it prints; it must end with 0.
pub fn look(cluster: &Cluster, teller: &Teller, show: Show, arguments: &[&str]) -> Result<String> {
    teller.say(&typed(arguments));
    let output = cluster.baton(arguments)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{}: {}: {}", typed(arguments), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    if show == Show::Live {
        said.lines().for_each(|line| teller.say(&format!("  {line}")));
    }
    Ok(said)
}

/// The group's newest run.
pub fn newest_run(cluster: &Cluster, group: &str) -> Result<Option<String>> {
    let runs = cluster.json(&["runs", group])?;
    let number = |run: &Value| run["id"].as_str().and_then(|id| id.rsplit_once('-')?.1.parse::<u64>().ok());
    Ok(runs
        .as_array()
        .into_iter()
        .flatten()
        .max_by_key(|run| number(run))
        .and_then(|run| Some(run["id"].as_str()?.to_owned())))
}

/// What `baton status` says of one group.
pub fn group(cluster: &Cluster, group: &str) -> Result<Value> {
    let status = cluster.json(&["status", group])?;
    find_group(&status, group).cloned().context("status without the group")
}

/// `baton status` shows one group or all of them.
pub fn find_group<'a>(status: &'a Value, group: &str) -> Option<&'a Value> {
    if status["name"] == group {
        return Some(status);
    }
    status["groups"].as_array()?.iter().find(|view| view["name"] == group)
}
