//! The two sides, and what is where: names, ports, services.
//!
//! Apart because the world, the files that Baton is given and the story must mean the same machines.

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Primary,
    Secondary,
}

pub const DAEMON: &str = "dmdaemon";
pub const REST: &str = "dmrest";
pub const AGENT: &str = "dmagent";
pub const BROKER: &str = "activemq";
pub const DSA: &str = "dsc";
pub const SYNC: &str = "dmsync";
/// What runs on a server besides its repository, in the order in which it is started.
pub const ON_SERVER: [&str; 5] = [BROKER, DSA, DAEMON, REST, SYNC];

pub const DAEMON_PORT: u16 = 25168;
pub const REST_PORT: u16 = 1080;
pub const AGENT_PORT: u16 = 25268;
pub const BROKER_PORT: u16 = 61616;
pub const DSA_PORT: u16 = 25368;
/// Nobody connects to it; only one process can have it.
pub const SYNC_PORT: u16 = 25468;

/// The daemon's own settings, inside its machine.
pub const PROPERTIES: &str = "/etc/opt/teradata/datamover/daemon.properties";
/// Where switchback keeps its copies of repositories, inside the machine.
pub const COPIES: &str = "/var/copies";

impl Side {
    pub const BOTH: [Self; 2] = [Self::Primary, Self::Secondary];

    pub fn other(self) -> Self {
        if self == Self::Primary { Self::Secondary } else { Self::Primary }
    }

    /// As the group calls the member.
    pub fn name(self) -> &'static str {
        if self == Self::Primary { "primary" } else { "secondary" }
    }

    /// The machine with everything but the agents.
    pub fn server(self) -> &'static str {
        if self == Self::Primary { "dm1" } else { "dm2" }
    }

    /// The machines with an agent of Data Mover each.
    pub fn agents(self) -> [&'static str; 3] {
        if self == Self::Primary { ["dma1", "dma2", "dma3"] } else { ["dmb1", "dmb2", "dmb3"] }
    }

    pub fn machines(self) -> [&'static str; 4] {
        let [one, two, three] = self.agents();
        [self.server(), one, two, three]
    }

    /// Number in the world's range of addresses; the server is machine 0. Servers are 1 and 2: their ports are known to be free.
    pub(super) fn host(self, machine: usize) -> u8 {
        let (server, agents) = if self == Self::Primary { (1, 10) } else { (2, 20) };
        if machine == 0 { server } else { agents + machine as u8 }
    }
}

/// Every machine and service of Data Mover's own (not the repositories), by machine.
pub fn services() -> Vec<(&'static str, &'static str)> {
    let of = |side: Side| {
        let server = ON_SERVER.map(|service| (side.server(), service));
        server.into_iter().chain(side.agents().map(|machine| (machine, AGENT)))
    };
    Side::BOTH.into_iter().flat_map(of).collect()
}
