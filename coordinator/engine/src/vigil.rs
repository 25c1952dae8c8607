//! Whether the primary has failed: what the coordinators say of its components, and for how long.
//!
//! Apart because it is arithmetic over what others saw. One coordinator's broken uplink never decides anything: each failure
//! needs the word of a majority, and a coordinator that did not answer says nothing. It must never read a clock: moments come in.

use std::collections::{BTreeMap, BTreeSet};

use baton_model::{
    assignment::{Health, Seen},
    group::Condition,
    ids::{ComponentName, GroupName, HostName},
    time::{Moment, Span},
};

/// What one coordinator knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Voice {
    pub coordinator: String,
    /// It has been up for long enough that a host which is not on the line counts as out of reach.
    pub settled: bool,
    /// Hosts that it has on the line.
    pub reached: BTreeSet<HostName>,
    /// What their agents last said.
    pub seen: BTreeMap<HostName, Vec<Seen>>,
}

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub group: &'a GroupName,
    pub condition: &'a Condition,
    /// Where each component is, of the primary.
    pub hosts: &'a BTreeMap<ComponentName, Vec<HostName>>,
    /// Votes in the cluster.
    pub coordinators: usize,
}

/// What a component's failure on a host looks like to one coordinator.
fn failure(voice: &Voice, group: &GroupName, component: &ComponentName, host: &HostName) -> Option<String> {
    if !voice.reached.contains(host) {
        return voice.settled.then(|| "out of reach".to_owned());
    }
    let seen = voice.seen.get(host)?.iter().find(|seen| seen.group == *group && seen.component == *component)?;
    (seen.health == Health::Failed).then(|| seen.what.clone())
}

/// A majority says so; then what it saw, and who.
fn failed(question: &Question<'_>, voices: &[Voice], component: &ComponentName, host: &HostName) -> Option<String> {
    // One that is named twice is one voice.
    let mut told: BTreeMap<&str, String> = BTreeMap::new();
    for voice in voices {
        if let Some(what) = failure(voice, question.group, component, host) {
            told.insert(&voice.coordinator, what);
        }
    }
    if told.len() <= question.coordinators / 2 {
        return None;
    }
    let what: BTreeSet<&String> = told.values().collect();
    let what: Vec<&str> = what.into_iter().map(String::as_str).collect();
    Some(format!(
        "{component} on {host}: {} (say {} of {} coordinators)",
        what.join("; "),
        told.len(),
        question.coordinators
    ))
}

/// Whether the condition holds now. `Some`: what has failed, in words.
pub fn judge(question: &Question<'_>, voices: &[Voice]) -> Option<String> {
    let hosts = |component: &ComponentName| question.hosts.get(component).map_or(&[][..], Vec::as_slice);
    let found = |component: &ComponentName| -> Vec<Option<String>> {
        hosts(component).iter().map(|host| failed(question, voices, component, host)).collect()
    };
    let somewhere = |component: &ComponentName| found(component).iter().any(Option::is_some);
    // Of nothing nobody can say that all of it has failed.
    let everywhere = |component: &ComponentName| {
        let found = found(component);
        !found.is_empty() && found.iter().all(Option::is_some)
    };
    if !question.condition.holds(somewhere, everywhere) {
        return None;
    }
    let mut told: Vec<String> = Vec::new();
    for component in question.condition.components() {
        for what in found(component).into_iter().flatten() {
            if !told.contains(&what) {
                told.push(what);
            }
        }
    }
    Some(told.join("; "))
}

/// How long a condition has held without a break, as one leader has seen it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vigil {
    /// What is looked at: a fault of an earlier primary says nothing of this one.
    epoch: u64,
    since: Option<Moment>,
    /// Failures before this do not count.
    calm_until: Moment,
}

/// What follows from a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// All is well, or it is too early to say.
    Quiet,
    /// It holds, since then; not long enough yet.
    Holds { since: Moment, what: String },
    /// It has held long enough.
    Due { since: Moment, what: String },
}

impl Vigil {
    /// Begins with a grace: services take a while, and a new leader has heard nothing yet.
    pub fn begin(epoch: u64, now: Moment, grace: Span) -> Self {
        Self { epoch, since: None, calm_until: now.plus(grace) }
    }

    /// One look. `busy`: a run is open, or the group is left alone for another reason. Moments are of a clock that does not jump.
    pub fn look(
        &mut self,
        epoch: u64,
        now: Moment,
        verdict: Option<String>,
        busy: bool,
        holds_for: Span,
        grace: Span,
    ) -> Finding {
        if busy || epoch != self.epoch {
            *self = Self::begin(epoch, now, grace);
            return Finding::Quiet;
        }
        let Some(what) = verdict else {
            self.since = None;
            return Finding::Quiet;
        };
        if now < self.calm_until {
            return Finding::Quiet;
        }
        let since = *self.since.get_or_insert(now);
        if now.since(since) >= holds_for { Finding::Due { since, what } } else { Finding::Holds { since, what } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("a name")
    }

    /// `+` healthy, `-` failed, `?` unknown, ` ` no session with the host.
    fn voice(coordinator: &str, words: &[(&str, &str, char)]) -> Voice {
        let mut voice = Voice { coordinator: coordinator.to_owned(), settled: true, ..Voice::default() };
        for (component, host, word) in words {
            if *word == ' ' {
                continue;
            }
            voice.reached.insert(name(host));
            let health = match word {
                '+' => Health::Healthy,
                '-' => Health::Failed,
                _ => Health::Unknown,
            };
            voice.seen.entry(name(host)).or_default().push(Seen {
                group: name("dm"),
                component: name(component),
                health,
                since: Moment(0),
                at: Moment(0),
                what: "it is dead".to_owned(),
            });
        }
        voice
    }

    fn look(voices: &[Voice], coordinators: usize) -> Option<String> {
        let condition = Condition { any: vec![name("daemon")], all: vec![name("agent")] };
        let hosts = BTreeMap::from([
            (name("daemon"), vec![name("dm1")]),
            (name("agent"), vec![name("a1"), name("a2"), name("a3")]),
        ]);
        judge(&Question { group: &name("dm"), condition: &condition, hosts: &hosts, coordinators }, voices)
    }

    fn all(coordinator: &str, daemon: char, agents: &str) -> Voice {
        let agents: Vec<char> = agents.chars().collect();
        voice(
            coordinator,
            &[
                ("daemon", "dm1", daemon),
                ("agent", "a1", agents[0]),
                ("agent", "a2", agents[1]),
                ("agent", "a3", agents[2]),
            ],
        )
    }

    #[test]
    fn a_failure_needs_most_coordinators_and_all_means_every_host() {
        let said = |daemon: char, agents: &str| ["c1", "c2", "c3"].map(|name| all(name, daemon, agents));
        assert_eq!(look(&said('+', "+++"), 3), None);
        let told = look(&said('-', "+++"), 3).expect("the daemon is dead");
        assert_eq!(told, "daemon on dm1: it is dead (say 3 of 3 coordinators)");
        assert_eq!(look(&said('?', "+++"), 3), None, "unknown is not failed");
        assert_eq!(look(&said('+', "-++"), 3), None, "one agent of three");
        assert_eq!(look(&said('+', "--+"), 3), None, "two agents of three");
        assert!(look(&said('+', "---"), 3).is_some(), "all agents");
        assert!(look(&said(' ', "+++"), 3).expect("gone").contains("out of reach"));
        assert!(look(&said('+', "-- "), 3).is_some(), "an agent whose host is gone is no agent");
    }

    #[test]
    fn one_voice_decides_nothing() {
        assert_eq!(look(&[all("c1", ' ', "   "), all("c2", '+', "+++"), all("c3", '+', "+++")], 3), None);
        assert_eq!(look(&[all("c1", ' ', "   ")], 3), None, "the others do not answer");
        assert_eq!(look(&[all("c1", '-', "+++"), all("c1", '-', "+++")], 3), None, "one that speaks twice");
        let young = |name: &str| Voice { settled: false, ..all(name, ' ', "   ") };
        assert_eq!(look(&[young("c1"), young("c2"), young("c3")], 3), None, "all have just been started");
        assert!(look(&[all("c1", ' ', "+++"), all("c2", '-', "+++"), all("c3", '+', "+++")], 3).is_some());
        assert!(look(&[all("c1", '-', "+++")], 1).is_some());
        assert_eq!(look(&[all("c1", '-', "+++"), all("c2", '-', "+++")], 4), None, "half is no majority");
    }

    #[test]
    fn it_must_hold_without_a_break_and_not_in_the_grace() {
        let (holds_for, grace) = (Span::from_secs(10), Span::from_secs(30));
        let at = |seconds: u64| Moment(seconds * 1000);
        let bad = || Some("dead".to_owned());
        let mut vigil = Vigil::begin(1, at(0), grace);
        let mut see = |seconds, verdict, busy, epoch| vigil.look(epoch, at(seconds), verdict, busy, holds_for, grace);
        assert_eq!(see(10, bad(), false, 1), Finding::Quiet, "in the grace");
        assert_eq!(see(31, bad(), false, 1), Finding::Holds { since: at(31), what: "dead".into() });
        assert_eq!(see(35, None, false, 1), Finding::Quiet);
        assert!(matches!(see(40, bad(), false, 1), Finding::Holds { .. }), "a break begins anew");
        assert_eq!(see(50, bad(), false, 1), Finding::Due { since: at(40), what: "dead".into() });
        assert_eq!(see(60, bad(), true, 1), Finding::Quiet, "a run is open");
        assert_eq!(see(80, bad(), false, 1), Finding::Quiet, "and its grace follows");
        assert!(matches!(see(91, bad(), false, 1), Finding::Holds { .. }));
        assert_eq!(see(92, bad(), false, 2), Finding::Quiet, "another primary");
    }
}
