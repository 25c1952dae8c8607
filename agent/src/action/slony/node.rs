//! One database of one appliance as a Slony node: how it is reached, by us and by slon.
//!
//! Apart because names from an order become part of statements and of slonik scripts here, and nowhere else: each is checked
//! when the node is made, and what does not fit is refused. A password must never be part of a conninfo, which Slony stores
//! in clear in `sl_path`.

use std::time::Duration;

use baton_model::{action::slony::Server, outcome::Fault};
use zeroize::Zeroizing;

use crate::{
    action::{
        Context,
        sql::{fault, limits},
    },
    host::postgres::{Session, Target},
};

/// Bound on connecting to a server that may be frozen; slonik tries twice.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A checked cluster name; its schema is `_` and the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cluster(String);

impl Cluster {
    pub fn parse(name: &str) -> Result<Self, Fault> {
        let fits = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && name.len() <= 60;
        if fits {
            return Ok(Self(name.to_owned()));
        }
        let message = format!("{name:?} is no name of a Slony cluster: lower-case letters, digits and underscores");
        Err(Fault::new("BTN-0730", message, "Correct the step's cluster."))
    }
    pub fn name(&self) -> &str {
        &self.0
    }
    /// `_slony`; needs no quotes.
    pub fn schema(&self) -> String {
        format!("_{}", self.0)
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// The appliance's name.
    pub name: String,
    pub database: String,
    pub cluster: Cluster,
    pub target: Target,
}

impl Node {
    /// Checks the names and fills in the password.
    pub async fn of(server: &Server, database: &str, cluster: &str, context: &Context) -> Result<Self, Fault> {
        let plain = |what: &str, value: &str| {
            let fits = !value.is_empty()
                && !value.contains(|c: char| c.is_whitespace() || c.is_control() || "'\"\\;=".contains(c));
            let message = format!("the {what} {value:?} cannot be part of a connection");
            if fits { Ok(()) } else { Err(Fault::new("BTN-0730", message, "Correct the group file.")) }
        };
        plain("address", &server.address)?;
        plain("user", &server.user)?;
        plain("database", database)?;
        plain("appliance name", &server.name)?;
        let password = match &server.password {
            Some(password) => Some(Zeroizing::new(context.resolve(password).await?.expose().to_owned())),
            None => None,
        };
        let target = Target {
            host: server.address.clone(),
            port: server.port,
            database: database.to_owned(),
            user: server.user.clone(),
            password,
            verify: None,
            connect_timeout: CONNECT_TIMEOUT,
        };
        Ok(Self { name: server.name.clone(), database: database.to_owned(), cluster: Cluster::parse(cluster)?, target })
    }

    /// Every database of a list on one server.
    pub async fn all(
        server: &Server,
        databases: &[String],
        cluster: &str,
        context: &Context,
    ) -> Result<Vec<Self>, Fault> {
        let mut nodes = Vec::with_capacity(databases.len());
        for database in databases {
            nodes.push(Self::of(server, database, cluster, context).await?);
        }
        if nodes.is_empty() {
            return Err(Fault::new("BTN-0730", "the list of databases is empty", "Correct the step's databases."));
        }
        Ok(nodes)
    }

    /// A session until the task ends.
    pub async fn open(&self, context: &Context) -> Result<Session, Fault> {
        Session::open(&self.target, &limits(context)).await.map_err(|error| fault(&error))
    }

    pub fn schema(&self) -> String {
        self.cluster.schema()
    }

    /// How slonik and the slons reach it.
    pub fn conninfo(&self) -> String {
        let Target { host, port, database, user, connect_timeout, .. } = &self.target;
        format!("host={host} port={port} dbname={database} user={user} connect_timeout={}", connect_timeout.as_secs())
    }

    /// `fdb on A`, for messages.
    pub fn label(&self) -> String {
        format!("{} on {}", self.database, self.name)
    }
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.label())
    }
}
