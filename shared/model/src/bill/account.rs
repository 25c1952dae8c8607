//! One sample's part of a bill: who was primary, what each side said, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Bill, DatabaseBill, Figure, Fitness, Kept, Loss, Lsn, Parties, Sampled, Side,
    reading::{self, Reading, Row},
    words::length,
};
use crate::{
    ids::{HostName, SampleName},
    time::{Moment, Span},
};

/// Two hosts that were asked in one look may be seen in either order.
const ONE_LOOK: Span = Span::from_secs(5);

/// One sample's part of a bill.
pub(super) struct Account<'a> {
    pub(super) name: &'a SampleName,
    pub(super) hosts: &'a [HostName],
    pub(super) kept: &'a BTreeMap<HostName, Kept>,
    pub(super) parties: &'a Parties,
    pub(super) now: Moment,
}

impl Account<'_> {
    pub(super) fn enter(&self, bill: &mut Bill) {
        let targets: Vec<&HostName> = self.hosts.iter().filter(|host| self.parties.target.contains(*host)).collect();
        let others: Vec<&HostName> = self.hosts.iter().filter(|host| !self.parties.target.contains(*host)).collect();
        for host in self.hosts.iter().filter(|host| !self.kept.contains_key(*host)) {
            bill.cautions.push(format!("sample {}: {host} was never seen", self.name));
        }
        if targets.is_empty() {
            bill.cautions.push(format!("sample {} asks no host that would take over", self.name));
        }
        let primary = self.primary(&others, bill);
        let copies: Vec<Reading> = targets.iter().filter_map(|host| self.latest(host, bill)).collect();
        for copy in copies.iter().filter(|copy| copy.role.as_deref() == Some("PRIMARY")) {
            let seen = length(self.now.since(copy.seen));
            bill.cautions.push(format!("{} said {seen} ago that it is PRIMARY itself", copy.who()));
        }
        let names: BTreeSet<&str> =
            primary.iter().chain(&copies).flat_map(|reading| &reading.rows).map(|row| row.name.as_str()).collect();
        for name in names {
            // Several hosts that take over: the worst of them governs.
            let of = |copy: Option<&Reading>| self.database(name, primary.as_ref(), copy);
            let worst = copies.iter().map(|copy| of(Some(copy))).min_by_key(DatabaseBill::badness);
            bill.databases.push(worst.unwrap_or_else(|| of(None)));
        }
    }

    /// The newest word of whoever was primary; where nobody was, of the old member's hosts.
    fn primary(&self, others: &[&HostName], bill: &mut Bill) -> Option<Reading> {
        let read = |host: &HostName, sampled: Option<&Sampled>| Reading::of(host, sampled?).ok();
        let kept = |host: &HostName| self.kept.get(host);
        let now_primary = |host: &HostName| kept(host).map(|kept| &kept.latest).filter(|latest| latest.is_primary());
        let is_ours = |host: &&&HostName| self.parties.old.contains(**host);
        let newest = |readings: Vec<Reading>| readings.into_iter().max_by_key(|reading| reading.seen);
        // What somebody was before the role moved on is no claim; what the old member was is all there may be.
        let claims: Vec<Reading> = others.iter().filter_map(|host| read(host, now_primary(host))).collect();
        if claims.len() > 1 {
            let who = claims.iter().map(|one| format!("{} {} ago", one.who(), length(self.now.since(one.seen))));
            let who: Vec<String> = who.collect();
            bill.cautions.push(format!("several said that they are PRIMARY: {}", who.join(", ")));
        }
        let (mut ours, foreign): (Vec<Reading>, Vec<Reading>) =
            claims.into_iter().partition(|claim| self.parties.old.contains(&claim.host));
        if ours.is_empty() {
            let before = others.iter().filter(is_ours);
            ours = before.filter_map(|host| read(host, kept(host).and_then(Kept::primary))).collect();
        }
        if let Some(primary) = newest(ours) {
            let now = self.kept.get(&primary.host).filter(|kept| !kept.latest.is_primary());
            if let Some(later) = now.and_then(|kept| Reading::of(&primary.host, &kept.latest).ok()) {
                let role = later.role.as_deref().unwrap_or("without a role");
                bill.cautions.push(format!(
                    "{} was {role} when it was last seen, {} ago; what it had as PRIMARY is older",
                    later.who(),
                    length(self.now.since(later.seen)),
                ));
            }
            return Some(primary);
        }
        if let Some(primary) = newest(foreign) {
            bill.cautions.push(format!("{} said that it is PRIMARY, and is not of the group's primary", primary.who()));
            return Some(primary);
        }
        let last = newest(others.iter().filter(is_ours).filter_map(|host| self.latest(host, bill)).collect());
        match &last {
            Some(last) => bill.cautions.push(format!(
                "nobody was ever seen as PRIMARY; {} was {}",
                last.who(),
                last.role.as_deref().unwrap_or("without a role")
            )),
            None => bill.cautions.push(format!("sample {}: the primary was never seen", self.name)),
        }
        last
    }

    fn latest(&self, host: &HostName, bill: &mut Bill) -> Option<Reading> {
        match Reading::of(host, &self.kept.get(host)?.latest) {
            Ok(reading) => Some(reading),
            Err(why) => {
                bill.cautions.push(format!("sample {}: what {host} said is not understood: {why}", self.name));
                None
            }
        }
    }

    fn database(&self, name: &str, primary: Option<&Reading>, copy: Option<&Reading>) -> DatabaseBill {
        let mut cautions = Vec::new();
        let theirs = primary.and_then(|primary| primary.local(name));
        let own = copy.and_then(|copy| copy.local(name));
        // What the primary last saw of the target: older, and never more than the target has now.
        let of_target = primary.zip(copy.and_then(|copy| copy.replica.as_deref())).and_then(|(primary, replica)| {
            primary.rows.iter().find(|row| row.name == name && row.replica.as_deref() == Some(replica))
        });
        let old = side(primary, |primary| {
            (Figure::of(theirs.and_then(|row| row.end_of_log), primary.seen), commit(theirs, primary.seen))
        });
        let mut target =
            side(copy, |copy| (Figure::of(own.and_then(|row| row.hardened), copy.seen), commit(own, copy.seen)));
        if let Some((primary, row)) = primary.zip(of_target) {
            let before = (target.log.clone(), target.last_commit.clone());
            target.log = target.log.or(|| Figure::of(row.hardened, primary.seen));
            target.last_commit = target.last_commit.or(|| commit(Some(row), primary.seen));
            if before != (target.log.clone(), target.last_commit.clone()) {
                cautions
                    .push(format!("it did not say itself what it has: this is what {} last saw of it", primary.who()));
            }
        }
        let ready = match (copy, own) {
            (Some(copy), Some(row)) => Figure::of(row.failover_ready, copy.seen),
            _ => Figure::Unknown,
        };
        if own.is_some_and(|row| row.suspended == Some(true))
            || of_target.is_some_and(|row| row.suspended == Some(true))
        {
            cautions.push("its data movement is suspended on the target".to_owned());
        }
        if theirs.is_some_and(|row| row.suspended == Some(true)) {
            cautions.push("its data movement was suspended on the primary".to_owned());
        }
        let fitness = own.map_or(Fitness::Unknown, Row::fitness);
        let missing = copy.is_some() && own.is_none();
        let loss = if missing {
            Loss::Unknown { why: "the target has no copy of it in its group: all of it stays behind".to_owned() }
        } else {
            self.loss(&old, &target, &ready, own, &mut cautions)
        };
        let unsent = primary
            .zip(of_target)
            .map_or(Figure::Unknown, |(primary, row)| Figure::of(row.send_queue_kb, primary.seen));
        DatabaseBill {
            sample: self.name.clone(),
            name: name.to_owned(),
            old,
            target,
            failover_ready: ready,
            fitness,
            unsent_kb: unsent,
            loss,
            cautions,
        }
    }

    fn loss(
        &self,
        old: &Side,
        target: &Side,
        ready: &Figure<bool>,
        own: Option<&Row>,
        cautions: &mut Vec<String>,
    ) -> Loss {
        let suspended = own.is_none_or(|row| row.suspended != Some(false));
        if let Figure::Known { value: true, seen } = ready {
            // Said before the primary was last seen, it may have ended since; while data movement is suspended it means nothing.
            if !suspended && old.seen.is_none_or(|primary| seen.plus(ONE_LOOK) >= primary) {
                return Loss::NothingIfReady { seen: *seen };
            }
            cautions.push("it was ready for a failover, but that need not hold any more".to_owned());
        }
        let since = |figure: Moment| self.now.since(figure);
        if let (Figure::Known { value: end, seen }, Some(hardened)) = (&old.log, target.log.value())
            && hardened >= end
        {
            // A copy that does not follow and has more than the primary had may have it from another fork: no proof of anything.
            if own.is_some_and(|row| row.suspended == Some(true)) && hardened > end {
                let why = "its data movement is suspended on the target, whose log is longer than the primary's was";
                return Loss::Unknown { why: why.to_owned() };
            }
            return Loss::AtMost { commits: Span(0), since: since(*seen) };
        }
        let at = |side: &Side| side.last_commit.value().and_then(|text| reading::milliseconds(text));
        match (at(old), at(target), old.last_commit.seen()) {
            (Some(theirs), Some(ours), Some(seen)) => {
                let commits = Span(u64::try_from(theirs.saturating_sub(ours)).unwrap_or(0));
                // What it has received and not hardened yet is still its own.
                let received = own.and_then(|row| row.end_of_log);
                if commits == Span(0) && old.log.value().is_none_or(|end| received.is_none_or(|got| got < *end)) {
                    cautions.push(match (old.log.value(), target.log.value()) {
                        (Some(_), Some(_)) => {
                            "no commit is missing, but the primary's log went on beyond what the target has".to_owned()
                        }
                        _ => "the last commits agree, but the ends of the logs could not be compared".to_owned(),
                    });
                }
                Loss::AtMost { commits, since: since(seen) }
            }
            (None, _, _) | (_, _, None) => {
                let why = if old.seen.is_none() {
                    "the primary was never seen"
                } else {
                    "the primary's last commit is unknown"
                };
                Loss::Unknown { why: why.to_owned() }
            }
            (_, None, _) => {
                let why = if target.seen.is_none() {
                    "the target was never seen"
                } else {
                    "the target's last commit is unknown"
                };
                Loss::Unknown { why: why.to_owned() }
            }
        }
    }
}

fn commit(row: Option<&Row>, seen: Moment) -> Figure<String> {
    Figure::of(row.and_then(|row| row.last_commit.clone()), seen)
}

fn side(reading: Option<&Reading>, figures: impl FnOnce(&Reading) -> (Figure<Lsn>, Figure<String>)) -> Side {
    let Some(reading) = reading else {
        return Side { replica: None, host: None, seen: None, log: Figure::Unknown, last_commit: Figure::Unknown };
    };
    let (log, last_commit) = figures(reading);
    Side {
        replica: reading.replica.clone(),
        host: Some(reading.host.clone()),
        seen: Some(reading.seen),
        log,
        last_commit,
    }
}
