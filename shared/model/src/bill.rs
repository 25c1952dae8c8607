//! The data-loss bill: what a failover that cannot wait for the old primary would lose, as far as anybody has seen.
//!
//! Apart because it is arithmetic over what hosts said, and nothing else: no clock, no question to a host. It must never make
//! a number of something that nobody saw; where a figure is missing the answer is *unknown*, and an unknown counts as worse
//! than any number.
//!
//! The rules are SQL Server's (Microsoft's pages on monitoring availability groups, and on forced failover): loss in time is the
//! primary's last commit less the target's, both by the primary's clock; the target's hardened log against the end of the
//! primary's tells an idle primary from a lagging target; `is_failover_ready` means no loss only if the target was up when the
//! primary failed; and the worst database governs, because a forced failover moves them all.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    group::SAMPLE_BYTES_MAX,
    ids::{HostName, SampleName},
    time::{Moment, Span},
};

mod account;
mod reading;
mod words;

use account::Account;
pub use words::length;

/// What a host said, and when: the coordinator's clock, before the host was asked, so that the age is never understated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    pub seen: Moment,
    pub data: Value,
}

impl Sampled {
    /// The host held the primary role when it said this.
    pub fn is_primary(&self) -> bool {
        self.data.get("role").and_then(Value::as_str) == Some("PRIMARY")
    }

    /// The same but for the time at which it was said.
    pub fn says_the_same(&self, other: &Sampled) -> bool {
        let without_time = |data: &Value| {
            let mut data = data.clone();
            if let Some(fields) = data.as_object_mut() {
                fields.remove("taken_ms");
            }
            data
        };
        without_time(&self.data) == without_time(&other.data)
    }
}

/// Bounds what a host said to [`SAMPLE_BYTES_MAX`]: what it told of other replicas goes first. Says the size where that is not
/// enough.
pub fn bounded(mut data: Value) -> Result<Value, usize> {
    if data.to_string().len() > SAMPLE_BYTES_MAX
        && let Some(rows) = data.get_mut("databases").and_then(Value::as_array_mut)
    {
        rows.retain(|row| row.get("is_local").and_then(Value::as_bool) == Some(true));
    }
    match data.to_string().len() {
        bytes if bytes > SAMPLE_BYTES_MAX => Err(bytes),
        _ => Ok(data),
    }
}

/// An operator's word that one run may lose data, and the bill as it was then. Who and when is the start's author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// The group's name, as the operator typed it.
    pub typed: String,
    pub bill: Bill,
}

/// What is kept of one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub latest: Sampled,
    /// The last word as primary, where the latest is none: a primary that loses its quorum goes on talking, and knows
    /// nothing any more of what it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_primary: Option<Sampled>,
}

impl Kept {
    pub fn new(first: Sampled) -> Self {
        Self { latest: first, as_primary: None }
    }

    /// Takes a newer one in.
    pub fn take(&mut self, newer: Sampled) {
        let before = std::mem::replace(&mut self.latest, newer);
        if self.latest.is_primary() {
            self.as_primary = None;
        } else if before.is_primary() {
            self.as_primary = Some(before);
        }
    }

    fn primary(&self) -> Option<&Sampled> {
        if self.latest.is_primary() { Some(&self.latest) } else { self.as_primary.as_ref() }
    }
}

/// Everything that is kept of a group: by sample, by host.
pub type Samples = BTreeMap<SampleName, BTreeMap<HostName, Kept>>;

/// Who is who in the failover that is billed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parties {
    /// The group's samples, and the hosts that each asks.
    pub asked: BTreeMap<SampleName, Vec<HostName>>,
    /// The hosts of the member that is primary.
    pub old: BTreeSet<HostName>,
    /// The hosts that would take over.
    pub target: BTreeSet<HostName>,
}

/// A figure that somebody saw, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure<T> {
    Known { value: T, seen: Moment },
    Unknown,
}

impl<T> Figure<T> {
    fn of(value: Option<T>, seen: Moment) -> Self {
        value.map_or(Figure::Unknown, |value| Figure::Known { value, seen })
    }
    fn or(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Figure::Known { .. } => self,
            Figure::Unknown => other(),
        }
    }
    pub fn value(&self) -> Option<&T> {
        match self {
            Figure::Known { value, .. } => Some(value),
            Figure::Unknown => None,
        }
    }
    pub fn seen(&self) -> Option<Moment> {
        match self {
            Figure::Known { seen, .. } => Some(*seen),
            Figure::Unknown => None,
        }
    }
}

/// A place in a database's log. Decimal text outside, since it has more digits than other programs' numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lsn(pub u128);

impl TryFrom<String> for Lsn {
    type Error = std::num::ParseIntError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.trim().parse().map(Self)
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> String {
        lsn.0.to_string()
    }
}

/// What one side of a database was seen to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The instance's own name, where it ever told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// The host that was asked; none where no host of this side ever said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// When this side was last seen at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Moment>,
    /// The old primary: the end of its log. The target: what it has hardened.
    pub log: Figure<Lsn>,
    /// By the old primary's clock on both sides.
    pub last_commit: Figure<String>,
}

/// Whether the target's copy can be taken at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fitness {
    Fit,
    /// With the state that it is in.
    Unfit(String),
    Unknown,
}

/// What would be lost of one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The target says that it is ready for a failover: nothing, if it was up when the primary failed.
    NothingIfReady {
        seen: Moment,
    },
    /// Commits of so long a time by the primary's clock; and whatever happened since the primary was seen.
    AtMost {
        commits: Span,
        since: Span,
    },
    Unknown {
        why: String,
    },
}

/// One database's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseBill {
    /// The sample that told of it.
    pub sample: SampleName,
    pub name: String,
    pub old: Side,
    pub target: Side,
    pub failover_ready: Figure<bool>,
    pub fitness: Fitness,
    /// Log that the primary had not sent to the target when it was seen.
    pub unsent_kb: Figure<u64>,
    pub loss: Loss,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cautions: Vec<String>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// What all ages are counted to.
    pub made: Moment,
    /// The worst first.
    pub databases: Vec<DatabaseBill>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cautions: Vec<String>,
}

/// A loss that grew by more than this between bill and start is another loss.
const GROWN: Span = Span::from_secs(60);

impl Bill {
    /// From what was kept of the group's samples.
    pub fn of(samples: &Samples, parties: &Parties, now: Moment) -> Self {
        let mut bill = Bill { made: now, databases: Vec::new(), cautions: Vec::new() };
        if parties.asked.is_empty() {
            bill.cautions
                .push("the group has no sample of its databases, so nobody ever asked what they have".to_owned());
        }
        let nothing = BTreeMap::new();
        for (name, hosts) in &parties.asked {
            let kept = samples.get(name).unwrap_or(&nothing);
            Account { name, hosts, kept, parties, now }.enter(&mut bill);
        }
        bill.databases.sort_by(|a, b| (a.badness(), &a.sample, &a.name).cmp(&(b.badness(), &b.sample, &b.name)));
        bill
    }

    /// What makes this bill worse than the one that was shown; empty where nothing does. That time went by is no news.
    pub fn worse_than(&self, shown: &Bill) -> Vec<String> {
        let mut worse = Vec::new();
        for now in &self.databases {
            let Some(before) = shown.databases.iter().find(|one| one.sample == now.sample && one.name == now.name)
            else {
                worse.push(format!("{} was not in it", now.name));
                continue;
            };
            match (before.target.log.value(), now.target.log.value()) {
                (Some(before), Some(log)) if log < before => {
                    worse.push(format!("{}: the target's log went back from {} to {}", now.name, before.0, log.0));
                }
                (Some(_), None) => worse.push(format!("{}: what the target has hardened is unknown now", now.name)),
                _ => {}
            }
            if let (Fitness::Fit | Fitness::Unknown, Fitness::Unfit(state)) = (&before.fitness, &now.fitness) {
                worse.push(format!("{}: the target is {state} now", now.name));
            }
            match (&before.loss, &now.loss) {
                (Loss::NothingIfReady { .. }, Loss::AtMost { .. }) => {
                    worse.push(format!("{}: the target is no longer ready for a failover", now.name));
                }
                // An operator who reads for some seconds while a live primary goes on is not asked again and again.
                (Loss::AtMost { commits: before, .. }, Loss::AtMost { commits, .. })
                    if commits.0 > before.0.saturating_add(GROWN.0) =>
                {
                    worse.push(format!("{}: {} of commits now, not {}", now.name, length(*commits), length(*before)));
                }
                (Loss::NothingIfReady { .. } | Loss::AtMost { .. }, Loss::Unknown { why }) => {
                    worse.push(format!("{}: its loss is unknown now, since {why}", now.name));
                }
                _ => {}
            }
        }
        for gone in &shown.databases {
            if !self.databases.iter().any(|one| one.sample == gone.sample && one.name == gone.name) {
                worse.push(format!("{}: nothing is known of it any more", gone.name));
            }
        }
        worse
    }
}

#[cfg(test)]
mod tests;
