//! `slony.copy`: every table of the old origin into the new one, where the old one's databases can still be read: the
//! vendor's "back up the database, copy it to the secondary, restore it".
//!
//! Apart because it is the one step that overwrites a side as a whole. It must never carry the replication schema along, nor
//! its triggers: with them the copy would believe that it is the old node. One restore is one transaction: all of it, or none.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use baton_model::{
    action::slony::Copy,
    outcome::{Fault, Observation},
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    action::{Context, Effect, Failure, Perform, sql::fault},
    host::{postgres::Session, program::Program},
    secrets::Secret,
};

use super::{
    node::Node,
    pairs, sentence,
    slonik::program,
    state::{look, relations},
};

/// Two sums over the rows' digests: equal for equal contents, in whatever order the rows are read.
const PRINT: &str = "SELECT count(*), concat(sum(('x' || left(md5(t::text), 16))::bit(64)::int8::numeric), ':',
    sum(('x' || right(md5(t::text), 16))::bit(64)::int8::numeric)) FROM ONLY @ t";
/// What a row looks like as text must not depend on either server's settings.
const PLAIN: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres';
    SET extra_float_digits = 3; SET bytea_output = 'hex'; SET xmloption = 'content'; SET search_path = ''";

/// Rows and their print, by table; a sequence has its position.
type Contents = BTreeMap<String, (i64, String)>;

async fn contents(session: &Session, node: &Node) -> Result<Contents, Fault> {
    let failed = |error: crate::host::postgres::Error| fault(&error);
    let relations = relations(session, node).await?;
    session.batch(PLAIN).await.map_err(failed)?;
    let mut found = Contents::new();
    for relation in relations {
        let one = if relation.is_table {
            let row = session.row(&PRINT.replace('@', &relation.name), &[]).await.map_err(failed)?;
            (row.get(0), row.get(1))
        } else {
            let sql = format!("SELECT concat(last_value, ':', is_called) FROM {}", relation.name);
            (0, session.row(&sql, &[]).await.map_err(failed)?.get(0))
        };
        found.insert(relation.name, one);
    }
    Ok(found)
}

/// What is not the same on both sides; what only the target has is its own affair.
fn differences(from: &Contents, to: &Contents) -> Vec<String> {
    let differing = from.iter().filter(|(name, one)| to.get(*name) != Some(one));
    differing
        .map(|(name, (rows, _))| match to.get(name) {
            None => format!("{name} is missing"),
            Some((there, _)) if there != rows => format!("{name} has {there} rows instead of {rows}"),
            Some(_) => format!("{name} has other contents"),
        })
        .collect()
}

/// A copy into a database that replicates would be undone, or spread.
async fn target(to: &Node, context: &Context) -> Result<Session, Fault> {
    let (session, view) = look(to, context).await?;
    match view {
        None => Ok(session),
        Some(view) => {
            let message =
                format!("{to} still has the replication schema ({}): nothing is copied into it", view.role().as_str());
            Err(Fault::new("BTN-0786", message, "Drop it first (slony.drop), then retry."))
        }
    }
}

#[async_trait]
impl Perform for Copy {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut parts = Vec::new();
        let mut differ = false;
        for (from, to) in pairs(&self.from, &self.to, &self.databases, &self.cluster, context).await? {
            let session = target(&to, context).await?;
            let source = match from.open(context).await {
                Ok(source) => source,
                // Whether it was copied before it went is not known.
                Err(fault) => return Ok(Observation::CannotTell { why: fault.message }),
            };
            let (left, right) = (contents(&source, &from).await?, contents(&session, &to).await?);
            let different = differences(&left, &right);
            differ |= !different.is_empty();
            parts.push((
                from.database.clone(),
                match different.as_slice() {
                    [] => format!("{} has the contents of {}: {} tables and sequences", to.name, from.name, left.len()),
                    some => format!("replace {}'s contents by {}'s: {}", to.name, from.name, shown(some)),
                },
            ));
        }
        let text = sentence(&parts);
        Ok(if differ { Observation::Differs { change: text } } else { Observation::InPlace { note: text } })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let pairs = pairs(&self.from, &self.to, &self.databases, &self.cluster, context).await?;
        // Every refusal before the first change.
        for (from, to) in &pairs {
            from.open(context).await?;
            target(to, context).await?;
        }
        let mut parts = Vec::new();
        let mut data = serde_json::Map::new();
        let mut changed = false;
        for (from, to) in &pairs {
            let source = from.open(context).await?;
            let before = contents(&source, from).await?;
            if differences(&before, &contents(&target(to, context).await?, to).await?).is_empty() {
                parts.push((from.database.clone(), "is the same already".to_owned()));
                continue;
            }
            let (file, sha256) = dump(from, context).await?;
            restore(&file, from, to, context).await?;
            changed = true;
            let (left, right) = (contents(&source, from).await?, contents(&target(to, context).await?, to).await?);
            let different = differences(&left, &right);
            if !different.is_empty() {
                let message = format!("{to} was restored, and is not what {from} is: {}", shown(&different));
                let remedy = "See what still writes on either side (the services must be stopped), then retry.";
                return Err(Fault::new("BTN-0787", message, remedy).into());
            }
            let rows: i64 = left.values().map(|(rows, _)| rows).sum();
            let text =
                format!("{rows} rows in {} tables and sequences copied from {} and compared", left.len(), from.name);
            data.insert(from.database.clone(), json!({ "rows": rows, "relations": left.len(), "sha256": sha256 }));
            context.progress(format!("{to}: {text}"), None);
            parts.push((to.label(), text));
        }
        Ok(Effect { summary: sentence(&parts), data: data.into(), changed: Some(changed) })
    }

    /// A restore is one transaction, and what is equal is left alone.
    fn repeatable(&self) -> bool {
        true
    }
}

fn shown(different: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = different.len().saturating_sub(SHOWN);
    let some = different.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { some } else { format!("{some} and {more} more") }
}

/// A file that only the agent reads, in the task's directory, and its digest.
async fn dump(from: &Node, context: &Context) -> Result<(PathBuf, String), Failure> {
    let nowhere = || Fault::new("BTN-0788", "a dry run has no files", "");
    let file = context.directory().ok_or_else(nowhere)?.join(format!("copy-{}.dump", from.database));
    context.progress(format!("{from}: pg_dump"), None);
    let dump = ["-Fc", "--no-password", "--lock-wait-timeout=10000", "-N", &from.schema(), "-N", "baton", "-f"];
    run("pg_dump", &dump, &file, from, context).await?;
    let path = file.clone();
    let digest = tokio::task::spawn_blocking(move || digest(&path)).await.map_err(std::io::Error::other).flatten();
    let sha256 = digest.map_err(|error| unreadable(&file, &error))?;
    context.output().line(format!("{from}: {} has sha256 {sha256}", file.display()));
    Ok((file, sha256))
}

async fn restore(file: &Path, from: &Node, to: &Node, context: &Context) -> Result<(), Failure> {
    let list = file.with_extension("list");
    let mut listing = Program::new([shown_program("pg_restore")?, "-l".into(), "-f".into(), text(&list)?, text(file)?]);
    listing.capture = true;
    let ended = listing.run(context).await?;
    if !ended.is_success() {
        return Err(failed("pg_restore -l", to, &ended.how()).into());
    }
    let all = fs::read_to_string(&list).map_err(|error| unreadable(&list, &error))?;
    fs::write(&list, without_replication(&all, &from.schema())).map_err(|error| unreadable(&list, &error))?;
    context.progress(format!("{to}: pg_restore"), None);
    let restore = ["--no-password", "-1", "--clean", "--if-exists", "-L", &text(&list)?];
    run("pg_restore", &restore, file, to, context).await
}

/// Slony's triggers are listed with the tables, though its schema was left out.
fn without_replication(list: &str, schema: &str) -> String {
    let of_slony = format!(" {schema}_");
    let kept = list.lines().filter(|line| !(line.contains(" TRIGGER ") && line.contains(&of_slony)));
    kept.map(|line| format!("{line}\n")).collect()
}

async fn run(name: &str, arguments: &[&str], file: &Path, node: &Node, context: &Context) -> Result<(), Failure> {
    let mut argv = vec![shown_program(name)?, "-d".to_owned(), node.conninfo()];
    argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    argv.push(text(file)?);
    let mut program = Program::new(argv);
    // A writer that holds a table must not hold up everything behind it without an end.
    program.environment.push(("PGOPTIONS".to_owned(), Secret::new("-c lock_timeout=10000".to_owned())));
    if let Some(password) = &node.target.password {
        program.environment.push(("PGPASSWORD".to_owned(), Secret::new(password.as_str().to_owned())));
    }
    let ended = program.run(context).await?;
    if ended.is_success() { Ok(()) } else { Err(failed(name, node, &ended.how()).into()) }
}

fn failed(program: &str, node: &Node, how: &str) -> Fault {
    let message = format!("{node}: {program} ended with {how}; nothing was changed in this database");
    Fault::new("BTN-0789", message, "Its output says why. Put it right, then retry.")
}

fn shown_program(name: &str) -> Result<String, Fault> {
    text(&program(name)?)
}

fn text(path: &Path) -> Result<String, Fault> {
    let message = || format!("{} is not text", path.display());
    path.to_str().map(str::to_owned).ok_or_else(|| Fault::new("BTN-0788", message(), "Rename it."))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new("BTN-0788", format!("cannot use {}: {error}", path.display()), "Make room on the disk, then retry.")
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slonys_triggers_are_left_out_of_the_list() {
        let list = "3; 1 2 TABLE public _slony_notes slony\n4; 1 3 TRIGGER public session _slony_logtrigger slony\n\
                    5; 1 4 TRIGGER public session audit slony\n";
        let kept = without_replication(list, "_slony");
        assert_eq!(kept.lines().map(|line| &line[..1]).collect::<String>(), "35");
    }
}
