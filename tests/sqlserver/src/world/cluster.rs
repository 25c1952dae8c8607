//! The Windows cluster under WSFC groups: members, votes, quorum as each node sees it.
//!
//! Apart because a node may be up while SQL Server on it is dead, and the other way round for the vote.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    pub name: String,
    pub members: Vec<ClusterMember>,
    /// Started with /forcequorum.
    pub forced: bool,
    /// A fault: nobody has quorum, whatever the votes say.
    pub lost: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterMember {
    pub name: String,
    /// A node carries instances by its name or by `node` of the instance.
    pub witness: bool,
    pub up: bool,
    pub votes: u8,
}

impl Cluster {
    pub fn of_nodes<'a>(name: &str, nodes: impl Iterator<Item = &'a str>) -> Cluster {
        let mut members: Vec<ClusterMember> =
            nodes.map(|name| ClusterMember { name: name.to_owned(), witness: false, up: true, votes: 1 }).collect();
        if members.len().is_multiple_of(2) {
            members.push(ClusterMember { name: "File Share Witness".into(), witness: true, up: true, votes: 1 });
        }
        Cluster { name: name.to_owned(), members, forced: false, lost: false }
    }

    /// Whether `node` has quorum when it can reach the nodes that `reaches` says.
    pub fn quorum(&self, node: &str, reaches: impl Fn(&str) -> bool) -> bool {
        if self.lost || !self.members.iter().any(|member| member.name == node && member.up) {
            return false;
        }
        if self.forced {
            return true;
        }
        let total: u32 = self.members.iter().map(|member| u32::from(member.votes)).sum();
        let seen: u32 = self
            .members
            .iter()
            .filter(|member| member.up && (member.name == node || member.witness || reaches(&member.name)))
            .map(|member| u32::from(member.votes))
            .sum();
        seen * 2 > total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_get_a_witness_and_quorum_needs_more_than_half() {
        let mut cluster = Cluster::of_nodes("c", ["A", "B"].into_iter());
        assert!(cluster.quorum("A", |_| false));
        cluster.members[2].up = false;
        assert!(!cluster.quorum("A", |_| false));
        assert!(cluster.quorum("A", |_| true));
        cluster.members[1].up = false;
        assert!(!cluster.quorum("A", |_| true));
        cluster.forced = true;
        assert!(cluster.quorum("A", |_| false));
        assert!(!cluster.quorum("B", |_| false));
        cluster.lost = true;
        assert!(!cluster.quorum("A", |_| true));
    }
}
