//! The Data Mover story: configured, a main component dies, failover, an old component started by hand, a second failure, the way back.
//! Judged by the client's own record, the repositories' own rows and the services' own journals.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{Show, Teller, command};
use crate::{
    cluster::until,
    data_mover::{
        Client, Fault, Installation, Side,
        client::Record,
        installation::NAME,
        judge,
        side::{AGENT, BROKER, COPIES, DAEMON, DSA, PROPERTIES, REST, SYNC},
    },
    horizon::properties,
};

/// How long something may take that is expected to happen.
const WITHIN: Duration = Duration::from_secs(60);

/// Tells the whole story.
pub async fn tell(lab: &mut Installation, teller: &mut Teller, show: Show) -> Result<()> {
    configured(lab, teller, show).await?;
    let client = lab.start_client()?;
    synchronized(lab, teller, &client, Side::Primary).await?;

    teller.chapter("Synchronization dies, and a moment later the daemon on dm1");
    unsynchronized(lab, teller, &client).await?;
    fails_over(lab, teller, show, Fault::Daemon)?;
    let lost = failed_over(lab, teller, &client, 2).await?;
    limited(lab, teller)?;

    teller.chapter("The daemon on dm1 is started by hand, while dm2 is active");
    started_by_hand(lab, teller, DAEMON).await?;

    teller.chapter("The daemon on dm2 dies too");
    no_second_failover(lab, teller, &client).await?;

    switched_back(lab, teller, show, &client, &lost, 3).await?;
    synchronized(lab, teller, &client, Side::Primary).await?;

    teller.chapter("Armed again: the REST service on dm1 dies");
    let limited = command::group(&lab.cluster, NAME)?["automatic"]["limited"].clone();
    teller.check(
        "the group is not limited any more",
        limited.is_null(),
        if limited.is_null() { "nothing limits it".to_owned() } else { limited.to_string() },
    );
    fails_over(lab, teller, show, Fault::Rest)?;
    failed_over(lab, teller, &client, 4).await?;
    verdict(teller, &client.stop().await?, 4);
    Ok(())
}

/// Something dies on the active primary side, and Baton fails over by itself.
pub fn fails_over(lab: &Installation, teller: &mut Teller, show: Show, fault: Fault) -> Result<()> {
    let before = command::newest_run(&lab.cluster, NAME)?;
    lab.world.strike(Side::Primary, fault)?;
    teller.say(&format!("SIGKILL: {}", fault.words()));
    let run = command::by_itself(&lab.cluster, teller, show, NAME, before.as_deref(), WITHIN)?;
    let view = lab.cluster.json(&["show", &run])?;
    teller.check("a failover began by itself", view["runbook"] == "failover", run);
    Ok(())
}

/// `baton status` says that the group is limited, since when and why.
fn limited(lab: &Installation, teller: &mut Teller) -> Result<()> {
    let said = command::look(&lab.cluster, teller, Show::Quiet, &["status", NAME])?;
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with('!')).collect();
    lines.iter().for_each(|line| teller.say(&format!("  {line}")));
    let limited = command::group(&lab.cluster, NAME)?["automatic"]["limited"].clone();
    teller.check(
        "the group is limited",
        limited["by"].is_string() && lines.iter().any(|line| line.contains("limited")),
        format!("by {}: {}", limited["by"], limited["why"]),
    );
    Ok(())
}

/// A service of the old side is started by hand, and stopped by its own agent.
async fn started_by_hand(lab: &Installation, teller: &mut Teller, service: &str) -> Result<()> {
    let noted = lab.world.effects()?.len();
    teller.say(&format!("# service {service} start, on dm1"));
    lab.world.start_service("dm1", service).await?;
    let begun = Instant::now();
    stopped(lab, "dm1", service)?;
    let took = begun.elapsed();
    let effects = lab.world.effects()?.split_off(noted);
    let verbs: Vec<&str> = effects
        .iter()
        .filter(|(machine, what, _)| machine == "dm1" && what == service)
        .map(|one| one.2.as_str())
        .collect();
    teller.check(
        "it is stopped by its own agent",
        verbs.first() == Some(&"start"),
        format!("{}, {:.1} s after its start", verbs.join(", "), took.as_secs_f32()),
    );
    let alert = until(WITHIN, "alert", || {
        let group = command::group(&lab.cluster, NAME)?;
        let mut alerts = group["alerts"].as_array().into_iter().flatten();
        alerts.rfind(|alert| alert["host"] == "dm1").cloned().context("no alert of dm1")
    })?;
    teller.check("and says so", true, alert["what"].as_str().unwrap_or_default());
    nothing(lab, teller, Side::Primary);
    Ok(())
}

/// While limited nothing fails over, however long nobody serves; a person starts what has died.
async fn no_second_failover(lab: &Installation, teller: &mut Teller, client: &Client) -> Result<()> {
    let before = command::newest_run(&lab.cluster, NAME)?;
    lab.world.strike(Side::Secondary, Fault::Daemon)?;
    // Both sides refuse: several times as long as the first failover took to begin.
    client.was_refused(400, WITHIN).await?;
    let after = command::newest_run(&lab.cluster, NAME)?;
    teller.check(
        "no second failover",
        before == after,
        format!("the newest run is still {}", after.unwrap_or_default()),
    );
    nothing(lab, teller, Side::Primary);
    limited(lab, teller)?;
    teller.say(&format!("# service {DAEMON} start, on dm2"));
    lab.world.fleet.service("dm2", DAEMON, "start").await?;
    let served = client.has_written("dm2", 5, WITHIN).await?;
    teller.check("clients are served by dm2 again", served.epoch == 2, "5 jobs acknowledged");
    Ok(())
}

/// From services that run on both sides, in no particular state, to the active mode on the primary servers.
pub async fn configured(lab: &Installation, teller: &mut Teller, show: Show) -> Result<()> {
    teller.chapter("Configured: active mode on the primary servers, nothing on the secondary ones");
    for side in Side::BOTH {
        lab.world.start(side).await?;
    }
    teller.say(&format!("before: {}", lab.world.running().join(", ")));
    let noted = lab.world.effects()?.len();
    command::run(&lab.cluster, teller, show, &["run", NAME, "configure", "--reason", "the lab's first day"])?;
    let effects = lab.world.effects()?.split_off(noted);
    active(lab, teller, Side::Primary, 1).await?;
    let restarted = |service: &str| {
        let verbs: Vec<&str> = effects
            .iter()
            .filter(|(machine, what, _)| machine == "dm1" && what == service)
            .map(|(.., verb)| verb.as_str())
            .collect();
        verbs == ["stop", "start"]
    };
    let all = [BROKER, DSA, DAEMON, REST].into_iter().all(restarted);
    teller.check("services were stopped and restarted on dm1", all, "by their own journals");
    // Synchronization ran there already, and goes on.
    let order = order(&effects, Side::Primary);
    let expected = [BROKER, DSA, AGENT, DAEMON, REST].map(str::to_owned);
    teller.check("started in order", order == expected, order.join(", "));
    synchronization(lab, teller, Some(Side::Primary));
    Ok(())
}

/// What was started on a side, by service, in order; the agents' machines count once.
fn order(effects: &[(String, String, String)], side: Side) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    for (machine, service, verb) in effects {
        if verb == "start" && side.machines().contains(&machine.as_str()) && !order.contains(service) {
            order.push(service.clone());
        }
    }
    order
}

/// The side works and the other one does not, by its own settings, processes and pages.
async fn active(lab: &Installation, teller: &mut Teller, side: Side, epoch: u64) -> Result<()> {
    let of = |side| -> Result<(Option<String>, Option<String>)> {
        let text = lab.world.properties(side)?;
        Ok((properties::value(&text, "cluster.mode"), properties::value(&text, "cluster.epoch")))
    };
    let (mode, written) = of(side)?;
    let ok = mode.as_deref() == Some("active") && written == Some(epoch.to_string());
    teller.check(
        &format!("{} is in active mode", side.server()),
        ok,
        format!(
            "{PROPERTIES}: mode {}, epoch {}",
            mode.as_deref().unwrap_or("none"),
            written.as_deref().unwrap_or("none")
        ),
    );
    let running = lab.world.running_on(side);
    let needed = [BROKER, DSA, DAEMON, REST].map(|service| format!("{}/{service}", side.server()));
    let agents = side.agents().map(|machine| format!("{machine}/{AGENT}"));
    let missing: Vec<&String> = needed.iter().chain(&agents).filter(|name| !running.contains(name)).collect();
    teller.check(&format!("everything runs on the {} servers", side.name()), missing.is_empty(), running.join(", "));
    nothing(lab, teller, side.other());
    let group = command::group(&lab.cluster, NAME)?;
    teller.check(
        "the role",
        group["primary"] == side.name() && group["epoch"] == epoch,
        format!("{} in epoch {}", group["primary"], group["epoch"]),
    );
    Ok(())
}

/// Nothing of Data Mover runs on a side.
pub fn nothing(lab: &Installation, teller: &mut Teller, side: Side) {
    let running = lab.world.running_on(side);
    let seen = if running.is_empty() { "no process".to_owned() } else { running.join(", ") };
    teller.check(&format!("nothing runs on the {} servers", side.name()), running.is_empty(), seen);
}

fn synchronization(lab: &Installation, teller: &mut Teller, from: Option<Side>) {
    let on: Vec<&str> =
        Side::BOTH.iter().map(|side| side.server()).filter(|server| lab.world.fleet.runs(server, SYNC)).collect();
    let expected: Vec<&str> = from.iter().map(|side| side.server()).collect();
    let seen =
        if on.is_empty() { "dmsync runs nowhere".to_owned() } else { format!("dmsync runs on {}", on.join(", ")) };
    teller.check(if from.is_some() { "synchronization is on" } else { "synchronization is off" }, on == expected, seen);
}

/// A job that was just acknowledged arrives in the other repository.
pub async fn synchronized(lab: &Installation, teller: &mut Teller, client: &Client, from: Side) -> Result<()> {
    let fresh = client.has_written(from.server(), 10, WITHIN).await?;
    let mut arrived = false;
    for _ in 0..200 {
        arrived = lab.world.repository(from.other()).jobs().await?.contains_key(&fresh.number);
        if arrived {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    teller.check(
        "a job that was just acknowledged arrives in the other repository",
        arrived,
        format!("job {}, from {} to {}", fresh.number, from.server(), from.other().server()),
    );
    Ok(())
}

/// Jobs are acknowledged by dm1 that no other repository has: what a failover loses.
pub async fn unsynchronized(lab: &Installation, teller: &mut Teller, client: &Client) -> Result<()> {
    ensure!(lab.world.fleet.kill(Side::Primary.server(), SYNC)?, "synchronization ran");
    client.has_written(Side::Primary.server(), 10, WITHIN).await?;
    let waiting = lab.world.repository(Side::Primary).unsynchronized().await?;
    teller.check("jobs wait to be synchronized", waiting >= 10, format!("{waiting} on dm1"));
    Ok(())
}

/// The secondary works, alone, and clients are served. Returns what was acknowledged on the old side and is not on the new one.
pub async fn failed_over(
    lab: &Installation,
    teller: &mut Teller,
    client: &Client,
    epoch: u64,
) -> Result<BTreeSet<i64>> {
    let side = Side::Secondary;
    active(lab, teller, side, epoch).await?;
    synchronization(lab, teller, None);
    let first = client.has_written(side.server(), 10, WITHIN).await?;
    let record = client.record();
    let before = record.acknowledged.iter().filter(|one| one.host != side.server()).max_by_key(|one| one.at_ns);
    let before = before.context("the old side had served")?;
    let served = record.acknowledged.iter().find(|one| one.at_ns > before.at_ns).unwrap_or(&first);
    teller.check(
        "clients are served by dm2",
        served.epoch == epoch as i64,
        format!("the first job {:.1} s after the last one of dm1", (served.at_ns - before.at_ns) as f64 / 1e9),
    );
    verdict(teller, &record, epoch);
    let kept = judge::kept(&record.acknowledged, &lab.world.repository(side).jobs().await?);
    let of_before = record.acknowledged.iter().filter(|one| one.epoch == epoch as i64 - 1);
    let lost: BTreeSet<i64> = of_before.map(|one| one.number).filter(|number| kept.missing.contains(number)).collect();
    // What is there is as it was acknowledged; what synchronization had not carried yet is not there, and is counted.
    teller.check(
        "what dm2 has is as it was acknowledged",
        kept.altered.is_empty() && kept.present > 0,
        format!(
            "{} jobs are there; lost are {} that dm1 acknowledged and nobody had synchronized yet",
            kept.present,
            lost.len()
        ),
    );
    Ok(lost)
}

/// One active at a time, by the client's own record.
pub fn verdict(teller: &mut Teller, record: &Record, epochs: u64) {
    let verdict = judge::judge(&record.acknowledged);
    let last = verdict.tenures.iter().map(|tenure| tenure.epoch).max();
    teller.check(
        "one active at a time, by the client's record",
        verdict.faults.is_empty() && last == Some(epochs as i64),
        verdict.summary(),
    );
}

/// Back to the original state. `lost`: what the failover has lost.
pub async fn switched_back(
    lab: &Installation,
    teller: &mut Teller,
    show: Show,
    client: &Client,
    lost: &BTreeSet<i64>,
    epoch: u64,
) -> Result<()> {
    teller.chapter("Switched back: the repository is copied and compared, then the role moves");
    let noted = lab.world.effects()?.len();
    command::run(&lab.cluster, teller, show, &["run", NAME, "switchback", "--reason", "dm1 is repaired"])?;
    active(lab, teller, Side::Primary, epoch).await?;
    synchronization(lab, teller, Some(Side::Primary));
    let effects = lab.world.effects()?.split_off(noted);
    let order = order(&effects, Side::Primary);
    let expected = [BROKER, DSA, AGENT, DAEMON, REST, SYNC].map(str::to_owned);
    teller.check("started in order", order == expected, order.join(", "));
    client.has_written(Side::Primary.server(), 10, WITHIN).await?;
    let record = client.record();
    let (home, away) =
        (lab.world.repository(Side::Primary).jobs().await?, lab.world.repository(Side::Secondary).jobs().await?);
    // Of the epochs before this one the two must be the same, job by job.
    let of_before = |jobs: &BTreeMap<i64, _>| -> BTreeMap<i64, _> {
        jobs.iter()
            .filter(|(_, job): &(_, &crate::data_mover::repository::Job)| job.epoch < epoch as i64)
            .map(|(number, job)| (*number, job.clone()))
            .collect()
    };
    let (ours, theirs) = (of_before(&home), of_before(&away));
    teller.check(
        "both repositories hold the same",
        ours == theirs && !ours.is_empty(),
        format!("{} jobs of earlier epochs on dm1, {} on dm2", ours.len(), theirs.len()),
    );
    let kept = judge::kept(&record.acknowledged, &home);
    let more: BTreeSet<i64> = kept.missing.difference(lost).copied().collect();
    teller.check(
        "the way back lost nothing",
        more.is_empty() && kept.altered.is_empty(),
        format!("{} jobs are there, missing are the {} that the failover had lost", kept.present, kept.missing.len()),
    );
    let epoch_before = epoch - 1;
    let copy = lab.world.fleet.machine("dm1").path(COPIES).join(format!("{epoch_before}-kept.dump"));
    let printed = Command::new(lab.programs().of_postgres("pg_restore"))
        .args(["--data-only", "--table=job", "--file=-"])
        .arg(&copy)
        .output()
        .context("run pg_restore")?;
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    let there: BTreeSet<i64> = text.lines().filter_map(|line| line.split('\t').next()?.parse().ok()).collect();
    let of_dm1 = |number: &&i64| record.acknowledged.iter().any(|one| one.number == **number && one.host == "dm1");
    let gone: Vec<&i64> = lost.iter().filter(of_dm1).filter(|number| !there.contains(number)).collect();
    teller.check(
        "what the failover had lost is kept in a file",
        printed.status.success() && gone.is_empty() && !there.is_empty(),
        format!("{}: {} jobs, {} lost ones missing", copy.display(), there.len(), gone.len()),
    );
    Ok(())
}

/// Waits until a service does not run any more.
pub fn stopped(lab: &Installation, machine: &str, service: &str) -> Result<()> {
    until(WITHIN, "end of the service", || {
        ensure!(!lab.world.fleet.runs(machine, service), "{machine}/{service} runs");
        Ok(())
    })
}
