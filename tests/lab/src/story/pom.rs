//! The Avaya POM story: POM's database moves to the other server of its data centre and home again, each time with what the vendor
//! leaves to a person afterwards. Judged by SQL Server's own truth, by POM's own journals and by a client's acknowledged writes.

use std::time::Duration;

use anyhow::Result;

use super::{
    Show, Teller,
    command::{group, look, newest_run, plan, refused, run},
};
use crate::{
    machine::Effect,
    pom::{AVAILABILITY_GROUP, DATABASE, GROUP, POM_SERVERS, PORT, Pom, SERVERS, SERVICE},
    sqlserver::{self, Writer},
};

const WITHIN: Duration = Duration::from_secs(60);
const NIGHT: &str = "window=the night shift agreed";

/// Tells the whole story.
pub async fn tell(pom: &mut Pom, teller: &mut Teller, show: Show) -> Result<()> {
    let writer = pom.start_writer();
    teller.chapter("POM works, and its database is on pomdb1");
    writer.has_written(20, WITHIN).await?;
    works(pom, teller).await?;
    primary(pom, teller, 0, 1)?;

    teller.chapter("A switchover in office hours, and one into the other data centre");
    let reason = ["--reason", "patching pomdb1", "--yes"];
    let to_db2 = [["switchover", GROUP, "--to", "db2"].as_slice(), &reason].concat();
    let closed = ["window maintenance", "opens next at"];
    refused(&pom.cluster, teller, &to_db2, "BTN-0105", &closed)?;
    let to_db3 = [["switchover", GROUP, "--to", "db3"].as_slice(), &reason, &["--override", NIGHT]].concat();
    refused(&pom.cluster, teller, &to_db3, "BTN-0133", &["db3 is in west", "db1 in east"])?;

    teller.chapter("What a switchover would do, asked on every host");
    let said = plan(&pom.cluster, teller, show, &["plan", GROUP, "switchover", "--to", "db2", "--override", NIGHT])?;
    let would = said.lines().filter(|line| line.contains('±')).count();
    teller.check("a dry plan", would > 0, format!("{would} lines of what would change, and nothing was changed"));
    let before = effects(pom)?;

    teller.chapter("The switchover, by night");
    let seen = before.len();
    run(
        &pom.cluster,
        teller,
        show,
        &["switchover", GROUP, "--to", "db2", "--reason", "patching pomdb1", "--override", NIGHT],
    )?;
    primary(pom, teller, 1, 2)?;
    order(pom, teller, seen, 1)?;
    works(pom, teller).await?;
    kept(pom, teller, &writer, 1).await?;

    teller.chapter("The vendor's note: data movement of the previous primary is paused");
    limited(pom, teller, show)?;
    let back = ["switchover", GROUP, "--to", "db1", "--reason", "home again", "--override", NIGHT, "--yes"];
    refused(&pom.cluster, teller, &back, "BTN-0133", &["data movement paused on pomdb1"])?;

    teller.chapter("It is resumed only in maintenance hours, while POM is stopped");
    let resume = ["run", GROUP, "resume-data-movement", "-i", "member=db1", "--reason", "patched"];
    let by_day = [resume.as_slice(), &["--yes"]].concat();
    refused(&pom.cluster, teller, &by_day, "BTN-0105", &closed)?;
    refused_while_it_runs(pom, teller, &[resume.as_slice(), &["--override", NIGHT, "--yes"]].concat())?;
    run(&pom.cluster, teller, show, &["run", GROUP, "stop", "--reason", "for data movement"])?;
    stopped(pom, teller);
    run(&pom.cluster, teller, show, &[resume.as_slice(), &["--override", NIGHT]].concat())?;
    synchronized(pom, teller)?;
    unlimited(pom, teller)?;
    works(pom, teller).await?;

    teller.chapter("Home again, with POM started by hand at the end");
    run(
        &pom.cluster,
        teller,
        show,
        &["switchover", GROUP, "--to", "db1", "--reason", "home again", "--override", NIGHT],
    )?;
    primary(pom, teller, 0, 3)?;
    kept(pom, teller, &writer, 0).await?;
    run(&pom.cluster, teller, show, &["run", GROUP, "stop", "--reason", "for data movement"])?;
    let resume = [
        "run",
        GROUP,
        "resume-data-movement",
        "-i",
        "member=db2",
        "-i",
        "start_pom=false",
        "--reason",
        "home",
        "--override",
        NIGHT,
    ];
    run(&pom.cluster, teller, show, &resume)?;
    stopped(pom, teller);
    synchronized(pom, teller)?;
    run(&pom.cluster, teller, show, &["run", GROUP, "start", "--reason", "all is synchronized"])?;

    teller.chapter("All is as it began");
    works(pom, teller).await?;
    primary(pom, teller, 0, 3)?;
    synchronized(pom, teller)?;
    unlimited(pom, teller)?;
    kept(pom, teller, &writer, 0).await?;
    never_forced(pom, teller);
    writer.stop().await;
    Ok(())
}

/// Who is primary: by SQL Server's own truth, and by Baton.
fn primary(pom: &Pom, teller: &mut Teller, server: usize, epoch: u64) -> Result<()> {
    let leads = pom.instances.control().primaries(AVAILABILITY_GROUP)?;
    teller.check("primary by SQL Server", leads == [SERVERS[server].1], leads.join(", "));
    let view = group(&pom.cluster, GROUP)?;
    let ok = view["primary"] == format!("db{}", server + 1) && view["epoch"] == epoch;
    teller.check("primary by Baton", ok, format!("{} in epoch {}", view["primary"], view["epoch"]));
    Ok(())
}

/// Every POM server's own health page.
async fn works(pom: &Pom, teller: &mut Teller) -> Result<()> {
    for (machine, _) in POM_SERVERS {
        let (status, body) = pom.fleet.health(machine, PORT, "").await?;
        teller.check(machine, status == 200, body);
    }
    Ok(())
}

fn stopped(pom: &Pom, teller: &mut Teller) {
    let running: Vec<&str> =
        POM_SERVERS.iter().map(|server| server.0).filter(|machine| pom.fleet.runs(machine, SERVICE)).collect();
    let seen = if running.is_empty() { "on all three servers".to_owned() } else { format!("runs on {running:?}") };
    teller.check("POM is stopped", running.is_empty(), seen);
}

/// What was done to POM on all its servers, by their own journals, in the order of time.
pub fn effects(pom: &Pom) -> Result<Vec<(String, Effect)>> {
    let mut all = Vec::new();
    for (machine, _) in POM_SERVERS {
        all.extend(pom.fleet.effects(machine)?.into_iter().map(|effect| (machine.to_owned(), effect)));
    }
    all.sort_by(|one, other| one.1.at.cmp(&other.1.at));
    Ok(all)
}

/// Unix milliseconds of a journal's time.
pub fn milliseconds(effect: &Effect) -> i64 {
    effect.at.parse::<jiff::Timestamp>().map_or(0, |at| at.as_millisecond())
}

/// All servers stopped, then the database moved, then the primary POM server started, then the others: by the journals and by what
/// SQL Server was told. `seen`: effects of before.
fn order(pom: &Pom, teller: &mut Teller, seen: usize, server: usize) -> Result<()> {
    let effects: Vec<(String, Effect)> = effects(pom)?.into_iter().skip(seen).collect();
    let times = |verb: &str, primary: Option<bool>| -> Vec<i64> {
        let wanted = |machine: &str| primary.is_none_or(|primary| primary == (machine == POM_SERVERS[0].0));
        effects.iter().filter(|(at, one)| one.verb == verb && wanted(at)).map(|(_, one)| milliseconds(one)).collect()
    };
    let moved: Vec<i64> =
        pom.instances.asked(SERVERS[server].1, "availability group [pom] failover").iter().map(|one| one.at).collect();
    let (stops, first, others) = (times("stop", None), times("start", Some(true)), times("start", Some(false)));
    let (last_stop, last_move) = (stops.iter().max().copied(), moved.iter().max().copied());
    let ok = (stops.len(), first.len(), others.len(), moved.len()) == (3, 1, 2, 1)
        && last_stop < last_move
        && last_move < first.first().copied()
        && others.iter().all(|other| first.first() < Some(other));
    let counts = format!("{} stops, {} FAILOVER, {} + {} starts", stops.len(), moved.len(), first.len(), others.len());
    teller.check("stopped everywhere, moved, primary POM server, auxiliary ones", ok, counts);
    Ok(())
}

/// Every write that a client had acknowledged is on the primary.
async fn kept(pom: &Pom, teller: &mut Teller, writer: &Writer, server: usize) -> Result<()> {
    writer.has_written(10, WITHIN).await?;
    // What is acknowledged before the look must be there.
    let acknowledged = writer.record().acknowledged;
    let there = sqlserver::writer::hardened(pom.instances.control(), SERVERS[server].1, DATABASE)?;
    let lost = acknowledged.difference(&there).count();
    teller.check("nothing lost", lost == 0, format!("{} acknowledged writes, {lost} missing", acknowledged.len()));
    Ok(())
}

fn limited(pom: &Pom, teller: &mut Teller, show: Show) -> Result<()> {
    let said = look(&pom.cluster, teller, show, &["status", GROUP])?;
    let line = said.lines().find(|line| line.contains("limited: data movement paused on pomdb1"));
    teller.check("baton status", line.is_some(), line.unwrap_or(&said).trim());
    Ok(())
}

fn unlimited(pom: &Pom, teller: &mut Teller) -> Result<()> {
    let limits = group(&pom.cluster, GROUP)?["limits"].clone();
    let none = limits.as_array().is_some_and(Vec::is_empty);
    teller.check("no limits", none, if none { "the role may move again".to_owned() } else { limits.to_string() });
    Ok(())
}

/// The resumption is asked for while POM runs: every POM server is looked at, no run begins, and nothing is touched.
fn refused_while_it_runs(pom: &Pom, teller: &mut Teller, arguments: &[&str]) -> Result<()> {
    let state = || -> Result<(Option<String>, usize, usize)> {
        let told = pom.instances.asked(SERVERS[0].1, "set hadr resume").len();
        Ok((newest_run(&pom.cluster, GROUP)?, told, effects(pom)?.len()))
    };
    let before = state()?;
    let words = ["POM is stopped on every POM server", "pom1", "pom2", "pom3", "baton run pom stop"];
    refused(&pom.cluster, teller, arguments, "BTN-0106", &words)?;
    let same = state()? == before;
    teller.check("while POM runs", same, "no run began, nothing was resumed, POM is as it was");
    Ok(())
}

/// Both replicas of the data centre, by SQL Server's own truth.
fn synchronized(pom: &Pom, teller: &mut Teller) -> Result<()> {
    let world = pom.instances.control().world()?;
    let mut paused = Vec::new();
    for (machine, instance, _) in SERVERS {
        let hadr = world.database(instance, DATABASE).and_then(|database| database.hadr.as_ref());
        if hadr.is_none_or(|hadr| hadr.suspended.is_some()) {
            paused.push(machine);
        }
    }
    let ready = |instance: &str| world.groups[AVAILABILITY_GROUP].store.is_ready(instance, DATABASE);
    let not: Vec<&str> = SERVERS[..2].iter().filter(|server| !ready(server.1)).map(|server| server.0).collect();
    let ok = paused.is_empty() && not.is_empty();
    let seen =
        if ok { "data moves everywhere".to_owned() } else { format!("paused: {paused:?}, not synchronized: {not:?}") };
    teller.check("synchronized", ok, seen);
    Ok(())
}

fn never_forced(pom: &Pom, teller: &mut Teller) {
    let forced: usize = SERVERS.iter().map(|server| pom.instances.asked(server.1, "force_failover").len()).sum();
    teller.check("FORCE was never sent", forced == 0, format!("{forced} times"));
}
