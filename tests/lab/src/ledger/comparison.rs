//! Compares the record with what a server holds. The comparison itself is pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use super::{Entry, Outcome, Table};
use crate::horizon::{Endpoint, Error};

/// A row as a server holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The table.
    pub table: Table,
    /// Who wrote it.
    pub writer: String,
    /// The writer's number of it.
    pub number: i64,
    /// What was written.
    pub payload: String,
    /// The sequence's number, in [`Table::LedgerSession`].
    pub id: Option<i64>,
}

/// What a server holds of the record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// How many commits of this place were acknowledged.
    pub acknowledged: usize,
    /// Acknowledged and not there: lost.
    pub missing: Vec<Entry>,
    /// Acknowledged and there with another content or another sequence number.
    pub altered: Vec<Entry>,
    /// There more than once.
    pub doubled: Vec<Row>,
    /// There, though no writer ever sent a COMMIT for it.
    pub unexpected: Vec<Row>,
    /// Commits without an answer that are there after all.
    pub unknown_present: usize,
    /// Sequence numbers that acknowledged rows of the record have, and that other rows have too: the sequence trap.
    pub reused_ids: BTreeSet<i64>,
}

impl Comparison {
    /// Whether the server holds exactly what was acknowledged.
    pub fn is_exact(&self) -> bool {
        let Self { missing, altered, doubled, unexpected, .. } = self;
        missing.is_empty() && altered.is_empty() && doubled.is_empty() && unexpected.is_empty()
    }

    /// For people: how many of what.
    pub fn summary(&self) -> String {
        format!(
            "{} acknowledged, {} missing, {} altered, {} doubled, {} unexpected, {} unknown but present, {} sequence numbers reused",
            self.acknowledged,
            self.missing.len(),
            self.altered.len(),
            self.doubled.len(),
            self.unexpected.len(),
            self.unknown_present,
            self.reused_ids.len()
        )
    }
}

/// Reads the ledger's tables on a server and compares them with the entries of one place.
pub async fn compare(entries: &[Entry], place: &str, endpoint: &Endpoint) -> Result<Comparison, Error> {
    let rows = rows(endpoint).await?;
    Ok(judge(entries.iter().filter(|entry| entry.place == place), &rows))
}

async fn rows(endpoint: &Endpoint) -> Result<Vec<Row>, Error> {
    let sql = "select false, writer, number, payload, null::bigint from ledger_entry
               union all select true, writer, number, payload, id from ledger_session";
    let read = endpoint.connect().await?.query(sql, &[]).await.map_err(endpoint.refused("read the ledger's tables"))?;
    let row = |row: &tokio_postgres::Row| Row {
        table: if row.get(0) { Table::LedgerSession } else { Table::LedgerEntry },
        writer: row.get(1),
        number: row.get(2),
        payload: row.get(3),
        id: row.get(4),
    };
    Ok(read.iter().map(row).collect())
}

/// Compares entries of one place with the rows of one server.
pub fn judge<'a>(entries: impl Iterator<Item = &'a Entry>, rows: &[Row]) -> Comparison {
    let mut result = Comparison::default();
    let mut present: BTreeMap<(&str, i64), Vec<&Row>> = BTreeMap::new();
    let mut holders: BTreeMap<i64, BTreeSet<(&str, i64)>> = BTreeMap::new();
    for row in rows {
        present.entry((&row.writer, row.number)).or_default().push(row);
        if let Some(id) = row.id {
            holders.entry(id).or_default().insert((&row.writer, row.number));
        }
    }
    let mut known = BTreeSet::new();
    for entry in entries {
        let key = (entry.writer.as_str(), entry.number);
        known.insert(key);
        let found = present.get(&key).and_then(|rows| rows.first());
        match (entry.outcome, found) {
            (Outcome::Unknown, found) => result.unknown_present += usize::from(found.is_some()),
            (Outcome::Acknowledged, None) => result.missing.push(entry.clone()),
            (Outcome::Acknowledged, Some(row)) => {
                let same = row.table == entry.table && row.payload == entry.payload && row.id == entry.id;
                if !same {
                    result.altered.push(entry.clone());
                }
            }
        }
        if entry.outcome == Outcome::Acknowledged {
            result.acknowledged += 1;
            if let Some(id) = entry.id
                && holders.get(&id).is_some_and(|holders| holders.iter().any(|holder| *holder != key))
            {
                result.reused_ids.insert(id);
            }
        }
    }
    for (key, rows) in present {
        if rows.len() > 1 {
            result.doubled.extend(rows.iter().skip(1).map(|row| (*row).clone()));
        }
        if !known.contains(&key) {
            result.unexpected.push(rows[0].clone());
        }
    }
    result
}

/// A time in which nothing was acknowledged at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// The last acknowledgement before, in milliseconds since 1970.
    pub from_ms: i64,
    /// The first after it.
    pub to_ms: i64,
    /// Who gave the last.
    pub from: SocketAddr,
    /// Who gave the first.
    pub to: SocketAddr,
}

/// The times longer than `longer_than_ms` between two acknowledgements of a place, in order. A time that still
/// lasts at the end of the record is not among them: nobody knows its length.
pub fn outages(entries: &[Entry], place: &str, longer_than_ms: i64) -> Vec<Outage> {
    let acknowledged = |entry: &&Entry| entry.place == place && entry.outcome == Outcome::Acknowledged;
    let mut times: Vec<&Entry> = entries.iter().filter(acknowledged).collect();
    times.sort_by_key(|entry| entry.at_ms);
    let pairs = times.windows(2).filter(|pair| pair[1].at_ms - pair[0].at_ms > longer_than_ms);
    pairs
        .map(|pair| Outage { from_ms: pair[0].at_ms, to_ms: pair[1].at_ms, from: pair[0].server, to: pair[1].server })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: i64, outcome: Outcome) -> Entry {
        let session = number % 2 == 0;
        Entry {
            place: "sp/fdb".into(),
            writer: "w".into(),
            number,
            table: if session { Table::LedgerSession } else { Table::LedgerEntry },
            id: session.then_some(number * 10),
            payload: format!("payload {number}"),
            server: "127.0.11.1:5432".parse().unwrap(),
            at_ms: number * 100,
            outcome,
        }
    }

    fn row(entry: &Entry) -> Row {
        let Entry { table, writer, number, payload, id, .. } = entry.clone();
        Row { table, writer, number, payload, id }
    }

    #[test]
    fn a_server_that_holds_everything_is_exact() {
        let entries: Vec<Entry> = (1..=4).map(|number| entry(number, Outcome::Acknowledged)).collect();
        let rows: Vec<Row> = entries.iter().map(row).collect();
        let result = judge(entries.iter(), &rows);
        assert!(result.is_exact());
        assert_eq!((result.acknowledged, result.reused_ids.len()), (4, 0));
    }

    #[test]
    fn every_way_to_differ_is_told_apart() {
        let entries: Vec<Entry> = (1..=5).map(|number| entry(number, Outcome::Acknowledged)).collect();
        let mut rows: Vec<Row> = entries.iter().map(row).collect();
        rows[0].payload = "changed".into();
        rows.remove(3); // Number 4, with sequence number 40, is lost …
        rows.push(Row { number: 99, id: Some(40), ..row(&entries[1]) }); // … and its sequence number given out again.
        rows.push(row(&entries[4]));
        let result = judge(entries.iter(), &rows);
        assert_eq!(result.altered, [entries[0].clone()]);
        assert_eq!(result.missing, [entries[3].clone()]);
        assert_eq!(result.doubled, [row(&entries[4])]);
        assert_eq!(result.unexpected.iter().map(|row| row.number).collect::<Vec<_>>(), [99]);
        assert_eq!(result.reused_ids, BTreeSet::from([40]));
        assert!(!result.is_exact());
    }

    #[test]
    fn a_commit_without_an_answer_is_right_either_way() {
        let entries = [entry(1, Outcome::Unknown), entry(2, Outcome::Unknown)];
        let result = judge(entries.iter(), &[row(&entries[1])]);
        assert!(result.is_exact());
        assert_eq!((result.acknowledged, result.unknown_present), (0, 1));
    }

    #[test]
    fn an_outage_lies_between_two_acknowledgements() {
        let mut entries: Vec<Entry> = [1, 2, 30, 31].map(|number| entry(number, Outcome::Acknowledged)).into();
        entries.push(entry(10, Outcome::Unknown));
        let found = outages(&entries, "sp/fdb", 500);
        assert_eq!(found.iter().map(|gap| (gap.from_ms, gap.to_ms)).collect::<Vec<_>>(), [(200, 3000)]);
        assert!(outages(&entries, "ta/fdb", 500).is_empty());
    }
}
