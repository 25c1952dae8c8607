//! `mssql.backup`: a backup file that the server can read back.
//!
//! What makes a file this task's own is its BackupName: run and step are written into it, so a repeated attempt knows its backup
//! and no other passes for it. A file of somebody else's is never overwritten and never appended to.

use std::path::PathBuf;

use async_trait::async_trait;
use baton_model::{
    action::mssql::{Backup, BackupKind},
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};

use super::{
    chain::{Header, Seen, SetKind},
    copy_of::{existing, settled},
    instance::{Instance, Part},
    sessions::{Ended, make_way},
};
use crate::{
    action::{Context, Effect, Failure, Perform, sql::sqlserver::fault},
    host::sqlserver::text::{literal, name},
};

/// `nvarchar(128)`.
const NAME_MAX: usize = 128;

/// The action of parameters.
pub fn bind(backup: &Backup) -> Result<Box<dyn Perform>, Fault> {
    Ok(Box::new(BackingUp(backup.clone())))
}

struct BackingUp(Backup);

impl std::ops::Deref for BackingUp {
    type Target = Backup;
    fn deref(&self) -> &Backup {
        &self.0
    }
}

/// What is at the path.
enum There {
    Nothing,
    /// This task's own.
    Own(Box<Header>),
    /// Of somebody else's, or not what is wished.
    Other(String),
    Unreadable(String),
}

fn kind_words(kind: BackupKind) -> &'static str {
    match kind {
        BackupKind::Full => "full backup",
        BackupKind::Log => "log backup",
        BackupKind::Tail => "tail of the log",
    }
}

async fn there(backup: &Backup, instance: &mut Instance<'_>) -> Result<There, Fault> {
    let seen = instance.headers(&backup.path, &backup.path).await?;
    let sets = match seen {
        None => return Ok(There::Nothing),
        Some(Seen::Unreadable { why, .. }) => return Ok(There::Unreadable(why)),
        Some(Seen::Sets(sets)) => sets,
    };
    let Some(last) = sets.last() else { return Ok(There::Unreadable("there is no backup in it".to_owned())) };
    let wished = match backup.kind {
        BackupKind::Full => last.kind == SetKind::Full,
        BackupKind::Log => last.kind == SetKind::Log,
        BackupKind::Tail => last.kind == SetKind::Log && last.tail,
    };
    let mark = mark(instance.context());
    let own = mark.is_some_and(|mark| mark == last.name);
    if own && wished && !last.damaged && last.database.eq_ignore_ascii_case(&backup.database) {
        return Ok(There::Own(Box::new(last.clone())));
    }
    let named = if last.name.is_empty() { "without a name".to_owned() } else { format!("named {:?}", last.name) };
    Ok(There::Other(format!("a backup of {} {named}, of {}", last.database, last.finished)))
}

/// Run and step; none in a dry run.
fn mark(context: &Context) -> Option<String> {
    let task = context.task()?;
    let mut text = format!("baton {} {}", task.run, task.step);
    if text.len() > NAME_MAX {
        text.truncate(text.floor_char_boundary(NAME_MAX));
    }
    Some(text)
}

/// A note of this run's: the backup was begun, or has been verified. It says nothing without the file itself.
fn note(context: &Context, path: &str, what: &str) -> Option<PathBuf> {
    let digest = baton_model::digest::Digest::of(&path).0;
    Some(context.run_directory()?.join("backups").join(format!("{}.{what}", &digest[..16])))
}

fn write_note(context: &Context, path: &str, what: &str, text: &str) -> Result<(), Fault> {
    let Some(note) = note(context, path, what) else { return Ok(()) };
    let parent = note.parent().expect("it is in a directory").to_owned();
    let written = std::fs::create_dir_all(&parent).and_then(|()| {
        std::fs::write(&note, text)?;
        std::fs::File::open(&note)?.sync_all()?;
        std::fs::File::open(&parent)?.sync_all()
    });
    written.map_err(|error| {
        Fault::new("BTN-0664", format!("cannot write {}: {error}", note.display()), "Make room on the disk.")
    })
}

fn has_note(context: &Context, path: &str, what: &str, text: &str) -> bool {
    note(context, path, what).and_then(|note| std::fs::read_to_string(note).ok()).is_some_and(|found| found == text)
}

/// Which backup a note is about.
fn identity(header: &Header) -> String {
    format!("{} {} {} {}", header.set.as_deref().unwrap_or("-"), header.first, header.last, header.finished)
}

fn data(backup: &Backup, header: &Header) -> Value {
    json!({
        "path": backup.path, "database": backup.database, "first_lsn": header.first, "last_lsn": header.last,
        "finished": header.finished, "set": header.set, "position": header.position,
    })
}

impl BackingUp {
    fn statement(&self, mark: Option<&str>, anew: bool) -> String {
        let what = if self.kind == BackupKind::Full { "DATABASE" } else { "LOG" };
        let mut options = vec!["CHECKSUM".to_owned()];
        if let Some(mark) = mark {
            options.push(format!("NAME = {}", literal(mark)));
        }
        if self.copy_only {
            options.push("COPY_ONLY".to_owned());
        }
        if self.kind == BackupKind::Tail {
            options.push("NORECOVERY".to_owned());
        }
        if anew {
            options.push("FORMAT".to_owned());
        }
        format!("BACKUP {what} {} TO DISK = {} WITH {}", name(&self.database), literal(&self.path), options.join(", "))
    }

    /// `before` is an own backup that was there and does not do: what is new is another one.
    async fn write(
        &self,
        instance: &mut Instance<'_>,
        anew: bool,
        before: Option<&Header>,
        ended: &mut Ended,
    ) -> Result<Box<Header>, Failure> {
        let sql = self.statement(mark(instance.context()).as_deref(), anew);
        let what = format!("{}: {}", self.database, kind_words(self.kind));
        let mut refused = 0;
        instance.context().progress(&what, Some(0));
        loop {
            let said = instance.long(&sql, &what, Part::default()).await;
            match (there(self, instance).await, said) {
                (Ok(There::Own(header)), _) if before.is_none_or(|before| identity(before) != identity(&header)) => {
                    return Ok(header);
                }
                (_, Err(error)) if error.number() == Some(3101) && self.kind == BackupKind::Tail => {
                    // The tail needs the database for itself.
                    make_way(instance, &self.database, refused, ended).await?;
                    refused += 1;
                }
                (Ok(_), Err(error)) if !error.is_uncertain() => return Err(Failure::Failed(fault(&error))),
                (_, Err(error)) => return Err(Failure::Unclear(fault(&error))),
                (Err(unreadable), Ok(())) => return Err(Failure::Unclear(unreadable)),
                (Ok(found), Ok(())) => {
                    let found = match found {
                        There::Nothing => "the server cannot open the file".to_owned(),
                        There::Other(what) => format!("the last backup in the file is {what}"),
                        There::Unreadable(why) => why,
                        There::Own(_) => "the last backup in the file is the one that was there before".to_owned(),
                    };
                    let message = format!("{}: BACKUP ended without an error, and {found}", instance.label());
                    return Err(Fault::new("BTN-0681", message, "Look at the file with RESTORE HEADERONLY.").into());
                }
            }
        }
    }

    async fn prove(&self, instance: &mut Instance<'_>, header: &Header) -> Result<(), Failure> {
        let context = instance.context();
        let sql =
            format!("RESTORE VERIFYONLY FROM DISK = {} WITH FILE = {}, CHECKSUM", literal(&self.path), header.position);
        let what = format!("{}: verify {}", self.database, self.path);
        instance.long(&sql, &what, Part::default()).await.map_err(|error| {
            if error.is_uncertain() {
                return Failure::Unclear(fault(&error));
            }
            let message = format!("the backup {} does not verify: {error}", self.path);
            Failure::Failed(Fault::new(
                "BTN-0682",
                message,
                "It is no backup: see the disk, then make another under another path.",
            ))
        })?;
        Ok(write_note(context, &self.path, "verified", &identity(header))?)
    }

    /// A tail leaves the database restoring; without that the backup is not what was wished.
    async fn left_as_wished(&self, instance: &mut Instance<'_>) -> Result<bool, Fault> {
        Ok(self.kind != BackupKind::Tail || existing(instance, &self.database).await?.state == "RESTORING")
    }
}

#[async_trait]
impl Perform for BackingUp {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut instance = Instance::open(&self.connection, context).await?;
        let copy = existing(&mut instance, &self.database).await?;
        let make = format!("{} of {} ({}) to {}", kind_words(self.kind), self.database, copy.words(), self.path);
        Ok(match there(self, &mut instance).await? {
            There::Own(header) if !self.left_as_wished(&mut instance).await? => Observation::Differs {
                change: format!("{make}; the file of {} is there, and the database is not restoring", header.finished),
            },
            There::Own(header) if !self.verify || has_note(context, &self.path, "verified", &identity(&header)) => {
                Observation::InPlace {
                    note: format!("{} holds this step's {} of {}", self.path, kind_words(self.kind), header.finished),
                }
            }
            There::Own(_) => Observation::Differs { change: format!("verify {}", self.path) },
            There::Nothing => Observation::Differs { change: make },
            There::Other(what) => {
                Observation::Differs { change: format!("{make}: it will be refused, the file holds {what}") }
            }
            There::Unreadable(why) => Observation::Differs { change: format!("{make}: there is a file, and {why}") },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut instance = Instance::open(&self.connection, context).await?;
        settled(&mut instance, &self.database).await?;
        let mut ended = Ended::default();
        let begun = mark(context).unwrap_or_default();
        let found = there(self, &mut instance).await?;
        let mut changed = true;
        let header = match found {
            There::Own(header) if self.left_as_wished(&mut instance).await? => {
                changed = false;
                header
            }
            There::Nothing => {
                write_note(context, &self.path, "begun", &begun)?;
                self.write(&mut instance, false, None, &mut ended).await?
            }
            // A tail whose database is open again: its log is nowhere else, so the new one comes behind it.
            There::Own(before) => self.write(&mut instance, false, Some(&before), &mut ended).await?,
            // What this run began and did not end is no backup of anybody's.
            There::Unreadable(_) if has_note(context, &self.path, "begun", &begun) => {
                self.write(&mut instance, true, None, &mut ended).await?
            }
            There::Unreadable(what) | There::Other(what) => {
                let message = format!("{}: {} exists, and it is not this run's: {what}", instance.label(), self.path);
                return Err(Fault::new(
                    "BTN-0680",
                    message,
                    "Give another path, or move that file away: nothing is overwritten.",
                )
                .into());
            }
        };
        if self.verify && !has_note(context, &self.path, "verified", &identity(&header)) {
            self.prove(&mut instance, &header).await?;
        }
        if !self.left_as_wished(&mut instance).await? {
            let message = format!(
                "{}: the tail of {} was backed up, and the database is not restoring",
                instance.label(),
                self.database
            );
            return Err(Fault::new("BTN-0681", message, "See its state before anything else.").into());
        }
        let verified = if self.verify { ", verified" } else { "" };
        let sessions = if ended.count() > 0 { format!("; sessions ended: {}", ended.words()) } else { String::new() };
        Ok(Effect {
            summary: format!(
                "{} of {} in {}{verified}, LSN {} to {}{sessions}",
                kind_words(self.kind),
                self.database,
                self.path,
                header.first,
                header.last
            ),
            data: data(self, &header),
            changed: Some(changed),
        })
    }

    async fn found(&self, context: &Context) -> Result<Value, Fault> {
        let mut instance = Instance::open(&self.connection, context).await?;
        Ok(match there(self, &mut instance).await? {
            There::Own(header) => data(self, &header),
            _ => Value::Null,
        })
    }

    /// An own backup is found by its name.
    fn repeatable(&self) -> bool {
        true
    }
}
