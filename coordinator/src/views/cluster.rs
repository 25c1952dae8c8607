//! The coordinators as they are shown.

use baton_log::Log;
use baton_model::view::{ClusterView, CoordinatorView};

use crate::replica::Replica;

pub fn view(log: &Log<Replica>) -> ClusterView {
    let status = log.status();
    let leader = status.leader_id.and_then(|id| status.members.get(&id));
    ClusterView {
        leader: leader.map(|member| member.node.name.clone()),
        term: status.term,
        generation: log.with(|replica| replica.state.generation),
        applied: status.applied_index,
        members: status
            .members
            .iter()
            .map(|(id, member)| CoordinatorView {
                name: member.node.name.clone(),
                address: member.node.address.clone(),
                leader: status.leader_id == Some(*id),
                matched: member.matched,
            })
            .collect(),
    }
}
