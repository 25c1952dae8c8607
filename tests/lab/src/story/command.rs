//! The `baton` command as a story uses it: runs to their end, refusals, what status says.
//!
//! Apart, because every story needs it, and none may know more of Baton than a user sees.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Teller, Told};
use crate::cluster::{Cluster, until};

/// What of `baton`'s own output is shown on the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// The plan, and the run as it is watched.
    Live,
    /// The run as it is watched.
    Brief,
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
    if show == Show::Brief {
        all.push("--detach");
    }
    let first = if show == Show::Brief { Show::Quiet } else { show };
    let mut ended = shown(cluster.command(&all), first).spawn()?.wait_with_output()?;
    let id = until(Duration::from_secs(20), "new run", || match newest_run(cluster, &group)? {
        Some(id) if Some(&id) != before.as_ref() => Ok(id),
        _ => bail!("no run began: {}", String::from_utf8_lossy(&ended.stderr)),
    })?;
    let mut told = BTreeSet::new();
    let view = loop {
        let view = if show == Show::Brief {
            follow(cluster, teller, &id, &mut told)?
        } else {
            cluster.json(&["show", &id])?
        };
        if view["over"] == true {
            break view;
        }
        let question = steps(&view).find(|step| step["state"] == "waiting").and_then(|step| step["question"].as_str());
        let Some(question) = question else {
            bail!("{id} is {}: {} {}", view["phase"], view["why"], String::from_utf8_lossy(&ended.stderr));
        };
        if show != Show::Brief {
            teller.say(&format!("a person is asked: {question}"));
        }
        cluster.json(&["confirm", &id, "--reason", "seen"])?;
        if show != Show::Brief {
            ended = shown(cluster.command(&["watch", &id]), show).spawn()?.wait_with_output()?;
        }
    };
    let id = noted(teller, id, &view);
    id.with_context(|| format!("{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr)))
}

/// Waits until a run begins that nobody asked for, and follows it to its end, which must be a good one. `before`: the newest one of
/// before whatever makes it begin. Returns its name.
pub fn by_itself(
    cluster: &Cluster,
    teller: &mut Teller,
    show: Show,
    group: &str,
    before: Option<&str>,
    within: Duration,
) -> Result<String> {
    let id = until(within, "run that began by itself", || match newest_run(cluster, group)? {
        Some(id) if Some(id.as_str()) != before => Ok(id),
        newest => bail!("the newest run is {newest:?}"),
    })?;
    teller.say(&format!("{id} began by itself"));
    let mut told = BTreeSet::new();
    let view = loop {
        let view = match show {
            Show::Quiet => cluster.json(&["show", &id])?,
            Show::Live | Show::Brief => follow(cluster, teller, &id, &mut told)?,
        };
        if view["over"] == true || view["phase"] == "halted" {
            break view;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    noted(teller, id, &view)
}

/// A line of the table at the end for a run that is over; an error for one that did not succeed.
fn noted(teller: &mut Teller, id: String, view: &Value) -> Result<String> {
    let took =
        view["ended"].as_u64().unwrap_or_default().saturating_sub(view["started"]["when"].as_u64().unwrap_or_default());
    let phase = view["phase"].as_str().unwrap_or("?").to_owned();
    teller.record.runs.push(Told {
        run: id.clone(),
        runbook: view["runbook"].as_str().unwrap_or("?").to_owned(),
        phase: phase.clone(),
        steps: steps(view).count(),
        took_ms: took,
    });
    if phase != "succeeded" {
        bail!("{id} ended {phase}: {}", view["why"]);
    }
    Ok(id)
}

fn steps(view: &Value) -> impl Iterator<Item = &Value> {
    view["steps"].as_array().into_iter().flatten()
}

/// Tells every step that has ended, once, until the run is over or nothing moves without a person. `told`: steps of before.
fn follow(cluster: &Cluster, teller: &Teller, id: &str, told: &mut BTreeSet<String>) -> Result<Value> {
    loop {
        let view = cluster.json(&["show", id])?;
        for step in steps(&view) {
            let key = format!("{}{}", step["undo"], step["id"]);
            if matches!(step["state"].as_str(), Some("done" | "failed" | "unknown")) && told.insert(key) {
                teller.say(&line(step));
            }
        }
        let waits = steps(&view).any(|step| step["state"] == "waiting");
        if view["over"] == true || view["phase"] == "halted" || waits {
            return Ok(view);
        }
        std::thread::sleep(Duration::from_millis(150));
    }
}

/// A step that has ended: what, where, how long, and what came of it where that is more than "done".
fn line(step: &Value) -> String {
    let sign = if step["state"] == "done" { "✔" } else { "✘" };
    let tasks: Vec<&Value> = step["tasks"].as_array().into_iter().flatten().collect();
    let hosts: Vec<&str> = tasks.iter().filter_map(|task| task["host"].as_str()).collect();
    let mut text = format!("  {sign} {}", step["name"].as_str().unwrap_or_default());
    if hosts.is_empty() {
        return text + &format!(": {}", step["note"].as_str().unwrap_or_default());
    }
    let took = step["ended"].as_u64().unwrap_or_default().saturating_sub(step["began"].as_u64().unwrap_or_default());
    text += &format!(" · {} · {:.1} s", hosts.join(", "), took as f64 / 1000.0);
    // Of a database a person wants to know what it says.
    if let [task] = tasks.as_slice()
        && task["action"].as_str().is_some_and(|action| action.starts_with("mssql."))
    {
        text += &format!("\n              {}", task["summary"].as_str().unwrap_or_default());
    }
    text
}

fn shown(mut command: Command, show: Show) -> Command {
    match show {
        Show::Live | Show::Brief => command.stdout(Stdio::inherit()).stderr(Stdio::inherit()),
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

/// Asks `baton plan` and shows its steps, without those that are left out; the rest is what the command prints.
pub fn plan(cluster: &Cluster, teller: &Teller, show: Show, arguments: &[&str]) -> Result<String> {
    let said = look(cluster, teller, Show::Quiet, arguments)?;
    let lines: Vec<&str> = said.lines().collect();
    let is_step = |line: &str| {
        let id = line.trim_start().trim_start_matches('p');
        line.starts_with(' ') && id.starts_with(|c: char| c.is_ascii_digit()) && !line.starts_with("      ")
    };
    for (number, line) in lines.iter().enumerate().filter(|_| show != Show::Quiet) {
        let left_out = lines.get(number + 1).is_some_and(|next| next.contains('↷'));
        if is_step(line) && !left_out {
            teller.say(&format!(" {line}"));
        }
    }
    Ok(said)
}

/// Runs `baton` and shows what it prints; it must end with 0.
pub fn look(cluster: &Cluster, teller: &Teller, show: Show, arguments: &[&str]) -> Result<String> {
    teller.say(&typed(arguments));
    let output = cluster.baton(arguments)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{}: {}: {}", typed(arguments), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    if show != Show::Quiet {
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
