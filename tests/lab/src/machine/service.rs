//! What a service of a machine is, as data: written by whoever builds the world, read by the process that is the service.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// A service by name, and what its process does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Service {
    /// For `service NAME start`.
    pub name: String,
    pub work: Work,
}

/// What its process does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Work {
    /// Answers its health by HTTP: `GET /` is 200 while every need is met and every part is up, else 503 with why.
    /// `GET /PART` is about one part.
    Application {
        port: u16,
        /// Services within the service (`service PART status` tells of them): each comes up when all needs are met, after the one
        /// before, and stays up until the whole stops.
        parts: Vec<String>,
        needs: Vec<Need>,
        /// How long each part takes to come up, or the service itself where it has none.
        warm_up_ms: u64,
    },
    /// An instance of a simulated SQL Server world; it runs when it listens.
    SqlServer { world: PathBuf, instance: String },
    /// A component of Genesys Framework.
    Genesys(crate::genesys::Component),
    /// A component of Teradata Data Mover.
    DataMover(crate::data_mover::Component),
}

/// What a service cannot work without.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Need {
    /// Somebody listens there.
    Tcp { address: SocketAddr },
    /// One of these SQL Server instances has the database open for writing: the primary, or the only one.
    Writable { any_of: Vec<SocketAddr>, database: String, user: String, password: String },
    /// A page answers 200.
    Http { address: SocketAddr, path: String },
}

impl Service {
    /// An application with a health page and nothing else.
    pub fn application(name: &str, port: u16) -> Self {
        let work = Work::Application { port, parts: Vec::new(), needs: Vec::new(), warm_up_ms: 0 };
        Self { name: name.to_owned(), work }
    }

    /// One more thing that an application needs.
    #[must_use]
    pub fn needs(mut self, need: Need) -> Self {
        if let Work::Application { needs, .. } = &mut self.work {
            needs.push(need);
        }
        self
    }

    /// The services within an application.
    #[must_use]
    pub fn with_parts(mut self, names: &[&str], each_ms: u64) -> Self {
        if let Work::Application { parts, warm_up_ms, .. } = &mut self.work {
            *parts = names.iter().map(|name| (*name).to_owned()).collect();
            *warm_up_ms = each_ms;
        }
        self
    }

    /// The names of its parts.
    pub fn parts(&self) -> &[String] {
        match &self.work {
            Work::Application { parts, .. } => parts,
            Work::SqlServer { .. } | Work::Genesys(_) | Work::DataMover(_) => &[],
        }
    }
}
