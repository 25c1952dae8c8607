//! The two sites, and what is where: names, ports, services.
//!
//! Apart because the world, the files that Baton is given and the story must mean the same machines.

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    One,
    Two,
}

/// The availability group.
pub const GROUP: &str = "Framework";
/// The Configuration database, and the Log databases of both sites.
pub const DATABASES: [&str; 3] = ["config", "logs1", "logs2"];
/// Created at Node 1 later, for `add-database`.
pub const LATER: &str = "reports";

pub const CONFIG_PORT: u16 = 8888;
pub const PROXY_PORT: u16 = 8889;
pub const SCS_PORT: u16 = 7500;
pub const SITE_SCS_PORT: u16 = 7510;
pub const MESSAGE_PORT: u16 = 7120;
pub const COMPONENTS: [(&str, u16); 2] = [("tserver", 5100), ("statserver", 5101)];

pub const CONFIG: &str = "confserv";
pub const CONFIG_BACKUP: &str = "confserv-backup";
pub const SCS: &str = "scs-master";
pub const MESSAGE: &str = "message-server";
pub const SITE_SCS: &str = "scs";
pub const PROXY: &str = "confserv-proxy";

impl Site {
    pub const BOTH: [Site; 2] = [Site::One, Site::Two];

    pub fn other(self) -> Site {
        if self == Site::One { Site::Two } else { Site::One }
    }

    pub fn number(self) -> u8 {
        if self == Site::One { 1 } else { 2 }
    }

    /// As the group calls the member.
    pub fn name(self) -> String {
        format!("site{}", self.number())
    }

    /// The instance, as SQL Server calls itself.
    pub fn instance(self) -> String {
        format!("NODE{}", self.number())
    }

    pub fn node(self) -> String {
        format!("node{}", self.number())
    }

    /// Configuration Server, Master Solution Control Server, Message Server.
    pub fn conf(self) -> String {
        format!("conf{}", self.number())
    }

    /// The backups of the pairs.
    pub fn backup(self) -> String {
        format!("conf{}b", self.number())
    }

    /// Solution Control Server, proxy, components.
    pub fn apps(self) -> String {
        format!("apps{}", self.number())
    }

    pub fn machines(self) -> [String; 4] {
        [self.node(), self.conf(), self.backup(), self.apps()]
    }

    /// Number in the world's range of addresses.
    pub(super) fn host(self, machine: u8) -> u8 {
        self.number() * 10 + machine
    }
}
