//! What coordinators saw when they tried to connect, and what it proves.
//!
//! Apart because the verdict is arithmetic: it is reached when the entry is applied, on every node alike, and never by whoever asked.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Coordinators in one entry, at most.
pub const SIGHTINGS_MAX: usize = 32;
/// Bytes of one reason.
pub const WHY_BYTES_MAX: usize = 200;

/// Bytes of who saw what, in a run's record; the entry in the log has all.
const TOLD_BYTES_MAX: usize = 4096;

/// What one coordinator saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    pub coordinator: String,
    /// In the order in which they were asked for.
    pub endpoints: Vec<Seen>,
}

/// One endpoint, tried once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub endpoint: String,
    pub connection: Connection,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "connection")]
pub enum Connection {
    /// Something listens there.
    Made,
    /// Refused, or nobody answered in time.
    NotMade { why: String },
    /// The coordinator's own trouble: a name that it cannot resolve. It proves nothing.
    CannotTell { why: String },
}

/// `Ok`: enough coordinators looked, and none could connect to anything. Otherwise why that is not proven. With who saw what.
pub fn unreachable(
    endpoints: &[String],
    sightings: &[Sighting],
    from: u32,
    coordinators: u32,
) -> Result<String, String> {
    let told = || cut(sightings.iter().map(words).collect::<Vec<_>>().join("; "));
    if from > coordinators {
        return Err(format!(
            "it takes the word of {from} coordinators, and the cluster has {coordinators}; write a smaller from"
        ));
    }
    let connected: Vec<String> = sightings.iter().filter_map(connects).collect();
    if !connected.is_empty() {
        return Err(format!("it is not unreachable: {}. Seen: {}", connected.join("; "), told()));
    }
    // One that is named twice is one voice.
    let looked: BTreeSet<&str> = sightings
        .iter()
        .filter(|sighting| saw_all(sighting, endpoints))
        .map(|sighting| sighting.coordinator.as_str())
        .collect();
    let looked = looked.len();
    if looked < from as usize {
        let seen = if sightings.is_empty() { "nobody answered".to_owned() } else { told() };
        return Err(format!(
            "the word of {from} coordinators is wanted, and {looked} of {coordinators} could tell. Seen: {seen}"
        ));
    }
    Ok(format!("{looked} of {coordinators} coordinators could connect to nothing. Seen: {}", told()))
}

/// As much as the record takes.
fn cut(mut told: String) -> String {
    if told.len() > TOLD_BYTES_MAX {
        let end = (0..=TOLD_BYTES_MAX).rev().find(|at| told.is_char_boundary(*at)).unwrap_or(0);
        told.truncate(end);
        told.push('…');
    }
    told
}

/// It tried every endpoint, and knows that it could not connect.
fn saw_all(sighting: &Sighting, endpoints: &[String]) -> bool {
    let failed = |wanted: &String| {
        let seen = sighting.endpoints.iter().find(|seen| seen.endpoint == *wanted);
        seen.is_some_and(|seen| matches!(seen.connection, Connection::NotMade { .. }))
    };
    endpoints.iter().all(failed)
}

fn connects(sighting: &Sighting) -> Option<String> {
    let made = sighting.endpoints.iter().filter(|seen| seen.connection == Connection::Made);
    let made: Vec<&str> = made.map(|seen| seen.endpoint.as_str()).collect();
    (!made.is_empty()).then(|| format!("{} connects to {}", sighting.coordinator, made.join(", ")))
}

/// `c1: chat1:5041 connected, chat2:5041 not (refused)`.
fn words(sighting: &Sighting) -> String {
    let one = |seen: &Seen| match &seen.connection {
        Connection::Made => format!("{} connected", seen.endpoint),
        Connection::NotMade { why } => format!("{} not ({why})", seen.endpoint),
        Connection::CannotTell { why } => format!("{} cannot tell ({why})", seen.endpoint),
    };
    format!("{}: {}", sighting.coordinator, sighting.endpoints.iter().map(one).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(coordinator: &str, seen: &[(&str, char)]) -> Sighting {
        let connection = |word: char| match word {
            '+' => Connection::Made,
            '-' => Connection::NotMade { why: "refused".to_owned() },
            _ => Connection::CannotTell { why: "no such name".to_owned() },
        };
        let seen = seen
            .iter()
            .map(|(endpoint, word)| Seen { endpoint: (*endpoint).to_owned(), connection: connection(*word) });
        Sighting { coordinator: coordinator.to_owned(), endpoints: seen.collect() }
    }

    fn judge(sightings: &[Sighting], from: u32, coordinators: u32) -> Result<String, String> {
        unreachable(&["a:1".to_owned(), "b:2".to_owned()], sightings, from, coordinators)
    }

    #[test]
    fn none_may_connect_and_enough_must_have_looked() {
        let dead = |name: &str| sighting(name, &[("a:1", '-'), ("b:2", '-')]);
        assert_eq!(
            judge(&[dead("c1"), dead("c3")], 2, 3),
            Ok("2 of 3 coordinators could connect to nothing. Seen: c1: a:1 not (refused), b:2 not (refused); c3: a:1 not (refused), b:2 not (refused)".to_owned())
        );
        // One that connects is enough, however many do not, and also where too few were asked.
        for sightings in [
            vec![dead("c1"), dead("c2"), sighting("c3", &[("a:1", '-'), ("b:2", '+')])],
            vec![sighting("c3", &[("a:1", '?'), ("b:2", '+')])],
        ] {
            let why = judge(&sightings, 2, 3).expect_err("it lives");
            assert!(why.starts_with("it is not unreachable: c3 connects to b:2. Seen: "), "{why}");
        }
        // A broken resolver, an endpoint left out, no answer: nothing that proves anything.
        for sightings in [
            vec![dead("c1")],
            vec![dead("c1"), dead("c1")],
            vec![dead("c1"), sighting("c2", &[("a:1", '-'), ("b:2", '?')])],
            vec![dead("c1"), sighting("c2", &[("a:1", '-')])],
        ] {
            let why = judge(&sightings, 2, 3).expect_err("one voice is too few");
            assert!(
                why.starts_with("the word of 2 coordinators is wanted, and 1 of 3 could tell. Seen: c1: a:1 not"),
                "{why}"
            );
        }
        assert_eq!(
            judge(&[], 1, 3),
            Err("the word of 1 coordinators is wanted, and 0 of 3 could tell. Seen: nobody answered".to_owned())
        );
        assert_eq!(
            judge(&[dead("c1")], 2, 1),
            Err("it takes the word of 2 coordinators, and the cluster has 1; write a smaller from".to_owned())
        );
        assert!(judge(&[dead("c1")], 1, 1).is_ok());
        let many: Vec<Sighting> = (0..300).map(|n| dead(&format!("c{n}"))).collect();
        assert!(judge(&many, 2, 300).expect("dead").len() < TOLD_BYTES_MAX + 100);
    }
}
