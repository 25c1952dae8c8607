//! Who leads, as this node sees it, and whether this node may act as leader.
//!
//! Apart because everything that only a leader does (dispatching, clocks, health) starts and stops on it. It must never
//! say `ready` before the first entry of the leader's own term is applied: until then the state may lack what
//! earlier leaders committed.

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{AsyncRuntime, Raft, ServerState};
use tokio::sync::watch;

use crate::application::Application;
use crate::machine::Machine;
use crate::raft::{Node, Types};

/// Who leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The term this node is in. Two leaderships of one node never share a term, not even across a restart.
    pub term: u64,
    /// The leader's id; `None` during an election, and when this node has stopped.
    pub leader_id: Option<u64>,
    /// The leader.
    pub leader: Option<Node>,
    /// Whether it is this node.
    pub is_self: bool,
    /// Whether this node leads and its state shows everything committed before it did.
    pub ready: bool,
}

/// Keeps `sender` current until the node stops.
pub(crate) async fn watch<A: Application, R: AsyncRuntime>(
    raft: Raft<Types<R>, Machine<A>>,
    mut applied_term: watch::Receiver<u64>,
    sender: watch::Sender<Leadership>,
) {
    let mut metrics = raft.server_metrics();
    drop(raft);
    loop {
        let leadership = {
            // The borrow blocks openraft's core: copy and let go.
            let seen = metrics.borrow_and_update().clone();
            let term = seen.vote.leader_id.term;
            let is_self = seen.state == ServerState::Leader;
            let leader = seen.current_leader.and_then(|id| seen.membership_config.get_node(&id).cloned());
            let ready = is_self && *applied_term.borrow_and_update() == term;
            Leadership { term, leader_id: seen.current_leader, leader, is_self, ready }
        };
        sender.send_if_modified(|current| {
            let modified = *current != leadership;
            if modified {
                tracing::info!(
                    term = leadership.term,
                    leader = leadership.leader.as_ref().map(|n| n.name.as_str()),
                    ready = leadership.ready,
                    "leadership"
                );
                *current = leadership;
            }
            modified
        });
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { break },
            changed = applied_term.changed() => if changed.is_err() { break },
        }
    }
    // openraft has stopped, on request or because its storage failed: nobody may go on acting as leader.
    sender.send_modify(|current| *current = Leadership { term: current.term, ..Leadership::default() });
}
