//! The Genesys Framework story: site 1 dies, site 2 takes over by force with the loss accepted, site 1 returns and the system
//! switches back; then its databases are lost for good and made anew; and a database is added. Judged by what the simulated
//! instances know, by the clients' own record, and by the components' own word.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    cluster::until,
    genesys::{
        Installation, Site,
        installation::NAME,
        site::{COMPONENTS, CONFIG, CONFIG_BACKUP, DATABASES, GROUP, LATER, MESSAGE, PROXY, SCS, SITE_SCS},
    },
    sqlserver::{SERVICE, Writer, writer},
    story::{Show, Teller, command::run},
};

mod bill;
mod truth;

pub use truth::Standing;

/// How long something may take that is expected to happen.
const WITHIN: Duration = Duration::from_secs(60);

/// Between two writes of a client: enough to lose some, and no more than a simulated server has time for.
const PAUSE: Duration = Duration::from_millis(200);

type Writers = BTreeMap<String, Writer>;

/// Tells the whole story.
pub async fn tell(lab: &mut Installation, teller: &mut Teller, show: Show) -> Result<()> {
    teller.chapter("The system starts at site 1, in the vendor's order");
    run(&lab.cluster, teller, show, &["run", NAME, "start", "--reason", "a new day"])?;
    order(teller, "started in order", &lab.world.effects()?, &startup(Site::One, &Site::BOTH));
    follows(lab, teller, Site::One, &Site::BOTH)?;
    let writers = lab.start_writers(PAUSE).await?;
    has_written(&writers, 10).await?;
    let began = Standing::of(&lab.world)?;
    began.is_normal(teller);

    let lost = disaster(lab, teller, show, &writers, 2).await?;

    teller.chapter("Site 1 returns, and the system switches back");
    comes_back(lab, teller)?;
    switches_back(lab, teller, show, &writers, &lost, 3).await?;
    ended_as_it_began(lab, teller, &began).await?;

    teller.chapter("A second disaster; and this time the databases of Node 1 are lost");
    let again = disaster(lab, teller, show, &writers, 4).await?;
    comes_back(lab, teller)?;
    let lost: Lost = again.into_iter().map(|(name, rows)| (name.clone(), &rows | &lost[&name])).collect();
    reseed(lab, teller, show).await?;
    switches_back(lab, teller, show, &writers, &lost, 5).await?;
    ended_as_it_began(lab, teller, &began).await?;

    teller.chapter("A database is added to the group");
    add(lab, teller, show).await?;
    for (_, writer) in writers {
        writer.stop().await;
    }
    Ok(())
}

/// Acknowledged rows that no copy has any more, by database.
type Lost = BTreeMap<String, BTreeSet<i64>>;

/// Site 1 dies; the failover is refused until its price is accepted; site 2 takes over.
async fn disaster(
    lab: &mut Installation,
    teller: &mut Teller,
    show: Show,
    writers: &Writers,
    epoch: u64,
) -> Result<Lost> {
    teller.chapter("Site 1 loses its power");
    let noted = lab.world.effects()?.len();
    has_written(writers, 5).await?;
    let died = lab.crash(Site::One)?;
    lab.cluster.wait_for_leader(WITHIN)?;
    teller.say(&format!("{died} processes died, a coordinator among them"));
    let control = lab.world.instances.control();
    let mut kept = BTreeMap::new();
    let mut lost = Lost::new();
    for (name, writer) in writers {
        let there = writer::hardened(control, &Site::Two.instance(), name)?;
        lost.insert(name.clone(), writer.record().acknowledged.difference(&there).copied().collect());
        kept.insert(name.clone(), there);
    }
    let dead = truth::Ends::of(&lab.world)?;
    let words: Vec<String> = lost.iter().map(|(name, rows)| format!("{name} {}", rows.len())).collect();
    teller.check("something is at stake", lost.values().any(|rows| !rows.is_empty()), words.join(", "));

    teller.chapter("The failover shows its price, and wants it accepted");
    bill::refusals(lab, teller)?;
    bill::figures(lab, teller, &dead)?;

    teller.chapter("Failover to site 2");
    let accept = format!("--accept-data-loss={NAME}");
    let id = run(&lab.cluster, teller, show, &["failover", NAME, "--reason", "site 1 has no power", &accept])?;
    bill::kept(lab, teller, &id)?;
    role(lab, teller, Site::Two, epoch)?;
    let primaries = lab.world.instances.control().primaries(GROUP)?;
    teller.check("Node 2 is Primary, and nobody else", primaries == [Site::Two.instance()], primaries.join(", "));
    order(teller, "site 2 started in order", &lab.world.effects()?[noted..], &startup(Site::Two, &[])[..4]);
    follows(lab, teller, Site::Two, &[Site::Two])?;
    for (name, there) in &kept {
        let now = writer::hardened(lab.world.instances.control(), &Site::Two.instance(), name)?;
        let gone: Vec<&i64> = lost[name].intersection(&now).collect();
        teller.check(
            &format!("{name}: lost is exactly what Node 2 had not hardened"),
            there.is_subset(&now) && gone.is_empty(),
            format!("{} acknowledged rows are lost, {} were there and are", lost[name].len(), there.len()),
        );
    }
    has_written(writers, 5).await?;
    teller.check("clients write to Node 2", true, "5 commits acknowledged in each database");
    Ok(lost)
}

fn comes_back(lab: &mut Installation, teller: &mut Teller) -> Result<()> {
    lab.boot(Site::One)?;
    teller.say("its machines run again, with their agents and nothing else");
    let status = lab.cluster.json(&["status", NAME])?;
    let limits = status["limits"].to_string();
    teller.check("the group is limited meanwhile", limits.contains("failed over by force"), limits);
    Ok(())
}

async fn switches_back(
    lab: &Installation,
    teller: &mut Teller,
    show: Show,
    writers: &Writers,
    lost: &Lost,
    epoch: u64,
) -> Result<()> {
    teller.chapter("Switching back to normal operating mode");
    let (noted, since) = (lab.world.effects()?.len(), truth::now_ms());
    // Components write for themselves; the clients go on while there is a primary.
    run(&lab.cluster, teller, show, &["run", NAME, "switchback", "--reason", "site 1 is repaired"])?;
    role(lab, teller, Site::One, epoch)?;
    truth::in_vendors_order(lab, teller, since);
    let effects = &lab.world.effects()?[noted..];
    let [node, conf, backup] = [Site::One.node(), Site::Two.conf(), Site::Two.backup()];
    let mut expected: Vec<Stage> = vec![
        stage(&[(&conf, MESSAGE, "stop")]),
        stage(&[(&conf, SCS, "stop")]),
        stage(&[(&backup, CONFIG_BACKUP, "stop")]),
        stage(&[(&conf, CONFIG, "stop")]),
        stage(&[(&node, SERVICE, "start")]),
    ];
    expected
        .retain(|stage| stage.iter().all(|(machine, ..)| machine != &node || effects.iter().any(|(m, ..)| m == &node)));
    let mut main = startup(Site::One, &[Site::One]);
    expected.append(&mut main);
    order(teller, "stopped and started in order", effects, &expected);
    follows(lab, teller, Site::One, &Site::BOTH)?;
    has_written(writers, 5).await?;
    for (name, writer) in writers {
        let before = writer.record().acknowledged;
        let there = writer::hardened(lab.world.instances.control(), &Site::One.instance(), name)?;
        let missing: BTreeSet<i64> = before.difference(&there).copied().collect();
        teller.check(
            &format!("{name}: nothing more was lost"),
            missing == lost[name],
            format!("{} rows are missing, {} were lost by the failovers", missing.len(), lost[name].len()),
        );
    }
    Ok(())
}

async fn ended_as_it_began(lab: &Installation, teller: &mut Teller, began: &Standing) -> Result<()> {
    let ended = truth::settled(lab, began, WITHIN).await?;
    teller.check("it ended as it began", ended == *began, ended.words(began));
    let limits = lab.cluster.json(&["status", NAME])?["limits"].clone();
    teller.check("nothing limits the group", limits == Value::Array(Vec::new()), limits.to_string());
    Ok(())
}

async fn reseed(lab: &Installation, teller: &mut Teller, show: Show) -> Result<()> {
    teller.chapter("The databases of Node 1 are lost; they are made anew from Node 2's");
    let name = Site::One.instance();
    lab.world.instances.control().change(|world| {
        let server = world.servers.get_mut(&name).expect("Node 1");
        DATABASES.iter().for_each(|database| drop(server.databases.remove(*database)));
    })?;
    let id = run(&lab.cluster, teller, show, &["run", NAME, "reseed", "--reason", "the disks of Node 1 are new"])?;
    truth::follows(lab, teller, &DATABASES, Site::One).await?;
    teller.say(&format!("{id} has made them anew"));
    Ok(())
}

async fn add(lab: &Installation, teller: &mut Teller, show: Show) -> Result<()> {
    let mut session = lab.world.database(Site::One, "master").connect().await?;
    session.run(&format!("CREATE DATABASE [{LATER}]")).await?;
    let databases = format!("databases={LATER}");
    run(&lab.cluster, teller, show, &["run", NAME, "add-database", "-i", &databases, "--reason", "a new database"])?;
    truth::follows(lab, teller, &[LATER], Site::Two).await?;
    let mut all = DATABASES.to_vec();
    all.push(LATER);
    lab.write_group(&all)?;
    lab.apply("the new database is one of them")?;
    run(&lab.cluster, teller, show, &["run", NAME, "start", "--reason", "a look at the new database"])?;
    Ok(())
}

fn role(lab: &Installation, teller: &mut Teller, site: Site, epoch: u64) -> Result<()> {
    let status = until(WITHIN, "an answer", || lab.cluster.json(&["status", NAME]))?;
    let ok = status["primary"] == site.name().as_str() && status["epoch"] == epoch;
    teller.check("the role", ok, format!("{} in epoch {}", status["primary"], status["epoch"]));
    Ok(())
}

/// What may happen in any order: (machine, service, verb).
pub type Stage = BTreeSet<(String, String, String)>;

fn stage(effects: &[(&str, &str, &str)]) -> Stage {
    effects.iter().map(|(machine, what, verb)| (machine.to_string(), what.to_string(), verb.to_string())).collect()
}

/// Which of a site's machines, and a service there.
type Place = (fn(Site) -> String, &'static str);

/// The vendor's order, a to f; the parts at both sites only for `shared`.
pub fn startup(site: Site, shared: &[Site]) -> Vec<Stage> {
    let (conf, backup) = (site.conf(), site.backup());
    let mut stages = vec![
        stage(&[(&conf, CONFIG, "start")]),
        stage(&[(&backup, CONFIG_BACKUP, "start")]),
        stage(&[(&conf, SCS, "start")]),
        stage(&[(&conf, MESSAGE, "start")]),
    ];
    let each = |what: &[Place]| -> Stage {
        let of = |site: &Site| -> Vec<(String, String, String)> {
            what.iter().map(|(machine, name)| (machine(*site), (*name).to_owned(), "start".to_owned())).collect()
        };
        shared.iter().flat_map(of).collect()
    };
    stages.push(each(&[(Site::apps, SITE_SCS)]));
    stages.push(each(&[(Site::apps, PROXY), (Site::backup, PROXY)]));
    stages.extend(COMPONENTS.iter().map(|(name, _)| each(&[(Site::apps, name)])));
    stages.retain(|stage| !stage.is_empty());
    stages
}

/// Stage by stage, each effect once, and nothing else.
fn order(teller: &mut Teller, what: &str, effects: &[(String, String, String)], stages: &[Stage]) {
    // One that was in place already was asked and did nothing.
    let done: Vec<_> = effects
        .iter()
        .filter(|(machine, what, verb)| {
            !verb.ends_with("-again") && stages.iter().flatten().any(|(m, w, _)| m == machine && w == what)
        })
        .collect();
    let mut at = 0;
    let mut good = true;
    for stage in stages {
        let part: Stage = done.iter().skip(at).take(stage.len()).map(|one| (*one).clone()).collect();
        good &= part == *stage;
        at += stage.len();
    }
    good &= at == done.len();
    let words: Vec<String> = done.iter().map(|(machine, what, verb)| format!("{verb} {what}@{machine}")).collect();
    teller.check(what, good, words.join(", "));
}

/// Proxies, Solution Control Servers and components are connected to what lives.
fn follows(lab: &Installation, teller: &mut Teller, primary: Site, alive: &[Site]) -> Result<()> {
    let config = lab.world.config(primary);
    for site in alive {
        for machine in [site.apps(), site.backup()] {
            let what = format!("the proxy of {machine} is connected to the live Configuration Server");
            let seen = until(WITHIN, "connection", || {
                let peer = lab.world.peer(&machine, PROXY).context("connected to nobody")?;
                if peer != config {
                    bail!("connected to {peer}");
                }
                Ok(peer)
            });
            teller.check(&what, seen.is_ok(), seen.map_or_else(|error| format!("{error:#}"), |peer| peer.to_string()));
        }
    }
    Ok(())
}

async fn has_written(writers: &Writers, more: usize) -> Result<()> {
    for writer in writers.values() {
        writer.has_written(more, WITHIN).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_wrong_where_two_are_swapped_one_comes_twice_or_one_is_missing() {
        let stages = startup(Site::Two, &[Site::One, Site::Two]);
        let right: Vec<_> = stages.iter().flatten().cloned().collect();
        let judged = |effects: &[(String, String, String)]| {
            let mut teller = Teller::new("test");
            order(&mut teller, "in order", effects, &stages);
            teller.finish()
        };
        assert!(judged(&right));
        let mut asked_again = right.clone();
        asked_again.insert(1, ("conf2".to_owned(), CONFIG.to_owned(), "start-again".to_owned()));
        assert!(judged(&asked_again), "what did nothing is no effect");
        let changed = |change: fn(&mut Vec<(String, String, String)>)| {
            let mut effects = right.clone();
            change(&mut effects);
            judged(&effects)
        };
        assert!(!changed(|effects| effects.swap(2, 3)));
        assert!(!changed(|effects| effects.push(effects[0].clone())));
        assert!(!changed(|effects| drop(effects.pop())));
    }
}
