//! Who reaches whom: links, living processes, quorum.
//!
//! Apart because every rule asks it and none may answer it for itself.

use super::{Alive, Life, Path, World};

impl World {
    pub fn is_cut(&self, one: &str, other: &str) -> bool {
        self.cut.contains(&ordered(one, other))
    }

    pub fn cut_link(&mut self, one: &str, other: &str) {
        self.cut.insert(ordered(one, other));
    }

    pub fn mend_link(&mut self, one: &str, other: &str) {
        self.cut.remove(&ordered(one, other));
    }

    pub fn path(&self, alive: &Alive, one: &str, other: &str) -> Path {
        let life = |name: &str| alive.get(name).copied().unwrap_or(Life::Dead);
        match (life(one), life(other)) {
            _ if self.is_cut(one, other) => Path::Silent,
            (Life::Dead, _) | (_, Life::Dead) => Path::Closed,
            (Life::Running, Life::Running) => Path::Open,
            _ => Path::Silent,
        }
    }

    pub fn runs(&self, alive: &Alive, instance: &str) -> bool {
        alive.get(instance) == Some(&Life::Running)
    }

    /// Whether the node of an instance belongs to a cluster with quorum.
    pub fn quorate(&self, instance: &str) -> bool {
        let Some(cluster) = &self.cluster else { return false };
        let Some(server) = self.servers.get(instance) else { return false };
        cluster.quorum(&server.node, |node| {
            self.servers.values().filter(|other| other.node == node).all(|other| !self.is_cut(instance, &other.name))
        })
    }

    /// The server's node is up in the cluster (its process may not be).
    pub fn node_up(&self, instance: &str) -> bool {
        let node = self.servers.get(instance).map(|server| server.node.as_str());
        self.cluster
            .as_ref()
            .is_none_or(|cluster| cluster.members.iter().any(|member| Some(member.name.as_str()) == node && member.up))
    }
}

fn ordered(one: &str, other: &str) -> (String, String) {
    if one <= other { (one.to_owned(), other.to_owned()) } else { (other.to_owned(), one.to_owned()) }
}
