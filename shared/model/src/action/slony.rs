//! Slony-I on PostgreSQL (the product's facts: what each statement does, and does not, is in docs/actions).
//!
//! Every action works on a list of databases and reports per database. Directions are always proven from the servers' own
//! state and from the replicated role before anything is destroyed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{text::Text, time::Span};

/// How to reach one appliance's PostgreSQL. `database` is filled in for each database of the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The appliance's name, for messages and node comments.
    pub name: String,
    pub address: String,
    #[serde(default = "port")]
    pub port: u16,
    /// A superuser: Slony's scripts need one.
    pub user: String,
    #[serde(default)]
    pub password: Option<Text>,
}

/// A value that a step asks for. A key that is there counts even where what it refers to turned out to be nothing: a skipped
/// step registers null, and null must not pass for "nobody asked".
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asked(pub Option<serde_json::Value>);

impl Asked {
    fn is_not(&self) -> bool {
        self.0.is_none()
    }
}

impl Serialize for Asked {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(|value| Self(Some(value)))
    }
}

impl JsonSchema for Asked {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Asked".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        serde_json::Value::json_schema(generator)
    }
}

fn port() -> u16 {
    5432
}

fn cluster() -> String {
    "slony".to_owned()
}

fn lock_timeout() -> Span {
    Span::from_secs(10)
}

fn set_comment() -> String {
    "All tables and Sequences".to_owned()
}

macro_rules! params {
    ($(#[$doc:meta])* $name:ident { $($fields:tt)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The Slony cluster; its schema is `_` and this name.
            #[serde(default = "cluster")]
            pub cluster: String,
            pub databases: Vec<String>,
            $($fields)*
        }
    };
}

params!(State { pub server: Server, });
params!(Copy {
    /// The old origin, whose databases can still be read; nothing may write there any more.
    pub from: Server,
    /// The new one; its contents are replaced, whole databases at once.
    pub to: Server,
});
params!(
    /// Data: per database the applied SYNC (`ssy_seqno`, `ssy_snapshot`, its time), node ids, sequence positions.
    Evidence { pub server: Server, });
params!(AdvanceSequences {
    pub server: Server,
    /// Each sequence moves to its last value plus this many.
    #[serde(default = "ahead")]
    pub by: u64,
});
params!(Drop {
    pub server: Server,
    #[serde(default = "lock_timeout")]
    pub lock_timeout: Span,
    /// End the sessions that hold the locks. An operator's choice, never the default.
    #[serde(default)]
    pub end_blockers: bool,
    /// Data of the `slony.evidence` step: refused where it lacks a database that still has the schema.
    #[serde(default, skip_serializing_if = "Asked::is_not")]
    pub evidence: Asked,
});
params!(Start {
    pub server: Server,
    /// Database → the script that starts its slon; without it slon is started directly.
    #[serde(default)]
    pub scripts: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    pub user: Option<String>,
});
params!(Stop {
    pub server: Server,
    /// Executables of watchdogs that restart slon (`slon_watchdog`), ended first.
    #[serde(default)]
    pub watchdogs: Vec<String>,
    /// Only slons whose conninfo or directory mentions this text; all of the host without it (the vendor's `killall slon`).
    #[serde(default)]
    pub arguments_contain: Option<String>,
    #[serde(default = "grace")]
    pub grace: Span,
});
params!(Init {
    /// The new origin; it becomes node 1, so that a stale slon of the old origin is refused.
    pub origin: Server,
    /// The other node, if it is reachable now; without it the cluster starts with one node and [`Join`] adds it later.
    #[serde(default)]
    pub subscriber: Option<Server>,
    #[serde(default = "set_comment")]
    pub set_comment: String,
    /// The appliance that holds the replicated primary role; must be `origin.name`.
    pub primary: String,
});
params!(Join {
    pub origin: Server,
    pub subscriber: Server,
    pub primary: String,
});
params!(Subscribe {
    pub origin: Server,
    pub subscriber: Server,
    /// The appliance that holds the replicated primary role; must be `origin.name`, and the origin's own set must agree.
    pub primary: String,
});
params!(CaughtUp { pub origin: Server, pub subscriber: Server, });
params!(MoveSet {
    pub old_origin: Server,
    pub new_origin: Server,
});
params!(Failover {
    pub failed: Server,
    pub backup: Server,
});
params!(Origin {
    pub server: Server,
    /// `false`: must not be origin.
    #[serde(default = "yes")]
    pub is: bool,
    /// The vendor's row, held against `set_comment` and the local id where given.
    #[serde(default)]
    pub local_id: Option<i64>,
});
params!(Verify {
    pub origin: Server,
    /// Without it only the origin's side is proven.
    #[serde(default)]
    pub subscriber: Option<Server>,
});
params!(LostRows {
    /// The old origin, whose slon must not run.
    pub server: Server,
    /// Data of the failover's `slony.evidence` step.
    pub evidence: serde_json::Value,
});

fn ahead() -> u64 {
    10_000
}

fn grace() -> Span {
    Span::from_secs(10)
}

fn yes() -> bool {
    true
}
