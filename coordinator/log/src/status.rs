//! What an operator sees of a node: `baton cluster members`.
//!
//! A copy of openraft's metrics in words of our own. It must never be used to decide anything: it is old when it is read.

use std::collections::BTreeMap;

use openraft::{AsyncRuntime, RaftMetrics, ServerState};

use crate::raft::{Node, Types};

/// What a node is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Follows, but has no vote.
    Learner,
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Has stopped, on request or because its storage failed.
    Stopped,
}

/// A member of the cluster as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name and address.
    pub node: Node,
    /// Whether it counts for majorities.
    pub voter: bool,
    /// The last entry the leader knows it to have. Known to the leader alone.
    pub matched: Option<u64>,
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node_id: u64,
    /// What it is at the moment.
    pub role: Role,
    /// Why it stopped.
    pub failure: Option<String>,
    /// Its term.
    pub term: u64,
    /// Who leads.
    pub leader_id: Option<u64>,
    /// The last entry in its log; 0 when there is none.
    pub last_index: u64,
    /// The last entry it knows to be committed.
    pub committed_index: u64,
    /// The last entry its state shows.
    pub applied_index: u64,
    /// The last entry its snapshot covers.
    pub snapshot_index: u64,
    /// The last entry it has thrown away.
    pub purged_index: u64,
    /// Everybody, by id.
    pub members: BTreeMap<u64, Member>,
}

impl Status {
    pub(crate) fn from_metrics<R: AsyncRuntime>(metrics: &RaftMetrics<Types<R>>) -> Self {
        let membership = metrics.membership_config.membership();
        let matched = |id: &u64| {
            if *id == metrics.id {
                return metrics.last_log_index;
            }
            let replication = metrics.replication.as_ref()?;
            replication.get(id)?.as_ref().map(|log_id| log_id.index())
        };
        let voters: Vec<u64> = membership.voter_ids().collect();
        let members = membership.nodes().map(|(id, node)| {
            let matched = if metrics.state == ServerState::Leader { matched(id) } else { None };
            (*id, Member { node: node.clone(), voter: voters.contains(id), matched })
        });
        let failure = metrics.running_state.as_ref().err().map(ToString::to_string);
        let role = match metrics.state {
            _ if failure.is_some() => Role::Stopped,
            ServerState::Learner => Role::Learner,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Leader => Role::Leader,
            ServerState::Shutdown => Role::Stopped,
        };
        Self {
            node_id: metrics.id,
            role,
            failure,
            term: metrics.current_term,
            leader_id: metrics.current_leader,
            last_index: metrics.last_log_index.unwrap_or(0),
            committed_index: metrics.local_committed.map_or(0, |l| l.index()),
            applied_index: metrics.last_applied.map_or(0, |l| l.index()),
            snapshot_index: metrics.snapshot.map_or(0, |l| l.index()),
            purged_index: metrics.purged.map_or(0, |l| l.index()),
            members: members.collect(),
        }
    }
}
