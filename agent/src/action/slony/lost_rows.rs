//! `slony.lost_rows`: the exact list of what the old origin had and the new one never got, from its log and the new one's
//! evidence: the rows lost at the crash, and everything that was written there afterwards.
//!
//! Apart because it must come before anything is dropped on the old origin, and while none of its slons runs: a slon may trim the
//! log, or obey a DROP NODE and take the list with it. It only reads.

use std::io::Write;

use async_trait::async_trait;
use baton_model::{
    action::slony::LostRows,
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};

use crate::{
    action::{Context, Effect, Failure, Perform, sql::fault},
    host::postgres::Session,
};

use super::{
    daemon::slons,
    evidence::entry,
    node::Node,
    sentence,
    state::{View, look},
};

mod change;
mod kept;

use change::{Change, Tally};
use kept::{Kept, Place, file_name};

/// What the new origin had applied, as its evidence says.
struct Mark {
    origin: i64,
    seqno: i64,
    snapshot: String,
}

fn mark(evidence: &Value, node: &Node) -> Result<Mark, Fault> {
    let missing = |why: String| {
        let message = format!("{node}: what was lost cannot be told: {why}");
        Fault::new(
            "BTN-0780",
            message,
            "Give the data of the failover's slony.evidence step. Without it, compare the tables by hand before anything is dropped here.",
        )
    };
    let entry =
        entry(evidence, &node.database).ok_or_else(|| missing("there is no evidence for this database".to_owned()))?;
    let applied = &entry["applied"];
    match (applied["origin"].as_i64(), applied["seqno"].as_i64(), applied["snapshot"].as_str()) {
        (Some(origin), Some(seqno), Some(snapshot)) => Ok(Mark { origin, seqno, snapshot: snapshot.to_owned() }),
        _ => Err(missing(entry["why"].as_str().unwrap_or("the evidence has no snapshot").to_owned())),
    }
}

/// The evidence must be about this very log.
async fn belongs(mark: &Mark, node: &Node, session: &Session, view: &View) -> Result<(), Fault> {
    let wrong = |why: String| {
        Fault::new(
            "BTN-0781",
            format!("{node}: {why}"),
            "This is not the log that the evidence is about. Nothing was changed.",
        )
    };
    if view.local_id != mark.origin {
        return Err(wrong(format!("it is node {}, and the evidence is about node {}", view.local_id, mark.origin)));
    }
    let sql = format!(
        "SELECT (SELECT last_value FROM {}.sl_event_seq), txid_snapshot_xmax($1::text::txid_snapshot) <= txid_current()",
        node.schema()
    );
    let row = session.row(&sql, &[&mark.snapshot]).await.map_err(|error| fault(&error))?;
    let (last, known): (i64, bool) = (row.get(0), row.get(1));
    if last < mark.seqno || !known {
        return Err(wrong(format!("its last event is {last}, and the evidence is about event {}", mark.seqno)));
    }
    Ok(())
}

/// A slon of this node would work on the log that is being read.
fn quiet(node: &Node, view: &View) -> Result<(), Fault> {
    let running =
        slons().into_iter().find(|slon| slon.serves(&node.target.host, node.target.port, &node.database) == Some(true));
    let seen = match running {
        Some(slon) => slon.describe(),
        None if view.slons > 0 => format!("{} sessions of its own", view.slons),
        None => return Ok(()),
    };
    let message = format!("{node}: a slon of it runs ({seen}), and could change the log while it is read");
    Err(Fault::new("BTN-0782", message, "Stop it first (slony.stop), then retry."))
}

/// Where the list of one database comes from.
enum Source {
    Log(Box<(Session, View)>),
    /// It was made before, and the log is gone since. The schema that is there now, if any, has nothing of its own.
    Before {
        kept: Kept,
        schema_oid: Option<i64>,
    },
}

fn unkept(node: &Node, error: &std::io::Error) -> Fault {
    let message = format!("{node}: the list of lost rows cannot be kept or read: {error}");
    Fault::new("BTN-0784", message, "Make room on the disk, then retry.")
}

/// The list of this very evidence, where the log that it was made from is no longer there.
fn made_before(node: &Node, mark: &Mark, view: Option<&View>, context: &Context) -> Result<Option<Source>, Fault> {
    let Some(place) = Place::of(node, mark, context) else { return Ok(None) };
    let Some(kept) = place.read().map_err(|error| unkept(node, &error))? else { return Ok(None) };
    let gone = view.is_none_or(|view| view.schema_oid != kept.schema_oid && !view.is_origin());
    Ok(gone.then(|| Source::Before { kept, schema_oid: view.map(|view| view.schema_oid) }))
}

async fn readable(params: &LostRows, context: &Context) -> Result<Vec<(Node, Source, Mark)>, Fault> {
    let mut all = Vec::new();
    for node in Node::all(&params.server, &params.databases, &params.cluster, context).await? {
        let mark = mark(&params.evidence, &node)?;
        let (session, view) = look(&node, context).await?;
        if let Some(before) = made_before(&node, &mark, view.as_ref(), context)? {
            all.push((node, before, mark));
            continue;
        }
        let Some(view) = view else {
            let message = format!("{node} has no Slony schema: its log is gone");
            return Err(Fault::new(
                "BTN-0783",
                message,
                "Compare the tables of both sides by hand before this side is overwritten.",
            ));
        };
        quiet(&node, &view)?;
        belongs(&mark, &node, &session, &view).await?;
        all.push((node, Source::Log(Box::new((session, view))), mark));
    }
    Ok(all)
}

#[async_trait]
impl Perform for LostRows {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let nodes = readable(self, context).await?;
        let parts: Vec<(String, String)> = nodes
            .iter()
            .map(|(node, source, mark)| {
                let text = match source {
                    Source::Log(_) => format!("its log can be read from SYNC {} on", mark.seqno),
                    Source::Before { .. } => "was listed before".to_owned(),
                };
                (node.label(), text)
            })
            .collect();
        Ok(Observation::Differs { change: format!("save what was lost: {}", sentence(&parts)) })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut parts = Vec::new();
        let mut data = serde_json::Map::new();
        let mut rows = 0;
        for (node, source, mark) in readable(self, context).await? {
            let (session, view) = match source {
                Source::Log(log) => *log,
                Source::Before { kept, schema_oid } => {
                    let place = Place::of(&node, &mark, context);
                    let attached = place.map_or(Ok(()), |place| place.attach(context, &node.database));
                    attached.map_err(|error| unkept(&node, &error))?;
                    let mut entry = kept.entry;
                    let count = entry["count"].as_u64().unwrap_or(0);
                    rows += count;
                    // For whoever drops what is there now: it has been looked at, and holds nothing more.
                    entry["schema_oid"] = schema_oid.map_or(entry["schema_oid"].clone(), |oid| json!(oid));
                    data.insert(node.database.clone(), entry);
                    parts.push((node.label(), format!("{count} changes were lost, listed before")));
                    continue;
                }
            };
            let tally = save(&node, &session, &mark, context).await?;
            rows += tally.total();
            let text = match tally.total() {
                0 => "nothing was lost".to_owned(),
                total => format!(
                    "{total} changes in {} tables were lost; saved as lost-rows-{}.sql and .csv",
                    tally.tables.len(),
                    node.database
                ),
            };
            let entry = json!({ "server": node.name, "schema_oid": view.schema_oid, "count": tally.total(),
                "tables": tally.tables, "scripts": tally.scripts, "since": mark.seqno });
            if let (Some(place), Some(directory)) = (Place::of(&node, &mark, context), context.directory()) {
                let kept = Kept { schema_oid: view.schema_oid, entry: entry.clone() };
                place.keep(&kept, directory, &node.database).map_err(|error| unkept(&node, &error))?;
            }
            data.insert(node.database.clone(), entry);
            context.progress(format!("{node}: {text}"), None);
            parts.push((node.label(), text));
        }
        data.insert("rows".to_owned(), json!(rows));
        Ok(Effect { summary: sentence(&parts), data: data.into(), changed: Some(false) })
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn only_observes(&self) -> bool {
        true
    }
}

async fn save(node: &Node, session: &Session, mark: &Mark, context: &Context) -> Result<Tally, Fault> {
    let schema = node.schema();
    let broken = |error: std::io::Error| {
        Fault::new(
            "BTN-0784",
            format!("{node}: the lost rows cannot be saved: {error}"),
            "Make room on the disk, then retry.",
        )
    };
    let mut sql_file = context.attachment(&file_name(&node.database, "sql"))?;
    let mut csv_file = context.attachment(&file_name(&node.database, "csv"))?;
    let lines = [
        format!("-- What {} had committed and the new origin never got, in the order of its log.", node.label()),
        "-- Read it before you run it: the new origin has gone on since. It is one transaction, and a row that is there".to_owned(),
        "-- already stops all of it. TRUNCATE and DDL are comments, on purpose.".to_owned(),
        "SET standard_conforming_strings = on;".to_owned(),
        "BEGIN;".to_owned(),
    ];
    sql_file.write_all((lines.join("\n") + "\n").as_bytes()).map_err(broken)?;
    csv_file.write_all(change::CSV_HEADER.as_bytes()).map_err(broken)?;
    let mut tally = Tally::default();
    let query = format!(
        "SELECT log_actionseq, log_txid, log_tablenspname, log_tablerelname, log_cmdtype::text, coalesce(log_cmdupdncols, 0), log_cmdargs
           FROM (SELECT * FROM {schema}.sl_log_1 UNION ALL SELECT * FROM {schema}.sl_log_2) l
          WHERE log_origin = $1 AND NOT txid_visible_in_snapshot(log_txid, $2::text::txid_snapshot) ORDER BY log_actionseq"
    );
    let origin = mark.origin as i32;
    let mut stream = session.stream(&query, &[&origin, &mark.snapshot]).await.map_err(|error| fault(&error))?;
    while let Some(row) = session.next(&mut stream).await.map_err(|error| fault(&error))? {
        let change = Change {
            sequence: row.get(0),
            transaction: row.get(1),
            schema: row.get::<_, Option<String>>(2).unwrap_or_default(),
            table: row.get::<_, Option<String>>(3).unwrap_or_default(),
            kind: row.get(4),
            updated: row.get(5),
            arguments: row.get(6),
        };
        let statement = change.sql().map_err(|why| {
            Fault::new(
                "BTN-0785",
                format!("{node}: entry {} of the log is not understood: {why}", change.sequence),
                "Do not drop this schema. Read the log by hand.",
            )
        })?;
        sql_file.write_all(statement.as_bytes()).map_err(broken)?;
        csv_file.write_all(change.csv().as_bytes()).map_err(broken)?;
        tally.add(&change);
        if tally.total() % 10_000 == 0 {
            context.progress(format!("{node}: {} changes so far", tally.total()), None);
        }
    }
    let scripts = format!(
        "SELECT log_cmdargs::text FROM {schema}.sl_log_script
          WHERE log_origin = $1 AND NOT txid_visible_in_snapshot(log_txid, $2::text::txid_snapshot) ORDER BY log_actionseq"
    );
    for row in session.rows(&scripts, &[&origin, &mark.snapshot]).await.map_err(|error| fault(&error))? {
        tally.scripts += 1;
        let text: Option<String> = row.get(0);
        sql_file
            .write_all(format!("-- DDL: {}\n", text.unwrap_or_default().replace('\n', "\n-- ")).as_bytes())
            .map_err(broken)?;
    }
    sql_file.write_all(b"COMMIT;\n").map_err(broken)?;
    sql_file.finish().map_err(broken)?;
    csv_file.finish().map_err(broken)?;
    Ok(tally)
}
