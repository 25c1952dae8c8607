//! What the simulated instances themselves know: roles, modes, the ends of logs, and what they were asked in which order.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;

use crate::{
    genesys::{
        Installation, Site, World,
        site::{DATABASES, GROUP},
    },
    sqlserver::world::database::Movement,
    story::Teller,
};

/// Unix milliseconds, as instances stamp what they are asked.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Everything that a switch back must put back: roles, modes, movement, services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    primaries: Vec<String>,
    modes: BTreeMap<String, String>,
    /// Of each copy that is not the primary's.
    movement: BTreeMap<String, String>,
    running: BTreeMap<String, Vec<String>>,
}

impl Standing {
    pub fn of(world: &World) -> Result<Self> {
        let control = world.instances.control();
        let primaries = control.primaries(GROUP)?;
        let told = control.world()?;
        let members = told.groups.get(GROUP).map(|group| &group.store.members);
        let modes = members
            .into_iter()
            .flatten()
            .map(|(name, member)| (name.clone(), format!("{:?} {:?}", member.availability, member.failover)));
        let mut movement = BTreeMap::new();
        for site in Site::BOTH {
            let instance = site.instance();
            for database in DATABASES {
                let copy = told.copy(&instance, GROUP, database).and_then(|copy| copy.hadr.as_ref());
                let words = match copy {
                    None => "no copy",
                    Some(hadr) if hadr.suspended.is_some() => "suspended",
                    Some(_) if primaries == [instance.clone()] => "primary",
                    Some(hadr) if matches!(hadr.movement, Movement::Synchronizing { .. }) => "synchronizing",
                    Some(hadr) if hadr.movement == Movement::Synchronized => "synchronized",
                    Some(_) => "not synchronizing",
                };
                movement.insert(format!("{database} on {instance}"), words.to_owned());
            }
        }
        Ok(Self { primaries, modes: modes.collect(), movement, running: world.running() })
    }

    /// Normal operation: Node 1 primary, Node 2 following asynchronously.
    pub fn is_normal(&self, teller: &mut Teller) {
        let follows = self.movement.iter().filter(|(copy, _)| copy.ends_with("NODE2"));
        let good = self.primaries == ["NODE1"]
            && follows.clone().all(|(_, words)| words == "synchronizing")
            && self.modes.values().all(|mode| mode.starts_with("Asynchronous"));
        teller.check(
            "Node 1 is Primary, Node 2 follows asynchronously",
            good,
            format!("{:?} {:?}", self.primaries, self.movement),
        );
    }

    /// All of it, by name.
    pub fn facts(&self) -> BTreeMap<String, String> {
        let mut facts = BTreeMap::from([("primary by SQL Server".to_owned(), self.primaries.join(", "))]);
        facts.extend(self.modes.iter().map(|(instance, mode)| (format!("mode of {instance}"), mode.clone())));
        facts.extend(self.movement.iter().map(|(copy, words)| (format!("copy of {copy}"), words.clone())));
        facts.extend(self.running.iter().map(|(machine, names)| (format!("runs on {machine}"), names.join(", "))));
        facts
    }

    pub fn words(&self, other: &Self) -> String {
        if self == other {
            let count: usize = self.running.values().map(Vec::len).sum();
            return format!("roles, modes, data movement and {count} services");
        }
        format!("{self:?}, not {other:?}")
    }
}

/// What stands there once nothing changes towards `wished` any more.
pub async fn settled(lab: &Installation, wished: &Standing, within: Duration) -> Result<Standing> {
    let begun = Instant::now();
    loop {
        let seen = Standing::of(&lab.world)?;
        if seen == *wished || begun.elapsed() > within {
            return Ok(seen);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The ends of the logs at one moment, and the last commits in them.
#[derive(Debug, Clone)]
pub struct Ends(pub BTreeMap<String, End>);

#[derive(Debug, Clone)]
pub struct End {
    /// Node 1's, in every spelling of the same place that a view may give.
    pub old: (i128, i128),
    pub target: (i128, i128),
    /// Commit times: Node 1's last one, and the last one that Node 2 has.
    pub old_commit_ms: i64,
    pub target_commit_ms: i64,
}

impl Ends {
    pub fn of(world: &World) -> Result<Self> {
        let told = world.instances.control().world()?;
        let mut ends = BTreeMap::new();
        for name in DATABASES {
            let side = |site: Site| {
                let copy = told.copy(&site.instance(), GROUP, name).expect("a copy at each site");
                let commit = told.log_of(copy).last_commit(copy.fork, copy.end).map_or(0, |(_, at)| at);
                ((copy.end.block(), copy.end.record()), commit)
            };
            let ((old, old_commit_ms), (target, target_commit_ms)) = (side(Site::One), side(Site::Two));
            ends.insert(name.to_owned(), End { old, target, old_commit_ms, target_commit_ms });
        }
        Ok(Self(ends))
    }
}

/// The vendor's order of a switch back, by what both instances were asked.
pub fn in_vendors_order(lab: &Installation, teller: &mut Teller, since: i64) {
    let asked = |site: Site, words: &str| {
        let all = lab.world.instances.asked(&site.instance(), words);
        all.into_iter().filter(|one| one.at >= since).map(|one| one.at).collect::<Vec<i64>>()
    };
    let backups = asked(Site::Two, "BACKUP DATABASE");
    let stages = [
        ("back up", backups.clone()),
        ("resume", asked(Site::One, "SET HADR RESUME")),
        ("synchronous", asked(Site::Two, "AVAILABILITY_MODE = SYNCHRONOUS_COMMIT")),
        ("fail over", asked(Site::One, "] FAILOVER")),
        ("asynchronous", asked(Site::One, "AVAILABILITY_MODE = ASYNCHRONOUS_COMMIT")),
    ];
    let mut last = since;
    let mut good = backups.len() == DATABASES.len();
    let mut words = Vec::new();
    for (what, times) in &stages {
        // Data movement may have been resumed before: a reseed does that.
        let missing = times.is_empty() && *what != "resume";
        good &= !missing && times.iter().all(|at| *at >= last);
        last = times.iter().copied().max().unwrap_or(last);
        words.push(format!("{what} {}×", times.len()));
    }
    teller.check("SQL Server was asked in the vendor's order", good, words.join(", "));
    let forced: usize = Site::BOTH.iter().map(|site| asked(*site, "FORCE_FAILOVER").len()).sum();
    teller.check("nothing was forced", forced == 0, format!("FORCE was sent {forced} times"));
}

/// The copies follow the primary, by the truth.
pub async fn follows(lab: &Installation, teller: &mut Teller, databases: &[&str], at: Site) -> Result<()> {
    let world = lab.world.instances.control().world()?;
    for database in databases {
        let copy = world.copy(&at.instance(), GROUP, database);
        let hadr = copy.and_then(|copy| copy.hadr.as_ref());
        let good = hadr.is_some_and(|hadr| {
            hadr.suspended.is_none() && matches!(hadr.movement, Movement::Synchronizing { .. } | Movement::Synchronized)
        });
        let seen = hadr.map_or_else(|| "no copy".to_owned(), |hadr| format!("{:?}", hadr.movement));
        teller.check(&format!("{database} follows at {}", at.instance()), good, seen);
    }
    Ok(())
}
