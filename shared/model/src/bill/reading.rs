//! What a host said in a sample, read field by field. A field that is missing, null or of another form is *not known*; it
//! is never filled in.

use serde_json::Value;

use super::{Fitness, Lsn, Sampled};
use crate::{ids::HostName, time::Moment};

/// States in which a copy cannot be taken: it is being built, rolled back, or damaged.
const UNFIT: &[&str] = &["INITIALIZING", "REVERTING", "SUSPECT", "RECOVERY PENDING", "EMERGENCY", "OFFLINE"];

/// One host's word.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) host: HostName,
    pub(super) seen: Moment,
    pub(super) replica: Option<String>,
    pub(super) role: Option<String>,
    pub(super) rows: Vec<Row>,
}

/// A database of a replica, as that host sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) replica: Option<String>,
    pub(super) local: bool,
    pub(super) state: Option<String>,
    pub(super) database_state: Option<String>,
    pub(super) failover_ready: Option<bool>,
    pub(super) suspended: Option<bool>,
    pub(super) end_of_log: Option<Lsn>,
    pub(super) hardened: Option<Lsn>,
    pub(super) last_commit: Option<String>,
    pub(super) send_queue_kb: Option<u64>,
}

impl Reading {
    pub(super) fn of(host: &HostName, sampled: &Sampled) -> Result<Self, String> {
        let databases = sampled.data.get("databases").and_then(Value::as_array);
        let databases = databases.ok_or_else(|| "it names no databases".to_owned())?;
        let rows = databases.iter().map(Row::of).collect::<Option<Vec<Row>>>();
        Ok(Self {
            host: host.clone(),
            seen: sampled.seen,
            replica: text(&sampled.data, "replica"),
            role: text(&sampled.data, "role"),
            rows: rows.ok_or_else(|| "a database has no name".to_owned())?,
        })
    }

    /// The host's own copy of a database.
    pub(super) fn local(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.local && row.name == name)
    }

    /// `SQL1 (db1)`.
    pub(super) fn who(&self) -> String {
        self.replica.as_ref().map_or_else(|| self.host.to_string(), |replica| format!("{replica} ({})", self.host))
    }
}

impl Row {
    fn of(value: &Value) -> Option<Self> {
        let flag = |key: &str| value.get(key).and_then(Value::as_bool);
        let lsn =
            |key: &str| value.get(key).and_then(Value::as_str).and_then(|digits| digits.trim().parse().ok()).map(Lsn);
        Some(Self {
            name: text(value, "name")?,
            replica: text(value, "replica"),
            local: flag("is_local") == Some(true),
            state: text(value, "synchronization_state"),
            database_state: text(value, "database_state"),
            failover_ready: flag("is_failover_ready"),
            suspended: flag("is_suspended"),
            end_of_log: lsn("end_of_log_lsn"),
            hardened: lsn("last_hardened_lsn"),
            // A time that cannot be read is none.
            last_commit: text(value, "last_commit_time").filter(|text| milliseconds(text).is_some()),
            send_queue_kb: value.get("log_send_queue_kb").and_then(Value::as_u64),
        })
    }

    pub(super) fn fitness(&self) -> Fitness {
        let words = [&self.state, &self.database_state]
            .map(|state| state.as_ref().map(|state| state.to_ascii_uppercase().replace('_', " ")));
        match words.iter().flatten().find(|state| UNFIT.contains(&state.as_str())) {
            Some(state) => Fitness::Unfit(state.clone()),
            None if self.state.is_some() => Fitness::Fit,
            None => Fitness::Unknown,
        }
    }
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A server's time as milliseconds, with or without an offset. Both sides' times are the same server's, so without one any
/// zone will do: only differences are taken.
pub(super) fn milliseconds(text: &str) -> Option<i64> {
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(moment.as_millisecond());
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_millisecond())
}
