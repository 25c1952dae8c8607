//! The Horizon DaaS story: the primary appliances die, the secondaries take over and are promoted, the old ones rejoin,
//! and a planned switchover goes home. Judged by the clients' own record of acknowledged commits.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::{
    horizon::{Database, Organization, Side, power::Boot, verification},
    installation::{Installation, place},
    ledger::{self, Writer},
    story::{
        Teller,
        command::{self, find_group},
    },
};

pub use command::Show;

/// How long something may take that is expected to happen.
const WITHIN: Duration = Duration::from_secs(120);

/// Tells the whole story.
pub async fn tell(installation: &mut Installation, teller: &mut Teller, show: Show) -> Result<()> {
    let organizations = installation.organizations();
    let before = installation.properties()?;

    teller.chapter("Every database replicates from A to B, and clients write");
    let writers = installation.start_writers();
    wait_for_writes(&writers, 60).await?;
    for organization in &organizations {
        capabilities(installation, teller, *organization, Side::A).await?;
    }

    teller.chapter("The primary appliances lose their power");
    for organization in &organizations {
        let appliance = installation.world.appliance(*organization, Side::A).clone();
        let died = installation.world.crash(&appliance, &[])?;
        installation.cluster.kill_agent(&appliance.name);
        installation.no_primary(*organization)?;
        teller.say(&format!("{}: {died} processes died", appliance.name));
    }

    for organization in &organizations {
        let group = installation.group(*organization);
        teller.chapter(&format!("Failover of {group}"));
        let run = run(installation, teller, show, &["failover", group, "--reason", "the primary appliance is dead"])?;
        installation.set_primary(*organization, Side::B)?;
        expect_primary(installation, teller, *organization, Side::B, 2)?;
        teller.say(&format!(
            "clients write to {} from now on ({run})",
            installation.world.appliance(*organization, Side::B).name
        ));
        services(installation, teller, *organization, Side::B).await?;
        properties_after_failover(installation, teller, *organization, &before)?;
    }
    let counted = tallies(&writers);
    until_writes(&writers, &counted, 20).await?;
    teller.check("new writes go to the new primaries", true, "every client had 20 commits acknowledged");

    for organization in &organizations {
        let group = installation.group(*organization);
        teller.chapter(&format!("Promotion of {group}"));
        let provider = format!("provider={}", installation.world.appliance(Organization::Provider, Side::B).name);
        let mut arguments = vec!["run", group, "promote", "--reason", "make it permanent"];
        if *organization == Organization::Tenant {
            arguments.extend(["-i", &provider]);
        }
        run(installation, teller, show, &arguments)?;
        capabilities(installation, teller, *organization, Side::B).await?;
        vendor_row(installation, teller, *organization, Side::B).await?;
    }

    for organization in &organizations {
        let group = installation.group(*organization);
        teller.chapter(&format!("The old primary of {group} comes back"));
        let appliance = installation.world.appliance(*organization, Side::A).clone();
        installation.world.boot(&appliance, Boot::EVERYTHING).await?;
        installation.cluster.start_agent(installation.world.registry(), &appliance.name)?;
        installation.cluster.wait_for_agents(&[&appliance.name], WITHIN)?;
        teller.say(&format!("{} runs again, with everything that it ran before", appliance.name));
        let lost = missing(installation, *organization).await?;
        let id = run(
            installation,
            teller,
            show,
            &["run", group, "rejoin", "-i", "member=a", "--reason", "bring it back as a standby"],
        )?;
        lost_rows(installation, teller, *organization, &id, &lost).await?;
        replicated(installation, teller, *organization, Side::B).await?;
    }

    for organization in &organizations {
        let group = installation.group(*organization);
        teller.chapter(&format!("A planned switchover of {group} goes home"));
        let lost_before = missing(installation, *organization).await?;
        installation.no_primary(*organization)?;
        run(installation, teller, show, &["switchover", group, "--to", "a", "--reason", "home again"])?;
        installation.set_primary(*organization, Side::A)?;
        expect_primary(installation, teller, *organization, Side::A, 3)?;
        services(installation, teller, *organization, Side::A).await?;
        replicated(installation, teller, *organization, Side::A).await?;
        let lost_after = missing_on(installation, *organization, Side::A).await?;
        let same = lost_before.iter().all(|(place, keys)| lost_after.get(place) == Some(keys));
        teller.check(
            &format!("{group}: nothing was lost by the planned switchover"),
            same,
            format!("{} rows missing before, {} after", count(&lost_before), count(&lost_after)),
        );
    }
    let counted = tallies(&writers);
    until_writes(&writers, &counted, 20).await?;
    teller.check("new writes go home", true, "every client had 20 commits acknowledged");
    for (_, writer) in writers {
        writer.stop().await?;
    }
    Ok(())
}

/// Runs `baton` for a runbook to its end. Returns the run's name.
pub fn run(installation: &Installation, teller: &mut Teller, show: Show, arguments: &[&str]) -> Result<String> {
    command::run(&installation.cluster, teller, show, arguments)
}

fn expect_primary(
    installation: &Installation,
    teller: &mut Teller,
    organization: Organization,
    side: Side,
    epoch: u64,
) -> Result<()> {
    let group = installation.group(organization);
    let status = installation.cluster.json(&["status", group])?;
    let view = find_group(&status, group).context("status without the group")?;
    let wanted = if side == Side::A { "a" } else { "b" };
    let ok = view["primary"] == wanted && view["epoch"] == epoch;
    teller.check(&format!("{group}: the role"), ok, format!("{} in epoch {}", view["primary"], view["epoch"]));
    Ok(())
}

async fn services(
    installation: &Installation,
    teller: &mut Teller,
    organization: Organization,
    side: Side,
) -> Result<()> {
    let appliance = installation.world.appliance(organization, side);
    for service in crate::horizon::appliance::Service::ALL {
        let body = installation.world.ready(appliance, service, Duration::from_secs(30)).await?;
        let ok = body.contains(&appliance.server().to_string());
        teller.check(&format!("{} of {}", service.name(), appliance.name), ok, body.trim());
    }
    Ok(())
}

async fn capabilities(
    installation: &Installation,
    teller: &mut Teller,
    organization: Organization,
    side: Side,
) -> Result<()> {
    // The provider's fdb knows all; it is where the provider's primary is.
    let provider_group = installation.group(Organization::Provider);
    let status = installation.cluster.json(&["status", provider_group])?;
    let primary = find_group(&status, provider_group).map(|view| view["primary"].clone()).unwrap_or_default();
    let provider = installation.world.appliance(Organization::Provider, if primary == "a" { Side::A } else { Side::B });
    let holders = verification::primaries(&installation.world.superuser(provider, Database::Fdb)).await?;
    let wanted = &installation.world.appliance(organization, side).name;
    let seen = holders.get(&organization.id()).cloned().unwrap_or_default();
    teller.check(
        &format!("capabilities 192 of organisation {}", organization.id()),
        seen == [wanted.clone()],
        format!("held by {}", seen.join(", ")),
    );
    Ok(())
}

async fn vendor_row(
    installation: &Installation,
    teller: &mut Teller,
    organization: Organization,
    side: Side,
) -> Result<()> {
    let appliance = installation.world.appliance(organization, side);
    let rows = verification::vendor_rows(&installation.world.superuser(appliance, Database::Fdb)).await?;
    let ok = rows.len() == 1
        && rows[0].set_id == 1
        && rows[0].set_comment == "All tables and Sequences"
        && rows[0].local_id == 1
        && rows[0].master_node;
    teller.check(&format!("the vendor's row on {}", appliance.name), ok, format!("{rows:?}"));
    Ok(())
}

/// Replication from `side` to the other one, judged by the lab alone; a fresh row arrives.
async fn replicated(
    installation: &Installation,
    teller: &mut Teller,
    organization: Organization,
    side: Side,
) -> Result<()> {
    let other = if side == Side::A { Side::B } else { Side::A };
    let (origin, subscriber) =
        (installation.world.appliance(organization, side), installation.world.appliance(organization, other));
    for database in origin.databases() {
        let what = format!("{} replicates {} to {}", origin.name, database.name(), subscriber.name);
        match installation.world.verify(origin, subscriber, *database).await {
            Ok(took) => teller.check(&what, true, format!("a fresh row arrived after {:.1} s", took.as_secs_f32())),
            Err(error) => teller.check(&what, false, error.to_string()),
        }
    }
    Ok(())
}

/// Acknowledged rows that are not on the present primary, by place: (table, writer, number).
type Missing = BTreeMap<String, Vec<(String, i64)>>;

fn count(missing: &Missing) -> usize {
    missing.values().map(Vec::len).sum()
}

async fn missing(installation: &Installation, organization: Organization) -> Result<Missing> {
    missing_on(installation, organization, Side::B).await
}

async fn missing_on(installation: &Installation, organization: Organization, side: Side) -> Result<Missing> {
    let appliance = installation.world.appliance(organization, side);
    let entries = installation.ledger.entries()?;
    let mut missing = Missing::new();
    for database in appliance.databases() {
        let place = place(organization, *database);
        let endpoint = installation.world.superuser(appliance, *database);
        let compared = ledger::compare(&entries, &place, &endpoint).await?;
        let mut keys: Vec<(String, i64)> =
            compared.missing.iter().map(|entry| (table_name(entry.table), entry.number)).collect();
        keys.sort();
        missing.insert(place, keys);
    }
    Ok(missing)
}

fn table_name(table: ledger::Table) -> String {
    match table {
        ledger::Table::LedgerEntry => "public.ledger_entry".to_owned(),
        ledger::Table::LedgerSession => "public.ledger_session".to_owned(),
    }
}

/// `baton lost-rows` against the clients' record: 0 missing, 0 too many.
async fn lost_rows(
    installation: &Installation,
    teller: &mut Teller,
    organization: Organization,
    run: &str,
    lost: &Missing,
) -> Result<()> {
    let appliance = installation.world.appliance(organization, Side::B);
    for database in appliance.databases() {
        let place = place(organization, *database);
        let output =
            installation.cluster.baton(&["lost-rows", run, "--format", "sql", "--database", database.name()])?;
        if !output.status.success() {
            bail!("baton lost-rows {run}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let expected = lost.get(&place).map_or(&[][..], Vec::as_slice);
        let listed = listed(&text);
        let known = acknowledged_or_unknown(installation, &place)?;
        let absent: Vec<_> = expected.iter().filter(|key| !listed.contains(key)).collect();
        // A commit without an answer may have happened: listed, it is no error.
        let surplus: Vec<_> =
            listed.iter().filter(|key| !expected.contains(key) && !known.unknown.contains(key)).collect();
        teller.check(
            &format!("lost rows of {place}"),
            absent.is_empty() && surplus.is_empty(),
            format!(
                "{} acknowledged rows are not on the new primary; {} listed, {} missing, {} too many",
                expected.len(),
                listed.len(),
                absent.len(),
                surplus.len()
            ),
        );
    }
    Ok(())
}

struct Known {
    unknown: Vec<(String, i64)>,
}

fn acknowledged_or_unknown(installation: &Installation, place: &str) -> Result<Known> {
    let entries = installation.ledger.entries()?;
    let unknown = entries
        .iter()
        .filter(|entry| entry.place == place && entry.outcome == ledger::Outcome::Unknown)
        .map(|entry| (table_name(entry.table), entry.number))
        .collect();
    Ok(Known { unknown })
}

/// The ledger's rows in an SQL export: (table, number), found by the payload that each row carries.
fn listed(sql: &str) -> Vec<(String, i64)> {
    let mut rows: Vec<(String, i64)> = sql
        .lines()
        .filter(|line| line.to_ascii_uppercase().starts_with("INSERT INTO"))
        .filter_map(|line| {
            let table = ["ledger_entry", "ledger_session"].into_iter().find(|table| line.contains(table))?;
            // The payload is "WRITER NUMBER RANDOM" in quotes, and no other value has spaces between three words.
            let payload = line.split('\'').find(|part| {
                let words: Vec<&str> = part.split(' ').collect();
                words.len() == 3 && words[1].parse::<i64>().is_ok() && words[2].len() == 8
            })?;
            let number = payload.split(' ').nth(1)?.parse().ok()?;
            Some((format!("public.{table}"), number))
        })
        .collect();
    rows.sort();
    rows
}

fn properties_after_failover(
    installation: &Installation,
    teller: &mut Teller,
    organization: Organization,
    before: &BTreeMap<std::path::PathBuf, Vec<u8>>,
) -> Result<()> {
    let (a, b) =
        (installation.world.appliance(organization, Side::A), installation.world.appliance(organization, Side::B));
    let now = installation.properties()?;
    let mut wrong = Vec::new();
    let mut edited = 0;
    for (path, old) in before.iter().filter(|(path, _)| path.starts_with(&b.root)) {
        let expected = intended(&String::from_utf8_lossy(old), &a.address.to_string(), &b.address.to_string());
        edited += usize::from(expected.as_bytes() != old.as_slice());
        if now.get(path).map(Vec::as_slice) != Some(expected.as_bytes()) {
            wrong.push(path.display().to_string());
        }
    }
    teller.check(
        &format!("configuration files of {}, byte for byte", b.name),
        wrong.is_empty(),
        if wrong.is_empty() {
            format!("{edited} files differ, only where intended")
        } else {
            format!("not as intended: {}", wrong.join(", "))
        },
    );
    Ok(())
}

/// What the vendor's page wants of a file, written down independently of the editor under test.
fn intended(text: &str, a: &str, b: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| {
            let is_comment = line.starts_with('#') || line.starts_with('!');
            if !is_comment && line.starts_with("db.hosts") {
                line.replace(&format!("{a} , {b}"), b).replace(&format!("{a},{b}"), b)
            } else if line.starts_with("db.jdbc.url=") || line.starts_with("db.fdb.jdbc.url=") {
                line.replace(&format!("//{a}:"), &format!("//{b}:"))
            } else {
                line.to_owned()
            }
        })
        .collect()
}

fn tallies(writers: &BTreeMap<String, Writer>) -> BTreeMap<String, u64> {
    writers.iter().map(|(place, writer)| (place.clone(), writer.tally().acknowledged)).collect()
}

async fn wait_for_writes(writers: &BTreeMap<String, Writer>, least: u64) -> Result<()> {
    until_writes(writers, &BTreeMap::new(), least).await
}

/// Waits until every client has had so many more commits acknowledged.
async fn until_writes(writers: &BTreeMap<String, Writer>, since: &BTreeMap<String, u64>, more: u64) -> Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let slow = writers.iter().find(|(place, writer)| {
            writer.tally().acknowledged < since.get(*place).copied().unwrap_or_default() + more
        });
        let Some((place, writer)) = slow else { return Ok(()) };
        if begun.elapsed() > WITHIN {
            bail!("the client of {place} has {:?} after {WITHIN:?}", writer.tally());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
