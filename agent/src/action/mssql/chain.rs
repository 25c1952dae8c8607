//! Log chains: which backup sets, in which order, take a copy from its last applied LSN on, and whether one is missing.
//!
//! Apart and pure because nothing may be restored before this has said that the chain is complete: a copy that was brought
//! online with a file missing has lost what was in it. It never looks at a file's name or date to decide an order (they
//! come shuffled, renamed, and in local time), and it leaves nothing out silently.
//!
//! The rule is the documentation's of RESTORE HEADERONLY: with L the LastLSN of what was applied last, a log backup applies where
//! FirstLSN <= L < LastLSN; LastLSN <= L has been applied (4326), FirstLSN > L means that a file is missing (4305).

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

/// A log sequence number, as `numeric(25,0)` gives it. LastLSN is the one after the last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u128);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Lsn {
    /// The 25 digits and less that SQL Server prints.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.len() <= 25 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok().map(Self)).flatten()
    }
}

impl Serialize for Lsn {
    /// As text: a JSON number would lose the last digits.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no LSN")))
    }
}

/// What a backup set holds; the numbers of RESTORE HEADERONLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetKind {
    Full,
    Log,
    /// Files, differentials, partial ones.
    Other(i64),
}

impl SetKind {
    pub fn of(backup_type: i64) -> Self {
        match backup_type {
            1 => Self::Full,
            2 => Self::Log,
            other => Self::Other(other),
        }
    }
}

/// One backup set in a file, by its header. Identities are lower case; `None` where the server gave none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The file's name in its directory.
    pub file: String,
    /// Of the set in its file, from 1.
    pub position: i64,
    pub kind: SetKind,
    pub database: String,
    /// BackupName: what the one who made it called it.
    pub name: String,
    pub family: Option<String>,
    /// The recovery fork at its first record and at its last.
    pub first_fork: Option<String>,
    pub fork: Option<String>,
    pub set: Option<String>,
    pub first: Lsn,
    pub last: Lsn,
    /// LastLSN's counterpart of the full backup that it is based on.
    pub database_backup: Option<Lsn>,
    pub damaged: bool,
    pub copy_only: bool,
    /// Made WITH NORECOVERY: the tail.
    pub tail: bool,
    /// As the server said it, for a person.
    pub finished: String,
}

impl Header {
    /// `mgc_3.trn`, or `mgc.bak(2)` for the second set of a file.
    pub fn place(&self) -> String {
        if self.position == 1 { self.file.clone() } else { format!("{}({})", self.file, self.position) }
    }
}

/// A file that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Sets(Vec<Header>),
    /// Its header cannot be read, or its name says that a copy is still under way.
    Unreadable {
        file: String,
        why: String,
    },
}

/// Where a copy stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub database: String,
    /// What the last applied backup said; `None` where msdb does not.
    pub family: Option<String>,
    pub fork: Option<String>,
    /// LastLSN of what was applied last.
    pub applied: Lsn,
}

/// What is to be done, and what has no part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub verdict: Verdict,
    /// By place. Not what has been applied already.
    pub left_out: Vec<LeftOut>,
    /// How many sets have been applied already.
    pub applied_before: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that is there has been applied.
    Nothing,
    /// These, in this order, without a gap.
    Apply(Vec<Header>),
    /// Nothing may be applied.
    Gap(Box<Gap>),
    /// The only set that goes on from here is damaged.
    Damaged(Box<Header>),
}

/// A missing piece of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// A set that includes this LSN is needed.
    pub needed: Lsn,
    /// The set before the gap; `None` where the gap follows what has been applied.
    pub after: Option<Header>,
    /// The set behind it; `None` where only the wished end lies behind it.
    pub before: Option<Header>,
    /// The wished end, where it was not reached.
    pub until: Option<Lsn>,
    /// Files whose headers cannot be read: the missing one may be among them.
    pub unreadable: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub place: String,
    pub why: String,
}

/// The plan from where a copy stands, over every file of its directory. `until` is the last LSN that must be reached.
pub fn plan(standing: &Standing, files: &[Seen], until: Option<Lsn>) -> Plan {
    let mut left_out = Vec::new();
    let mut unreadable = Vec::new();
    let mut logs: Vec<&Header> = Vec::new();
    for seen in files {
        match seen {
            Seen::Unreadable { file, why } => {
                unreadable.push(file.clone());
                left_out.push(LeftOut { place: file.clone(), why: why.clone() });
            }
            Seen::Sets(sets) => sets.iter().for_each(|header| match log_of(standing, header) {
                Err(why) => left_out.push(LeftOut { place: header.place(), why }),
                Ok(()) => logs.push(header),
            }),
        }
    }
    // From here on the order in which the files came has no say.
    logs.sort_by_cached_key(|header| (header.first, header.last, header.damaged, header.place()));
    unreadable.sort();

    let before = logs.len();
    logs.retain(|header| header.last > standing.applied);
    let applied_before = before - logs.len();
    let (chosen, end) = follow(standing, &logs);
    let verdict = verdict(standing, &logs, chosen, &end, until, unreadable);
    if let Verdict::Apply(chosen) = &verdict {
        let places: BTreeSet<String> = chosen.iter().map(Header::place).collect();
        let rest = logs.iter().filter(|header| !places.contains(&header.place()));
        left_out.extend(rest.map(|header| LeftOut { place: header.place(), why: spare(header, chosen) }));
    }
    left_out.sort_by(|a, b| (&a.place, &a.why).cmp(&(&b.place, &b.why)));
    Plan { verdict, left_out, applied_before }
}

/// Whether a set is this database's log; why not.
pub fn log_of(standing: &Standing, header: &Header) -> Result<(), String> {
    if !header.database.eq_ignore_ascii_case(&standing.database) {
        return Err(format!("it is of database {}", header.database));
    }
    match header.kind {
        SetKind::Log => {}
        SetKind::Full => return Err("it is a full backup".to_owned()),
        SetKind::Other(number) => return Err(format!("it is a backup of type {number}, not a log")),
    }
    if differs(&standing.family, &header.family) {
        let family = header.family.as_deref().unwrap_or_default();
        return Err(format!("it is of another database of that name (family {family})"));
    }
    Ok(())
}

fn differs(a: &Option<String>, b: &Option<String>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a != b)
}

/// The chain as far as it goes, and where it stands then.
fn follow<'a>(standing: &Standing, logs: &[&'a Header]) -> (Vec<&'a Header>, Standing) {
    let mut chosen = Vec::new();
    let mut at = standing.clone();
    // Of several that go on from here (the same file twice, a copy-only log beside the regular one) the one that goes furthest;
    // the sorting decides between equals.
    while let Some(next) = furthest(&at, logs, false) {
        at.applied = next.last;
        at.fork = next.fork.clone().or(at.fork);
        chosen.push(next);
    }
    (chosen, at)
}

fn furthest<'a>(at: &Standing, logs: &[&'a Header], damaged: bool) -> Option<&'a Header> {
    let goes_on = |header: &&&Header| {
        header.damaged == damaged
            && header.first <= at.applied
            && at.applied < header.last
            // A copy that is on the fork in which the log ends is beyond the point where it began: as a full backup made after a
            // recovery is, whose next log backup still holds the log from before that recovery.
            && (!differs(&at.fork, &header.first_fork) || !differs(&at.fork, &header.fork))
    };
    logs.iter().filter(goes_on).copied().reduce(|best, header| if header.last > best.last { header } else { best })
}

fn verdict(
    standing: &Standing,
    logs: &[&Header],
    chosen: Vec<&Header>,
    end: &Standing,
    until: Option<Lsn>,
    unreadable: Vec<String>,
) -> Verdict {
    if let Some(header) = furthest(end, logs, true) {
        return Verdict::Damaged(Box::new(header.clone()));
    }
    // Whatever reaches beyond the end of the chain cannot be reached: because of a missing file, or of another recovery fork.
    let behind = logs.iter().filter(|header| header.last > end.applied).min_by_key(|header| header.first);
    let short = until.filter(|until| *until > end.applied);
    if behind.is_some() || short.is_some() {
        return Verdict::Gap(Box::new(Gap {
            needed: end.applied,
            after: chosen.last().copied().cloned(),
            before: behind.copied().cloned(),
            until: short,
            unreadable,
        }));
    }
    debug_assert!(end.applied >= standing.applied);
    if chosen.is_empty() { Verdict::Nothing } else { Verdict::Apply(chosen.into_iter().cloned().collect()) }
}

/// Why a log of this database that is not yet applied is not needed either.
fn spare(header: &Header, chosen: &[Header]) -> String {
    if header.damaged {
        return "it is damaged, and another file holds the same log".to_owned();
    }
    match chosen.iter().find(|other| (other.first, other.last) == (header.first, header.last)) {
        Some(same) => format!("it holds the same log as {}", same.place()),
        None => "other files hold the same log".to_owned(),
    }
}

impl Gap {
    /// The log that would go on from here, and begins in another recovery fork.
    pub fn other_fork(&self) -> Option<&Header> {
        self.before.as_ref().filter(|before| before.first <= self.needed)
    }
}

impl fmt::Display for Gap {
    /// LSNs and files on both sides.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.after {
            Some(after) => write!(f, "after {} (to LSN {})", after.place(), after.last)?,
            None => write!(f, "after LSN {}, the last that was applied,", self.needed)?,
        }
        match &self.before {
            Some(before) if self.other_fork().is_some() => write!(
                f,
                " the log goes on in another recovery fork: {} (LSN {} to {}) begins in fork {}",
                before.place(),
                before.first,
                before.last,
                before.first_fork.as_deref().unwrap_or("unknown")
            )?,
            Some(before) => {
                write!(f, " a log backup is missing before {} (from LSN {})", before.place(), before.first)?
            }
            None => f.write_str(" a log backup is missing")?,
        }
        if let Some(until) = self.until {
            write!(f, "; the chain must reach LSN {until}")?;
        }
        if !self.unreadable.is_empty() {
            write!(f, "; it may be one of those that cannot be read: {}", self.unreadable.join(", "))?;
        }
        Ok(())
    }
}

/// The full backup of a database to begin with: the newest that is not damaged.
pub fn newest_full<'a>(database: &str, files: &'a [Seen]) -> Option<&'a Header> {
    let sets = files.iter().filter_map(|seen| match seen {
        Seen::Sets(sets) => Some(sets),
        Seen::Unreadable { .. } => None,
    });
    let full = |header: &&Header| {
        header.kind == SetKind::Full && !header.damaged && header.database.eq_ignore_ascii_case(database)
    };
    sets.flatten().filter(full).max_by(|a, b| (a.last, b.place()).cmp(&(b.last, a.place())))
}

#[cfg(test)]
mod tests;
