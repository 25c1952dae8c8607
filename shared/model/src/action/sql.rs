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
    /// 5432 for PostgreSQL, 1433 for SQL Server.
    #[serde(default)]
    pub port: Option<u16>,
    /// For SQL Server's own affairs (availability groups, restores): `master`.
    pub database: String,
    pub user: String,
    #[serde(default)]
    pub password: Option<Text>,
    #[serde(default)]
    pub tls: Tls,
    /// The certificate authority for `verify` and `strict`: a file on the host.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// SQL Server: the name in its certificate, where that is not `host`.
    #[serde(default)]
    pub certificate_name: Option<String>,
    /// SQL Server: the instance's own name (`@@SERVERNAME`), which availability groups know it by. Another instance that
    /// answers is refused.
    #[serde(default)]
    pub server_name: Option<String>,
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Span,
}

impl Connection {
    /// The port, or the product's usual one.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.kind {
            Kind::Postgres => 5432,
            Kind::Sqlserver => 1433,
        })
    }

    /// What availability groups call the instance; the host where nothing else is said.
    pub fn instance(&self) -> &str {
        self.server_name.as_deref().unwrap_or(&self.host)
    }
}

fn connect_timeout() -> Span {
    Span::from_secs(5)
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    #[default]
    Postgres,
    /// Microsoft SQL Server.
    Sqlserver,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    #[default]
    Off,
    /// TLS, and the server's certificate must be good for its host name.
    Verify,
    /// SQL Server: TLS around everything (TDS 8), and the certificate must be good.
    Strict,
    /// SQL Server: TLS with whatever certificate the server shows. It keeps listeners out, not somebody in between.
    Trust,
}

/// A statement and its parameters: `$1` and so on in PostgreSQL, `@P1` and so on in SQL Server.
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
