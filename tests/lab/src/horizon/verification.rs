//! Judges whether a database really replicates. The vendor's verification row proves almost nothing: it is printed
//! for an empty set, for a copy that keeps failing, and on both sides of a split brain. So: counts against the
//! catalogue, `sub_active` on the subscriber, the state of the triggers, and a fresh row that arrives.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio_postgres::Client;

use super::{CLUSTER, Error, SET_COMMENT, postgres::Endpoint, schema::PRIMARY_CAPABILITIES};

/// The vendor's verification query, word for word.
pub const VENDOR_QUERY: &str = "SELECT a.set_id, a.set_comment, (SELECT last_value FROM _slony.sl_local_node_id) AS local_id, CASE WHEN a.set_origin = (SELECT last_value FROM _slony.sl_local_node_id)THEN TRUE ELSE FALSE END AS master_node from _slony.sl_set a;";

/// A row of the vendor's query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorRow {
    /// `1`
    pub set_id: i32,
    /// `All tables and Sequences`
    pub set_comment: String,
    /// The node's own number.
    pub local_id: i64,
    /// Whether the set's origin is this node.
    pub master_node: bool,
}

/// Runs the vendor's query (as a superuser, as the vendor does).
pub async fn vendor_rows(endpoint: &Endpoint) -> Result<Vec<VendorRow>, Error> {
    let rows =
        endpoint.connect().await?.query(VENDOR_QUERY, &[]).await.map_err(endpoint.refused("the vendor's query"))?;
    let read = |row: &tokio_postgres::Row| VendorRow {
        set_id: row.get(0),
        set_comment: row.get(1),
        local_id: row.get(2),
        master_node: row.get(3),
    };
    Ok(rows.iter().map(read).collect())
}

/// A replication set as one node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its number.
    pub id: i32,
    /// The node that is written to.
    pub origin: i32,
    /// Locked against writes, as in the middle of a move.
    pub locked: bool,
    /// Its comment.
    pub comment: String,
    /// How many tables it replicates.
    pub tables: i64,
    /// How many sequences it replicates.
    pub sequences: i64,
}

/// A subscription as one node knows it. Only the subscriber knows whether it is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The set.
    pub set: i32,
    /// From which node.
    pub provider: i32,
    /// To which node.
    pub receiver: i32,
    /// `sub_active`
    pub active: bool,
}

/// What one database says about its replication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The node's own number; `-1` when not initialised.
    pub local_id: i64,
    /// The sets it knows.
    pub sets: Vec<Set>,
    /// The subscriptions it knows.
    pub subscriptions: Vec<Subscription>,
    /// Number and comment of the nodes it knows.
    pub nodes: Vec<(i32, String)>,
    /// By name without the table's number (`_slony_logtrigger`): how many are enabled, how many are not.
    pub triggers: BTreeMap<String, (i64, i64)>,
    /// How many tables the catalogue has that ought to be replicated.
    pub catalogue_tables: i64,
    /// How many sequences.
    pub catalogue_sequences: i64,
    /// Tables and sequences that are in no set.
    pub unreplicated: Vec<String>,
}

/// What a database is, read from its set and its triggers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// No `_slony` schema, no triggers: an ordinary writable database.
    Standalone,
    /// It is written to.
    Origin,
    /// It would be written to, but the set is locked.
    LockedOrigin,
    /// It refuses writes.
    Subscriber,
    /// The schema is there, without a set.
    Empty,
    /// Set and triggers contradict each other.
    Contradictory,
}

/// Reads a database's own view.
pub async fn node(endpoint: &Endpoint) -> Result<Option<Node>, Error> {
    let client = endpoint.connect().await?;
    let refused = |what: &str| endpoint.refused(what.to_owned());
    let present = client.query_one("select to_regnamespace('_slony') is not null", &[]).await;
    if !present.map_err(refused("look for schema _slony"))?.get::<_, bool>(0) {
        return Ok(None);
    }
    let rows = |sql: &'static str| rows(&client, sql);
    let local =
        rows("select last_value from _slony.sl_local_node_id").await.map_err(refused("read the node's number"))?;
    let sets = rows(
        "select set_id, set_origin, set_locked is not null, set_comment::text,
                (select count(*) from _slony.sl_table where tab_set = set_id),
                (select count(*) from _slony.sl_sequence where seq_set = set_id) from _slony.sl_set order by 1",
    );
    let sets = sets.await.map_err(refused("read the sets"))?;
    let subscriptions =
        rows("select sub_set, sub_provider, sub_receiver, sub_active from _slony.sl_subscribe order by 1, 3");
    let subscriptions = subscriptions.await.map_err(refused("read the subscriptions"))?;
    let nodes = rows("select no_id, coalesce(no_comment, '') from _slony.sl_node order by 1");
    let nodes = nodes.await.map_err(refused("read the nodes"))?;
    let triggers = rows(
        "select tgname::text, count(*) filter (where tgenabled <> 'D'), count(*) filter (where tgenabled = 'D')
           from pg_trigger where tgname like '\\_slony\\_%' group by 1",
    );
    let triggers = triggers.await.map_err(refused("read the triggers"))?;
    let catalogue = rows(
        "select c.relkind = 'r', c.oid::regclass::text,
                c.oid in (select tab_reloid from _slony.sl_table union all select seq_reloid from _slony.sl_sequence)
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where c.relkind in ('r', 'S') and c.relpersistence = 'p'
            and n.nspname !~ '^(pg_|information_schema$)' and n.nspname <> '_slony' order by 2",
    );
    let catalogue = catalogue.await.map_err(refused("read the catalogue"))?;

    let mut by_name: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for row in triggers {
        let name: String = row.get(0);
        let name = name.trim_end_matches(|last: char| last.is_ascii_digit()).trim_end_matches('_').to_owned();
        let counted = by_name.entry(name).or_default();
        *counted = (counted.0 + row.get::<_, i64>(1), counted.1 + row.get::<_, i64>(2));
    }
    let count = |tables: bool| catalogue.iter().filter(|row| row.get::<_, bool>(0) == tables).count() as i64;
    Ok(Some(Node {
        local_id: local.first().map_or(-1, |row| row.get(0)),
        sets: sets
            .iter()
            .map(|row| Set {
                id: row.get(0),
                origin: row.get(1),
                locked: row.get(2),
                comment: row.get(3),
                tables: row.get(4),
                sequences: row.get(5),
            })
            .collect(),
        subscriptions: subscriptions
            .iter()
            .map(|row| Subscription { set: row.get(0), provider: row.get(1), receiver: row.get(2), active: row.get(3) })
            .collect(),
        nodes: nodes.iter().map(|row| (row.get(0), row.get(1))).collect(),
        triggers: by_name,
        catalogue_tables: count(true),
        catalogue_sequences: count(false),
        unreplicated: catalogue.iter().filter(|row| !row.get::<_, bool>(2)).map(|row| row.get(1)).collect(),
    }))
}

async fn rows(client: &Client, sql: &str) -> Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
    client.query(sql, &[]).await
}

/// What a database is. `None` is what [`node`] says of a database without Slony.
pub fn role(node: Option<&Node>) -> Role {
    let Some(node) = node else { return Role::Standalone };
    let Some(set) = node.sets.first() else { return Role::Empty };
    let state = |name: &str| node.triggers.get(&format!("_{CLUSTER}_{name}")).copied().unwrap_or_default();
    let all = set.tables;
    let (log, deny, lock) = (state("logtrigger"), state("denyaccess"), state("lockedset"));
    let mine = i64::from(set.origin) == node.local_id;
    match (mine, set.locked) {
        (true, false) if log == (all, 0) && deny == (0, all) && lock.0 == 0 => Role::Origin,
        (true, true) if log == (all, 0) && deny == (0, all) && lock == (all, 0) => Role::LockedOrigin,
        (false, _) if log == (0, all) && deny == (all, 0) => Role::Subscriber,
        _ => Role::Contradictory,
    }
}

/// Everything that speaks against `origin` replicating to `subscriber`, by what both say. Empty: nothing does.
pub async fn findings(origin: &Endpoint, subscriber: &Endpoint) -> Result<Vec<String>, Error> {
    let (one, two) = (node(origin).await?, node(subscriber).await?);
    let mut findings = Vec::new();
    let mut check = |good: bool, finding: &dyn Fn() -> String| {
        if !good {
            findings.push(finding());
        }
    };
    check(role(one.as_ref()) == Role::Origin, &|| format!("the origin is {:?}: {one:?}", role(one.as_ref())));
    check(role(two.as_ref()) == Role::Subscriber, &|| format!("the subscriber is {:?}: {two:?}", role(two.as_ref())));
    let (Some(one), Some(two)) = (one, two) else { return Ok(findings) };
    for (side, node) in [("origin", &one), ("subscriber", &two)] {
        let counts = node.sets.first().map(|set| (set.tables, set.sequences)).unwrap_or_default();
        let catalogue = (node.catalogue_tables, node.catalogue_sequences);
        check(node.sets.len() == 1, &|| format!("{} sets on the {side}", node.sets.len()));
        check(counts == catalogue, &|| {
            format!("the {side} replicates {counts:?} of {catalogue:?} tables and sequences")
        });
        check(counts.0 > 0, &|| format!("the set of the {side} is empty"));
        check(node.unreplicated.is_empty(), &|| {
            format!("not replicated on the {side}: {}", node.unreplicated.join(", "))
        });
        check(node.nodes.len() == 2, &|| format!("the {side} knows {} nodes", node.nodes.len()));
    }
    let active = two
        .subscriptions
        .iter()
        .any(|sub| sub.active && i64::from(sub.receiver) == two.local_id && i64::from(sub.provider) == one.local_id);
    check(active, &|| format!("the subscriber has no active subscription: {:?}", two.subscriptions));
    for (side, endpoint, wanted) in [("origin", origin, true), ("subscriber", subscriber, false)] {
        let rows = vendor_rows(endpoint).await?;
        let good = matches!(rows.as_slice(), [row] if row.set_comment == SET_COMMENT && row.master_node == wanted);
        check(good, &|| format!("the vendor's query on the {side} gives {rows:?}"));
    }
    check(!accepts_writes(subscriber).await?, &|| "the subscriber accepts writes".to_owned());
    check(accepts_writes(origin).await?, &|| "the origin refuses writes".to_owned());
    Ok(findings)
}

/// Whether a row can be written (it is rolled back). A server that cannot be asked is an error, not a no.
pub async fn accepts_writes(endpoint: &Endpoint) -> Result<bool, Error> {
    let client = endpoint.connect().await?;
    client.batch_execute("begin").await.map_err(endpoint.refused("begin"))?;
    let written = client.execute("insert into canary(id) values ('probe ' || gen_random_uuid())", &[]).await;
    match written {
        Ok(_) => Ok(true),
        // The server's own refusal; a lost connection is no verdict.
        Err(error) if error.as_db_error().is_some() => Ok(false),
        Err(error) => Err(endpoint.refused("try a write")(error)),
    }
}

/// Writes a fresh row on `origin` and waits until `subscriber` has it. Returns how long that took.
pub async fn canary(origin: &Endpoint, subscriber: &Endpoint, within: Duration) -> Result<Duration, Error> {
    let (writer, reader) = (origin.connect().await?, subscriber.connect().await?);
    let written =
        writer.query_one("insert into canary(id) values ('canary ' || gen_random_uuid()) returning id", &[]).await;
    let id: String = written.map_err(origin.refused("write a canary"))?.get(0);
    let start = Instant::now();
    loop {
        let found = reader.query("select 1 from canary where id = $1", &[&id]).await;
        if !found.map_err(subscriber.refused("look for the canary"))?.is_empty() {
            return Ok(start.elapsed());
        }
        if start.elapsed() > within {
            return Err(Error::Never {
                what: format!("{id} of {origin:?} arrives at {subscriber:?}"),
                seconds: within.as_secs(),
                seen: "it is not there".into(),
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The whole judgement: no findings, and a canary arrives. An error names everything that is wrong.
pub async fn replicates(origin: &Endpoint, subscriber: &Endpoint, within: Duration) -> Result<Duration, Error> {
    let findings = findings(origin, subscriber).await?;
    if findings.is_empty() {
        return canary(origin, subscriber, within).await;
    }
    Err(Error::NotReplicating {
        database: origin.database.clone(),
        origin: origin.address,
        subscriber: subscriber.address,
        findings,
    })
}

/// Which appliances have both bits of the primary in `capabilities`, by organisation, as a fdb says. The service
/// provider's primary fdb is the one that counts; right is exactly one for each organisation.
pub async fn primaries(endpoint: &Endpoint) -> Result<BTreeMap<i32, Vec<String>>, Error> {
    let bits = PRIMARY_CAPABILITIES;
    let sql = "select organization_id, name, capabilities & $1 = $1 from appliance order by 1, 2";
    let rows =
        endpoint.connect().await?.query(sql, &[&bits]).await.map_err(endpoint.refused("read the capabilities"))?;
    let mut primaries: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for row in rows {
        let of_organization = primaries.entry(row.get(0)).or_default();
        if row.get(2) {
            of_organization.push(row.get(1));
        }
    }
    Ok(primaries)
}

/// Number of rows and a digest of the content of every table outside Slony's schema.
/// Meaningful only while nobody writes, or after a SYNC that nobody wrote behind.
pub async fn contents(endpoint: &Endpoint) -> Result<BTreeMap<String, (i64, String)>, Error> {
    let client = endpoint.connect().await?;
    let relations = super::replication::Relations::read(endpoint).await?;
    let mut contents = BTreeMap::new();
    for table in relations.tables {
        let sql = format!(
            "select count(*), coalesce(md5(string_agg(md5(t::text), '' order by md5(t::text))), '') from {table} t"
        );
        let row = client.query_one(&sql, &[]).await.map_err(endpoint.refused(format!("digest {table}")))?;
        contents.insert(table, (row.get(0), row.get(1)));
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node_with(local_id: i64, origin: i32, locked: bool, triggers: &[(&str, i64, i64)]) -> Node {
        Node {
            local_id,
            sets: vec![Set { id: 1, origin, locked, comment: SET_COMMENT.into(), tables: 3, sequences: 1 }],
            subscriptions: Vec::new(),
            nodes: Vec::new(),
            triggers: triggers.iter().map(|(name, on, off)| (format!("_slony_{name}"), (*on, *off))).collect(),
            catalogue_tables: 3,
            catalogue_sequences: 1,
            unreplicated: Vec::new(),
        }
    }

    #[test]
    fn the_role_comes_from_set_and_triggers_together() {
        let writes: [(&str, i64, i64); 2] = [("logtrigger", 3, 0), ("denyaccess", 0, 3)];
        let refuses: [(&str, i64, i64); 2] = [("logtrigger", 0, 3), ("denyaccess", 3, 0)];
        let locked: [(&str, i64, i64); 3] = [("logtrigger", 3, 0), ("denyaccess", 0, 3), ("lockedset", 3, 0)];
        let cases = [
            (node_with(1, 1, false, &writes), Role::Origin),
            (node_with(1, 1, true, &locked), Role::LockedOrigin),
            (node_with(2, 1, false, &refuses), Role::Subscriber),
            // A table somebody disabled the guard of.
            (node_with(2, 1, false, &[("logtrigger", 0, 3), ("denyaccess", 2, 1)]), Role::Contradictory),
            (node_with(1, 1, false, &refuses), Role::Contradictory),
            (Node { sets: Vec::new(), ..node_with(1, 1, false, &writes) }, Role::Empty),
        ];
        for (node, wanted) in cases {
            assert_eq!(role(Some(&node)), wanted, "{node:?}");
        }
        assert_eq!(role(None), Role::Standalone);
    }
}
