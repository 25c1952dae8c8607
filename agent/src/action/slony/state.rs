//! What a node says of itself: read in one statement, judged without asking again.
//!
//! Apart because every other action decides from this and from nothing else. It reads only, and it must not believe more
//! than a node can know: `sub_active` is the subscriber's to tell, and each side only knows what its slon has applied.

use std::collections::BTreeMap;

use baton_model::outcome::Fault;
use serde::{Deserialize, Serialize};

use crate::{action::sql::fault, host::postgres::Session};

use super::node::Node;

/// The set that holds everything; Horizon has one.
pub(super) const SET: i64 = 1;

/// A node's own view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct View {
    /// Tells one installation of Slony from the next in the same database.
    pub schema_oid: i64,
    pub version: String,
    /// -1: not initialised.
    pub local_id: i64,
    pub sets: Vec<SetView>,
    pub subscriptions: Vec<Subscription>,
    pub nodes: BTreeMap<i64, String>,
    pub paths: Vec<Path>,
    /// Trigger kind (`logtrigger`, `denyaccess` …) → enabled (`O`, `D`) → how many.
    pub triggers: BTreeMap<String, BTreeMap<String, i64>>,
    /// Sessions of this node's own slon.
    pub slons: i64,
    /// What this node has applied of the set's origin.
    pub applied: Option<Applied>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SetView {
    pub id: i64,
    pub origin: i64,
    pub locked: bool,
    pub comment: String,
    pub tables: i64,
    pub sequences: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Subscription {
    pub provider: i64,
    pub receiver: i64,
    /// To be trusted on the subscriber only: the origin says true at once.
    pub active: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Path {
    pub server: i64,
    pub client: i64,
    pub conninfo: String,
}

/// The last SYNC that was applied: everything the origin had committed in its snapshot is here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Applied {
    pub origin: i64,
    pub seqno: i64,
    pub snapshot: String,
    /// When the origin made it, by the origin's clock; gone once the event was trimmed.
    pub at: Option<String>,
    pub age_s: Option<f64>,
    /// `sl_setsync`, or `sl_event` where a FAILOVER has removed the former.
    pub source: String,
}

/// What a database is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    /// No Slony in this database: whoever connects can write.
    Standalone,
    /// Initialised, and without a set.
    Empty,
    Origin,
    /// Origin, and LOCK SET refuses writes.
    OriginLocked,
    Subscriber,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Standalone => "standalone (no Slony)",
            Role::Empty => "initialised without a set",
            Role::Origin => "origin",
            Role::OriginLocked => "origin, locked",
            Role::Subscriber => "subscriber",
        }
    }
}

impl View {
    pub fn set(&self) -> Option<&SetView> {
        self.sets.iter().find(|set| set.id == SET)
    }
    pub fn role(&self) -> Role {
        match self.set() {
            None => Role::Empty,
            Some(set) if set.origin != self.local_id => Role::Subscriber,
            Some(set) if set.locked => Role::OriginLocked,
            Some(_) => Role::Origin,
        }
    }
    pub fn is_origin(&self) -> bool {
        self.set().is_some_and(|set| set.origin == self.local_id)
    }
    /// The subscription of this node, as it says itself.
    pub fn receives_from(&self, provider: i64) -> bool {
        self.subscriptions.iter().any(|one| one.receiver == self.local_id && one.provider == provider && one.active)
    }
    /// How many triggers of this kind are enabled in this way.
    pub fn trigger_count(&self, kind: &str, enabled: &str) -> i64 {
        self.triggers.get(kind).and_then(|states| states.get(enabled)).copied().unwrap_or(0)
    }
    /// Triggers of this kind that are in any other state.
    pub fn trigger_others(&self, kind: &str, enabled: &str) -> i64 {
        self.triggers
            .get(kind)
            .map_or(0, |states| states.iter().filter(|(state, _)| *state != enabled).map(|(_, n)| n).sum())
    }
}

/// The role by a view that may be none.
pub(super) fn role(view: Option<&View>) -> Role {
    view.map_or(Role::Standalone, View::role)
}

/// A relation that could be replicated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    /// Qualified and quoted.
    pub name: String,
    pub is_table: bool,
    pub has_key: bool,
}

/// Reads the node's view; none where there is no schema of this cluster.
pub(super) async fn read(session: &Session, node: &Node) -> Result<Option<View>, Fault> {
    let schema = node.schema();
    let there = session
        .row("SELECT to_regnamespace($1) IS NOT NULL, to_regclass($1 || '.sl_local_node_id') IS NOT NULL", &[&schema])
        .await
        .map_err(|error| fault(&error))?;
    match (there.get(0), there.get(1)) {
        (false, _) => return Ok(None),
        (true, false) => {
            let message = format!("{node}: there is a schema {schema} that is not Slony's");
            return Err(Fault::new("BTN-0731", message, "Look at it: nothing was changed, and it is not touched."));
        }
        (true, true) => {}
    }
    let sql = VIEW.replace("@", &schema);
    // A schema that is dropped between the two questions is a standalone database.
    let row = match session.row(&sql, &[&schema, &(SET as i32)]).await {
        Err(error) if error.state() == Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => return Ok(None),
        other => other.map_err(|error| fault(&error))?,
    };
    let text: String = row.get(0);
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Fault::new(
            "BTN-0731",
            format!("{node}: Slony's tables are not as expected: {error}"),
            "This version of Slony is not known.",
        )
    })
}

/// `@` is the schema.
const VIEW: &str = r"
SELECT jsonb_build_object(
  'schema_oid', to_regnamespace($1)::oid::int8,
  'version', @.slonyversion(),
  'local_id', (SELECT last_value FROM @.sl_local_node_id),
  'sets', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', set_id, 'origin', set_origin, 'locked', set_locked IS NOT NULL,
      'comment', coalesce(set_comment, ''),
      'tables', (SELECT count(*) FROM @.sl_table WHERE tab_set = set_id),
      'sequences', (SELECT count(*) FROM @.sl_sequence WHERE seq_set = set_id)) ORDER BY set_id), '[]') FROM @.sl_set),
  'subscriptions', (SELECT coalesce(jsonb_agg(jsonb_build_object('provider', sub_provider, 'receiver', sub_receiver,
      'active', sub_active)), '[]') FROM @.sl_subscribe WHERE sub_set = $2),
  'nodes', (SELECT coalesce(jsonb_object_agg(no_id, coalesce(no_comment, '')), '{}') FROM @.sl_node),
  'paths', (SELECT coalesce(jsonb_agg(jsonb_build_object('server', pa_server, 'client', pa_client, 'conninfo', pa_conninfo)), '[]')
      FROM @.sl_path),
  'triggers', (SELECT coalesce(jsonb_object_agg(kind, states), '{}') FROM (SELECT kind, jsonb_object_agg(tgenabled, n) AS states
      FROM (SELECT substr(tgname, length($1) + 2) AS kind, tgenabled::text, count(*) AS n FROM pg_trigger
             WHERE starts_with(tgname::text, $1 || '_') GROUP BY 1, 2) AS counted GROUP BY kind) AS kinds),
  'slons', (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'slon.local%'),
  'applied', coalesce(
    (SELECT jsonb_build_object('origin', ssy_origin, 'seqno', ssy_seqno, 'snapshot', ssy_snapshot::text, 'at', ev_timestamp,
        'age_s', extract(epoch FROM clock_timestamp() - ev_timestamp), 'source', 'sl_setsync')
       FROM @.sl_setsync LEFT JOIN @.sl_event ON (ev_origin = ssy_origin AND ev_seqno = ssy_seqno)
      WHERE ssy_setid = $2),
    (SELECT jsonb_build_object('origin', ev_origin, 'seqno', ev_seqno, 'snapshot', ev_snapshot::text, 'at', ev_timestamp,
        'age_s', extract(epoch FROM clock_timestamp() - ev_timestamp), 'source', 'sl_event')
       FROM @.sl_event
      WHERE ev_type = 'SYNC' AND ev_origin <> (SELECT last_value FROM @.sl_local_node_id) AND ev_snapshot IS NOT NULL
      ORDER BY ev_timestamp DESC LIMIT 1))
)::text";

/// Every table and sequence that could be replicated, by the catalogue. Baton's own schema is not part of it.
pub(super) async fn relations(session: &Session, node: &Node) -> Result<Vec<Relation>, Fault> {
    let rows = session
        .rows(
            "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind = 'r',
                    EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind IN ('r', 'S') AND c.relpersistence = 'p' AND n.nspname !~ '^(pg_|information_schema$)'
                AND n.nspname <> $1 AND n.nspname <> 'baton' ORDER BY 1",
            &[&node.schema()],
        )
        .await
        .map_err(|error| fault(&error))?;
    Ok(rows.iter().map(|row| Relation { name: row.get(0), is_table: row.get(1), has_key: row.get(2) }).collect())
}

/// The set's tables, or its sequences, qualified and quoted.
pub(super) async fn members(session: &Session, node: &Node, tables: bool) -> Result<Vec<String>, Fault> {
    let schema = node.schema();
    let sql = if tables {
        format!(
            "SELECT quote_ident(tab_nspname) || '.' || quote_ident(tab_relname) FROM {schema}.sl_table WHERE tab_set = $1 ORDER BY 1"
        )
    } else {
        format!(
            "SELECT quote_ident(seq_nspname) || '.' || quote_ident(seq_relname) FROM {schema}.sl_sequence WHERE seq_set = $1 ORDER BY 1"
        )
    };
    let rows = session.rows(&sql, &[&(SET as i32)]).await.map_err(|error| fault(&error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Opens a session and reads the view.
pub(super) async fn look(node: &Node, context: &crate::action::Context) -> Result<(Session, Option<View>), Fault> {
    let session = node.open(context).await?;
    let view = read(&session, node).await?;
    Ok((session, view))
}
