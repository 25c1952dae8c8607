//! The Persistent Chat story: the primary's data centre dies with log backups that nobody copied, the backup data centre takes
//! over, and everything goes home. Judged by the instances' own truth, the shell's journal and the client's acknowledged writes.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Show, Teller, Told, command};
use crate::{
    persistent_chat::{COMPLIANCE, DATABASE, GROUP, Installation, Site, shelf::in_order},
    sqlserver::Writer,
};

const WITHIN: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(20);

/// What the client had to say when the primary's data centre died.
struct Before {
    /// Acknowledged before the last log backup was begun.
    covered: BTreeSet<i64>,
    acknowledged: BTreeSet<i64>,
    last: i64,
}

/// Tells the whole story.
pub async fn tell(chat: &mut Installation, teller: &mut Teller, show: Show) -> Result<()> {
    let (dead, new) = (Site::Atlanta, Site::Dallas);
    teller.chapter("Users chat, and log shipping carries what they write to Dallas");
    let writer = Writer::start(vec![chat.endpoint(dead)], PAUSE);
    writer.has_written(20, WITHIN).await?;
    shipped(chat, teller, dead, new, &writer).await?;
    as_it_began(chat, teller, 1)?;

    teller.chapter("Five log backups lie on the share, uncopied, under shuffled names and dates; then Atlanta's database server dies");
    let mut reader = chat.endpoint(new).connect().await?;
    let applied_before = chat.restored(new, DATABASE)?.len();
    let (five, covered) = chat.five_uncopied(&writer).await?;
    writer.has_written(3, WITHIN).await?;
    let died = chat.crash(&[dead.database()])?;
    let record = writer.stop().await;
    let last = record.acknowledged.iter().chain(&record.unknown).max().copied().unwrap_or_default();
    let before = Before { covered, acknowledged: record.acknowledged, last };
    teller.say(&format!(
        "{}: {died} processes died; {} rows were acknowledged",
        dead.database(),
        before.acknowledged.len()
    ));

    teller.chapter(
        "A failover with an active server of the wrong site, and one while Atlanta's chat services still answer",
    );
    let wrong = format!("active_servers={},{}", new.chat()[0], dead.chat()[0]);
    let reason = ["--reason", "Atlanta is lost"];
    let arguments = [["failover", GROUP, "--yes", "-i", &wrong].as_slice(), &reason].concat();
    refused(chat, teller, &arguments, "BTN-0139", &["in dallas, where", &new.chat()[0], &new.chat()[1]])?;
    let changes = chat.topology().changes().len();
    let run = begin(chat, teller, &[["failover", GROUP].as_slice(), &reason].concat())?;
    let view = follow(chat, teller, show, &run)?;
    let answers = view["phase"] == "halted"
        && first_failure(&view).contains(&format!("{}:5041", chat.fleet.machine(&dead.chat()[0]).address));
    teller.check("the failover stops where a service answers", answers, first_failure(&view));
    let untouched = chat.restored(new, DATABASE)?.len() == applied_before
        && chat.shipped_to(new)?.is_some()
        && chat.topology().changes().len() == changes;
    teller.check("and nothing was changed", untouched, "log shipping, mgc and the pool are as they were");
    chat.cluster.json(&["abort", &run, "--reason", "Atlanta's services answer"])?;
    told(chat, teller, &run)?;

    teller.chapter("Atlanta is gone altogether, and one of the five files with it");
    let [one, two] = dead.chat();
    let died = chat.crash(&[one, two])?;
    teller.say(&format!("{died} more processes died"));
    let lost = five[2].clone();
    // Not on the share: there it would be found by its header, whatever its name.
    let aside = chat.fleet.directory().join("mislaid");
    fs::rename(&lost, &aside)?;
    let run = begin(chat, teller, &[["failover", GROUP].as_slice(), &reason].concat())?;
    let mut ended = BTreeSet::new();
    let view = follow_on(chat, teller, show, &run, &mut ended)?;
    let said = first_failure(&view);
    let named = said.contains("BTN-0668")
        && said.contains("LSN")
        && five[1].file_name().is_some_and(|name| said.contains(&*name.to_string_lossy()));
    teller.check("a missing file stops it, with the LSNs and files", view["phase"] == "halted" && named, said);
    let restored = chat.restored(new, DATABASE)?.len() - applied_before;
    teller.check("before anything is restored", restored == 0, format!("{restored} restores by Dallas' msdb"));

    teller.chapter("The file is found, and the run goes on");
    fs::rename(&aside, chat.received(new).join(lost.file_name().context("a file")?))?;
    teller.say(&format!("$ baton retry {run}"));
    chat.cluster.json(&["retry", &run, "--reason", "the file was found"])?;
    succeeded(chat, teller, show, &run, &mut ended)?;
    let logs = chat.restored(new, DATABASE)?.split_off(applied_before);
    teller.check(
        "the five were applied once each, in LSN order",
        logs.len() == 5 && logs.iter().all(|log| log.kind == 'L') && in_order(&logs),
        format!("{} restores by Dallas' msdb, LSN {} to {}", logs.len(), logs[0].first, logs[logs.len() - 1].last),
    );
    let sent = chat.instances.asked(&new.instance(), "RESTORE LOG").len();
    teller.check("and no RESTORE LOG was sent beside them", sent == 5, format!("{sent} statements"));
    let ended = reader.rows("SELECT 1 AS one").await.is_err();
    teller.check("connections to mgc were ended", ended, "the reader's session is gone");
    let missing: BTreeSet<i64> = before.acknowledged.difference(&chat.rows(new)?).copied().collect();
    let kept = before.covered.difference(&chat.rows(new)?).count() == 0;
    teller.check(
        "every row that was in a log backup is there",
        kept,
        format!("{} rows; {} acknowledged after the last log backup are lost", before.covered.len(), missing.len()),
    );
    compliance(chat, teller, new)?;
    pool(chat, teller, "FailedOver", new)?;
    role(chat, teller, new, 2)?;
    answers_all(chat, teller, new).await?;

    teller.chapter("Users chat in Dallas");
    // Slow enough to let the last log backup find a moment without it, and still at it when that is taken.
    let writer = Writer::start_after(vec![chat.endpoint(new)], PAUSE * 5, before.last);
    writer.has_written(20, WITHIN).await?;
    teller.check("new writes go to Dallas", true, "20 more were acknowledged");

    teller.chapter("Atlanta comes back, and mgc goes home");
    chat.boot(dead).await?;
    teller.say("Atlanta runs again, with everything that it ran before");
    let run = begin(chat, teller, &["run", GROUP, "failback", "--reason", "Atlanta is repaired"])?;
    succeeded(chat, teller, show, &run, &mut BTreeSet::new())?;
    let record = writer.stop().await;
    let home = chat.rows(dead)?;
    let lost = record.acknowledged.difference(&home).count();
    teller.check(
        "the way home lost nothing",
        lost == 0,
        format!("{} rows written in Dallas, {lost} missing", record.acknowledged.len()),
    );
    compliance(chat, teller, dead)?;
    answers_all(chat, teller, dead).await?;

    teller.chapter("All is as it began");
    let last = record.acknowledged.iter().chain(&record.unknown).max().copied().unwrap_or(before.last);
    let writer = Writer::start_after(vec![chat.endpoint(dead)], PAUSE, last);
    shipped(chat, teller, dead, new, &writer).await?;
    as_it_began(chat, teller, 3)?;
    drop(writer.stop().await);
    Ok(())
}

/// Starts a run and does not watch it.
pub fn begin(chat: &Installation, teller: &Teller, arguments: &[&str]) -> Result<String> {
    let all = [arguments, &["--yes", "--detach"]].concat();
    teller.say(&command::typed(&all));
    let output = chat.cluster.baton(&all)?;
    if !output.status.success() {
        bail!("{}: {}", command::typed(&all), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs `baton`, which must refuse with this code, and say all of `words`.
fn refused(chat: &Installation, teller: &mut Teller, arguments: &[&str], code: &str, words: &[&str]) -> Result<()> {
    teller.say(&command::typed(arguments));
    let output = chat.cluster.baton(arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let ok = output.status.code() == Some(5) && said.contains(code) && words.iter().all(|word| said.contains(word));
    // The sentence, without the rule behind it.
    let sentence = said.split(" (input").next().unwrap_or_default();
    teller.check("active servers of the wrong site are refused, with the candidates", ok, sentence);
    Ok(())
}

/// Follows a run to its end, which must be a good one.
fn succeeded(
    chat: &Installation,
    teller: &mut Teller,
    show: Show,
    run: &str,
    ended: &mut BTreeSet<String>,
) -> Result<()> {
    let view = follow_on(chat, teller, show, run, ended)?;
    told(chat, teller, run)?;
    if view["phase"] != "succeeded" {
        bail!("{run} ended {}: {} {}", view["phase"], view["why"], first_failure(&view));
    }
    Ok(())
}

/// Follows a run until it is over or halted; confirms what a person is asked.
pub fn follow(chat: &Installation, teller: &Teller, show: Show, run: &str) -> Result<Value> {
    follow_on(chat, teller, show, run, &mut BTreeSet::new())
}

/// `ended`: steps whose end was told already.
fn follow_on(
    chat: &Installation,
    teller: &Teller,
    show: Show,
    run: &str,
    ended: &mut BTreeSet<String>,
) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let view = chat.cluster.json(&["show", run])?;
        for step in view["steps"].as_array().into_iter().flatten().filter(|step| step["state"] == "done") {
            let (task, note) = (&step["tasks"][0]["summary"], &step["note"]);
            let result = task.as_str().or(note.as_str()).unwrap_or_default();
            let line = format!("  {}: {result}", step["name"].as_str().unwrap_or_default());
            if ended.insert(step["id"].to_string()) && show != Show::Quiet {
                teller.say(&line);
            }
        }
        if view["over"] == true || view["phase"] == "halted" {
            return Ok(view);
        }
        let steps = view["steps"].as_array().into_iter().flatten();
        if let Some(asked) =
            steps.clone().find(|step| step["state"] == "waiting").and_then(|step| step["question"].as_str())
        {
            teller.say(&format!("a person is asked: {asked}"));
            chat.cluster.json(&["confirm", run, "--reason", "seen"])?;
        }
        if begun.elapsed() > WITHIN {
            bail!("{run} is {} after {WITHIN:?}: {}; {}", view["phase"], view["why"], under_way(&view));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a run stands at: each step that has begun and not ended, as the coordinator shows it.
fn under_way(view: &Value) -> String {
    let steps = view["steps"].as_array().into_iter().flatten();
    let begun = steps.filter(|step| step["state"] == "running" || step["state"] == "waiting");
    begun.map(Value::to_string).collect::<Vec<_>>().join("; ")
}

/// Why a run halted, in the words of its first step that failed.
pub fn first_failure(view: &Value) -> String {
    let steps = view["steps"].as_array().into_iter().flatten();
    let failed = |step: &&Value| step["state"] == "failed" || step["state"] == "unknown" || step["state"] == "refused";
    let step = steps.clone().find(failed).unwrap_or(&Value::Null);
    let tasks = step["tasks"].as_array().into_iter().flatten();
    let faults: Vec<String> = tasks
        .filter(|task| !task["fault"].is_null())
        .map(|task| {
            format!(
                "{} {}",
                task["fault"]["code"].as_str().unwrap_or_default(),
                task["fault"]["message"].as_str().unwrap_or_default()
            )
        })
        .collect();
    if faults.is_empty() { format!("{} {}", view["why"], step["note"]) } else { faults.join("; ") }
}

/// A line of the table at the end.
fn told(chat: &Installation, teller: &mut Teller, run: &str) -> Result<()> {
    let view = chat.cluster.json(&["show", run])?;
    let at = |value: &Value| value.as_u64().unwrap_or_default();
    teller.record.runs.push(Told {
        run: run.to_owned(),
        runbook: view["runbook"].as_str().unwrap_or("?").to_owned(),
        phase: view["phase"].as_str().unwrap_or("?").to_owned(),
        steps: view["steps"].as_array().map_or(0, Vec::len),
        took_ms: at(&view["ended"]).saturating_sub(at(&view["started"]["when"])),
    });
    Ok(())
}

/// A row that was just acknowledged arrives at the other side, by log shipping's own jobs.
async fn shipped(chat: &Installation, teller: &mut Teller, from: Site, to: Site, writer: &Writer) -> Result<()> {
    writer.has_written(5, WITHIN).await?;
    let fresh = writer.record().acknowledged.last().copied().context("a row was acknowledged")?;
    chat.ship(from, to)?;
    let arrived = chat.rows(to)?.contains(&fresh);
    teller.check(
        "a fresh row arrives by log shipping",
        arrived,
        format!("row {fresh}, from {} to {}", from.name(), to.name()),
    );
    Ok(())
}

fn as_it_began(chat: &Installation, teller: &mut Teller, epoch: u64) -> Result<()> {
    role(chat, teller, Site::Atlanta, epoch)?;
    pool(chat, teller, "Normal", Site::Atlanta)?;
    let shipped = chat.shipped_to(Site::Dallas)?;
    let ok = shipped.as_ref().is_some_and(|(primary, source, destination)| {
        *primary == Site::Atlanta.instance() && *source == chat.share() && *destination == chat.received(Site::Dallas)
    });
    let ok = ok && chat.shipped_to(Site::Atlanta)?.is_none();
    teller.check("mgc is shipped from Atlanta to Dallas", ok, format!("{shipped:?}"));
    Ok(())
}

fn role(chat: &Installation, teller: &mut Teller, site: Site, epoch: u64) -> Result<()> {
    let view = command::group(&chat.cluster, GROUP)?;
    let ok = view["primary"] == site.name() && view["epoch"] == epoch;
    teller.check("the role", ok, format!("{} in epoch {}", view["primary"], view["epoch"]));
    Ok(())
}

fn pool(chat: &Installation, teller: &mut Teller, state: &str, site: Site) -> Result<()> {
    let topology = chat.topology();
    let (is, active, principals) = (topology.pool_state()?, topology.active()?, topology.principals()?);
    let ok = is == state && active == site.chat() && principals.contains(&site.database());
    teller.check("the pool", ok, format!("{is}, active: {}; mirrored: {}", active.join(", "), principals.join(", ")));
    Ok(())
}

/// No restore into it, no backup of it, on either side.
fn compliance(chat: &Installation, teller: &mut Teller, site: Site) -> Result<()> {
    let world = chat.control().world()?;
    let mut touched = 0;
    for site in Site::BOTH {
        let server = &world.servers[&site.instance()];
        touched += server.msdb.restores.iter().filter(|one| one.database == COMPLIANCE).count();
        touched += server.msdb.backups.iter().filter(|one| one.database == COMPLIANCE).count();
    }
    let online = world.database(&site.instance(), COMPLIANCE).is_some_and(|database| database.is_online());
    teller.check(
        "mgccomp was not failed over",
        touched == 0 && online,
        format!("{touched} backups and restores; online in {}", site.name()),
    );
    Ok(())
}

/// Every chat server of a site can write to mgc.
async fn answers_all(chat: &Installation, teller: &mut Teller, site: Site) -> Result<()> {
    for server in site.chat() {
        let body = chat.health(&server).await?;
        let ok = body.contains(&chat.endpoint(site).address.to_string());
        teller.check(&server, ok, body);
    }
    Ok(())
}
