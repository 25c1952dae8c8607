//! Which hosts the coordinators reach. One coordinator's broken uplink never decides anything: a verdict needs a majority.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use baton_engine::{sighting::Sighting, vigil::Voice};
use baton_log::Log;
use baton_model::{
    assignment::Seen,
    ids::HostName,
    time::{Moment, Span},
};
use baton_platform::{address::Address, clock::Clock, tls::Connector};
use baton_proto::v1::{ReachedRequest, TryConnectionsRequest, coordinators_client::CoordinatorsClient};
use baton_wire::assignment;
use futures::future::join_all;
use tonic::transport::Channel;

use crate::{
    api::sighting,
    probes::{PATIENCE_MAX, Probes},
    replica::Replica,
    sessions::Sessions,
};

/// How long another coordinator may take to say whom it reaches.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks every coordinator whom it has on the line. A cheap handle.
#[derive(Clone)]
pub struct Reachability {
    log: Log<Replica>,
    sessions: Sessions,
    itself: String,
    clock: Arc<dyn Clock>,
    probes: Probes,
    peers: BTreeMap<String, Channel>,
}

/// Who said what, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Coordinator → the hosts it has a session with. Those that did not answer are not here.
    pub answers: BTreeMap<String, BTreeSet<HostName>>,
    /// Coordinator → what its clock shows. Those that did not answer are not here.
    pub clocks: BTreeMap<String, Moment>,
    /// Coordinator → what agents told it of their components.
    pub seen: BTreeMap<String, BTreeMap<HostName, Vec<Seen>>>,
    /// Those that have been up for long enough that a host which is not on their line is out of their reach.
    pub settled: BTreeSet<String>,
    /// Votes in the cluster.
    pub coordinators: usize,
}

impl Survey {
    pub fn reached_by(&self, host: &HostName) -> Vec<String> {
        self.answers.iter().filter(|(_, hosts)| hosts.contains(host)).map(|(name, _)| name.clone()).collect()
    }

    pub fn not_reached_by(&self, host: &HostName) -> Vec<String> {
        self.answers.iter().filter(|(_, hosts)| !hosts.contains(host)).map(|(name, _)| name.clone()).collect()
    }

    /// What each coordinator that answered knows.
    pub fn voices(&self) -> Vec<Voice> {
        let voice = |(name, reached): (&String, &BTreeSet<HostName>)| Voice {
            coordinator: name.clone(),
            settled: self.settled.contains(name),
            reached: reached.clone(),
            seen: self.seen.get(name).cloned().unwrap_or_default(),
        };
        self.answers.iter().map(voice).collect()
    }

    /// A majority of all coordinators answered and has no session with the host; then who they are.
    pub fn unreachable(&self, host: &HostName) -> Option<Vec<String>> {
        let without = self.not_reached_by(host);
        (without.len() > self.coordinators / 2).then_some(without)
    }
}

impl Reachability {
    pub fn new(
        log: Log<Replica>,
        sessions: Sessions,
        itself: String,
        clock: Arc<dyn Clock>,
        probes: Probes,
        peers: &BTreeMap<String, Address>,
        connector: &Connector,
    ) -> Self {
        let peers = peers
            .iter()
            .filter(|(name, _)| **name != itself)
            .map(|(name, address)| (name.clone(), connector.channel(address)))
            .collect();
        Self { log, sessions, itself, clock, probes, peers }
    }

    /// Has every coordinator try to connect, this one too. Those that did not answer are not in the answer.
    pub async fn sightings(&self, endpoints: &[String], timeout: Span) -> (Vec<Sighting>, usize) {
        let turns = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
        // Not all are tried at once; and what takes longest is that nobody answers.
        let patience = PATIENCE + timeout.to_std().min(PATIENCE_MAX) * turns.div_ceil(8).max(1);
        let asked = self.peers.iter().map(|(name, channel)| async move {
            let mut client = CoordinatorsClient::new(channel.clone());
            let message = TryConnectionsRequest { endpoints: endpoints.to_vec(), timeout_ms: timeout.as_millis() };
            let mut request = tonic::Request::new(message);
            request.set_timeout(patience);
            match tokio::time::timeout(patience, client.try_connections(request)).await {
                Ok(Ok(reply)) => {
                    let seen = reply.into_inner().tried.into_iter().take(endpoints.len()).map(sighting::from_wire);
                    Some(Sighting { coordinator: name.clone(), endpoints: seen.collect() })
                }
                Ok(Err(status)) => {
                    tracing::debug!(coordinator = name, %status, "did not say what it can connect to");
                    None
                }
                Err(_) => None,
            }
        });
        let own = self.probes.try_all(endpoints.to_vec(), timeout);
        let (own, others) = futures::join!(own, join_all(asked));
        let own = Sighting { coordinator: self.itself.clone(), endpoints: own };
        let mut sightings: Vec<Sighting> = others.into_iter().flatten().chain([own]).collect();
        sightings.sort_by(|a, b| a.coordinator.cmp(&b.coordinator));
        (sightings, self.voters())
    }

    /// Votes in the cluster.
    pub fn voters(&self) -> usize {
        self.log.status().members.values().filter(|member| member.voter).count()
    }

    pub async fn survey(&self) -> Survey {
        let asked = self.peers.iter().map(|(name, channel)| async move {
            let mut client = CoordinatorsClient::new(channel.clone());
            let mut request = tonic::Request::new(ReachedRequest {});
            request.set_timeout(PATIENCE);
            match tokio::time::timeout(PATIENCE, client.reached(request)).await {
                Ok(Ok(reply)) => {
                    let reply = reply.into_inner();
                    let hosts = reply.hosts.into_iter().filter_map(|host| HostName::new(host).ok()).collect();
                    let seen = reply.seen.into_iter().filter_map(|(host, seen)| {
                        Some((HostName::new(host).ok()?, assignment::parse_seen("ReachedReply", &seen).ok()?))
                    });
                    Some((name.clone(), hosts, Moment(reply.now_unix_ms), seen.collect(), reply.settled))
                }
                Ok(Err(status)) => {
                    tracing::debug!(coordinator = name, %status, "did not say whom it reaches");
                    None
                }
                Err(_) => None,
            }
        });
        let mut answers: BTreeMap<String, BTreeSet<HostName>> = BTreeMap::new();
        let mut clocks = BTreeMap::new();
        let mut seen: BTreeMap<String, BTreeMap<HostName, Vec<Seen>>> = BTreeMap::new();
        let mut settled: BTreeSet<String> = BTreeSet::new();
        for (name, hosts, now, told, is_settled) in join_all(asked).await.into_iter().flatten() {
            clocks.insert(name.clone(), now);
            seen.insert(name.clone(), told);
            if is_settled {
                settled.insert(name.clone());
            }
            answers.insert(name, hosts);
        }
        clocks.insert(self.itself.clone(), Moment(self.clock.now_unix_ms()));
        answers.insert(self.itself.clone(), self.sessions.hosts().into_iter().collect());
        seen.insert(self.itself.clone(), self.sessions.seen());
        if self.sessions.is_settled() {
            settled.insert(self.itself.clone());
        }
        Survey { answers, clocks, seen, settled, coordinators: self.voters() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(answers: &[(&str, &[&str])], coordinators: usize) -> Survey {
        let host = |name: &&str| HostName::new(*name).expect("a host's name");
        let answers =
            answers.iter().map(|(name, hosts)| ((*name).to_owned(), hosts.iter().map(host).collect())).collect();
        Survey { answers, coordinators, ..Survey::default() }
    }

    #[test]
    fn one_coordinators_broken_uplink_is_no_verdict() {
        let host = HostName::new("db1").expect("a host's name");
        assert_eq!(survey(&[("c1", &[]), ("c2", &["db1"]), ("c3", &["db1"])], 3).unreachable(&host), None);
        // The others do not answer: one voice of three is no majority.
        assert_eq!(survey(&[("c1", &[])], 3).unreachable(&host), None);
        let agreed = survey(&[("c1", &[]), ("c2", &[]), ("c3", &["db1"])], 3).unreachable(&host);
        assert_eq!(agreed, Some(vec!["c1".to_owned(), "c2".to_owned()]));
    }
}
