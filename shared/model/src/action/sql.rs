//! SQL with bound parameters. A connection is defined once, in the group file, and named in the runbook.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{text::Text, time::Span};

/// Where a database is and who asks. In a runbook a connection is named; the planner puts the definition here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    #[serde(default)]
    pub kind: Kind,
    pub host: String,
    #[serde(default = "postgres_port")]
    pub port: u16,
    pub database: String,
    pub user: String,
    #[serde(default)]
    pub password: Option<Text>,
    #[serde(default)]
    pub tls: Tls,
    /// The certificate authority for `verify`: a file on the host.
    #[serde(default)]
    pub ca_file: Option<String>,
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Span,
}

fn postgres_port() -> u16 {
    5432
}

fn connect_timeout() -> Span {
    Span::from_secs(5)
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    #[default]
    Postgres,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    #[default]
    Off,
    /// TLS, and the server's certificate must be good for its host name.
    Verify,
}

/// A statement and its parameters, `$1` and so on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    pub sql: String,
    #[serde(default)]
    pub params: Vec<Value>,
    /// How many rows it must affect; anything else rolls the transaction back and fails.
    #[serde(default)]
    pub rows: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    pub connection: Connection,
    pub statements: Vec<Statement>,
    /// A query that returns one boolean: true where the desired state holds already. Without it the task cannot be observed.
    #[serde(default)]
    pub unless: Option<Statement>,
    /// The author of the runbook says that executing it twice does no harm.
    #[serde(default)]
    pub repeatable: bool,
    #[serde(default = "lock_timeout")]
    pub lock_timeout: Span,
}

fn lock_timeout() -> Span {
    Span::from_secs(10)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    pub connection: Connection,
    pub sql: String,
    #[serde(default)]
    pub params: Vec<Value>,
    /// A CEL expression over `rows` (a list of maps) that must be true.
    #[serde(default)]
    pub expect: Option<String>,
    /// Repeat until `expect` holds or the step's timeout ends.
    #[serde(default)]
    pub wait: bool,
    /// Rows given to `register`; more are left out.
    #[serde(default = "rows_max")]
    pub rows_max: u32,
}

fn rows_max() -> u32 {
    100
}
