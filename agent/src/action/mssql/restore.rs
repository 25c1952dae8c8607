//! `mssql.restore`: a database out of a full backup and the log backups after it.
//!
//! The chain is proven before anything is restored, and a database that people may be working in is only replaced where the
//! runbook says so, nobody is connected, and it is not what an earlier restore of these very files has become.

use async_trait::async_trait;
use baton_model::{
    action::mssql::{AfterRestore, Restore},
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};

use super::{
    chain::{Header, LeftOut, Lsn, Seen, Standing, Verdict, newest_full, plan},
    copy_of::{Copy, copy_of, restored_from, standing},
    instance::{Instance, Part},
    log_shipping::{apply::missing, left_out_data, left_out_words},
    restoring,
    sessions::{Ended, connected},
};
use crate::action::{Context, Effect, Failure, Perform};

/// The action of parameters; a fault where they make no sense.
pub fn bind(restore: &Restore) -> Result<Box<dyn Perform>, Fault> {
    if restore.paths.is_empty() {
        return Err(Fault::new("BTN-0498", "mssql.restore names no files", "Give paths."));
    }
    if restore.leave_out_unproven && restore.then == AfterRestore::Recovery {
        let message = "mssql.restore leaves out what cannot be proven, and brings the database online: nobody would see what it lacks";
        return Err(Fault::new("BTN-0498", message, "Say leave_out_unproven with then: norecovery alone."));
    }
    Ok(Box::new(Restoring(restore.clone())))
}

struct Restoring(Restore);

impl std::ops::Deref for Restoring {
    type Target = Restore;
    fn deref(&self) -> &Restore {
        &self.0
    }
}

/// The proven chain, and how far the database has come on it.
struct Look {
    full: Header,
    logs: Vec<Header>,
    /// What cannot be proven to go on from there.
    left_out: Vec<LeftOut>,
    copy: Option<Copy>,
    now: Option<Standing>,
    /// It was restored from this very full backup.
    same: bool,
}

impl Look {
    fn end(&self) -> Lsn {
        self.logs.last().map_or(self.full.last, |header| header.last)
    }
    fn applied(&self) -> Option<Lsn> {
        self.now.as_ref().filter(|_| self.same).map(|now| now.applied)
    }
    /// Restored from these files, and waiting for more of them.
    fn goes_on(&self) -> bool {
        self.same && self.copy.as_ref().is_some_and(|copy| copy.takes_logs() && !copy.in_group)
    }
}

impl Restoring {
    async fn look(&self, instance: &mut Instance<'_>) -> Result<Look, Fault> {
        let mut files = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            match instance.headers(path, path).await? {
                Some(Seen::Sets(sets)) => files.push(Seen::Sets(sets)),
                Some(Seen::Unreadable { why, .. }) => return Err(unusable(instance, path, &why)),
                None => return Err(unusable(instance, path, "the server cannot open it (3201)")),
            }
        }
        let full = newest_full(&self.database, &files).cloned().ok_or_else(|| self.no_full(&files))?;
        let start = Standing {
            database: self.database.clone(),
            family: full.family.clone(),
            fork: full.fork.clone(),
            applied: full.last,
        };
        let mut left_out = Vec::new();
        let logs = loop {
            let gap = match plan(&start, &files, None).verdict {
                Verdict::Nothing => break Vec::new(),
                Verdict::Apply(headers) => break headers,
                Verdict::Gap(gap) => gap,
                Verdict::Damaged(header) => {
                    let message = format!("{}: {} is damaged; nothing was restored", self.database, header.place());
                    return Err(Fault::new("BTN-0669", message, "Take another copy of it."));
                }
            };
            let unproven = gap.other_fork().filter(|log| self.leave_out_unproven && !log.damaged);
            let Some(unproven) = unproven else {
                let mut fault = missing(&self.database, &gap);
                fault.message.push_str(&left_out_words(&left_out));
                return Err(fault);
            };
            let fork = unproven.first_fork.as_deref().unwrap_or_default();
            let why = format!("it begins in recovery fork {fork}, and is not proven to go on from LSN {}", gap.needed);
            left_out.push(LeftOut { place: unproven.place(), why });
            for seen in &mut files {
                if let Seen::Sets(sets) = seen {
                    sets.retain(|header| header != unproven);
                }
            }
        };
        let copy = copy_of(instance, &self.database).await?;
        let (now, from) = match &copy {
            Some(_) => (standing(instance, &self.database).await?, restored_from(instance, &self.database).await?),
            // History of a database that was dropped says nothing.
            None => (None, None),
        };
        let same = match (&from, &full.set) {
            (Some(from), Some(set)) => from == set,
            _ => false,
        };
        Ok(Look { full, logs, left_out, copy, now, same })
    }

    /// The same chain, and where the server says that the database is now.
    async fn after(&self, look: Look, instance: &mut Instance<'_>) -> Result<Look, Fault> {
        let copy = copy_of(instance, &self.database).await?;
        let now = standing(instance, &self.database).await?;
        let same = look.full.set.is_some() && restored_from(instance, &self.database).await? == look.full.set;
        Ok(Look { copy, now, same, ..look })
    }

    fn no_full(&self, files: &[Seen]) -> Fault {
        let sets = files.iter().flat_map(|seen| match seen {
            Seen::Sets(sets) => sets.as_slice(),
            Seen::Unreadable { .. } => &[],
        });
        let words: Vec<String> = sets
            .map(|header| {
                let damaged = if header.damaged { ", damaged" } else { "" };
                format!("{} ({:?} of {}{damaged})", header.place(), header.kind, header.database)
            })
            .collect();
        let message =
            format!("none of the files holds a full backup of {} that is whole: {}", self.database, words.join(", "));
        Fault::new("BTN-0683", message, "Name a full backup of that database among paths.")
    }

    /// Whether the wished state holds.
    fn in_place(&self, look: &Look) -> bool {
        let Some(copy) = &look.copy else { return false };
        let complete = look.applied().is_some_and(|applied| applied >= look.end());
        complete
            && match self.then {
                // A copy that has joined a group since then went on from here.
                AfterRestore::Norecovery => copy.takes_logs() || copy.in_group,
                AfterRestore::Recovery => copy.is_open(),
            }
    }

    /// Why the database that is there may not be overwritten.
    async fn guard(&self, look: &Look, instance: &mut Instance<'_>) -> Result<(), Fault> {
        let Some(copy) = look.copy.as_ref().filter(|_| !look.goes_on()) else { return Ok(()) };
        let (label, database) = (instance.label(), &self.database);
        if copy.in_group {
            let message =
                format!("{label}: {database} has joined an availability group, and is not overwritten (3104)");
            return Err(Fault::new(
                "BTN-0684",
                message,
                "Take it out first (mssql.ag.leave) if this copy is the one to go.",
            ));
        }
        if look.same && !copy.takes_logs() {
            let message = format!(
                "{label}: {database} is {} and was restored from this very backup ({}): what was written since would be lost",
                copy.words(),
                look.full.place()
            );
            return Err(Fault::new(
                "BTN-0685",
                message,
                "If it really is to go, drop it by hand; or take a newer backup.",
            ));
        }
        let other = look
            .now
            .as_ref()
            .is_some_and(|now| now.family.is_some() && look.full.family.is_some() && now.family != look.full.family);
        // More log was applied to it than these files hold: what is only there would be lost.
        let further = look.now.as_ref().map(|now| now.applied).filter(|applied| *applied > look.end());
        if !self.replace && (!copy.takes_logs() || other || further.is_some()) {
            let beyond = further
                .map(|applied| format!(", to LSN {applied}, and the files only reach {}", look.end()))
                .unwrap_or_default();
            let message = format!("{label}: there is a database {database}, {}{beyond}", copy.words());
            return Err(Fault::new("BTN-0687", message, "Say replace: true if the backup is to take its place."));
        }
        let there = connected(instance, database).await?;
        if !there.is_empty() {
            return Err(restoring::in_use(&label, database, &there.iter().map(|one| one.words()).collect::<Vec<_>>()));
        }
        Ok(())
    }

    fn words(&self, look: &Look) -> String {
        let then = match self.then {
            AfterRestore::Norecovery => "left restoring",
            AfterRestore::Recovery => "brought online",
        };
        let now = look.copy.as_ref().map_or("absent".to_owned(), |copy| copy.words());
        format!(
            "restore {} ({now}) from {} and {} log backups to LSN {}, {then}{}",
            self.database,
            look.full.place(),
            look.logs.len(),
            look.end(),
            left_out_words(&look.left_out)
        )
    }

    fn is_there(&self, look: &Look) -> String {
        format!("{} is restored to LSN {}{}", self.database, look.end(), left_out_words(&look.left_out))
    }

    fn data(&self, look: &Look) -> Value {
        json!({ "full": look.full.place(), "logs": look.logs.len(), "left_out": left_out_data(&look.left_out), "lsn": look.end(), "finished": look.full.finished })
    }
}

fn unusable(instance: &Instance<'_>, path: &str, why: &str) -> Fault {
    let message = format!("{}: {path}: {why}", instance.label());
    Fault::new("BTN-0688", message, "See that the file is there, whole, and readable for the server's service account.")
}

#[async_trait]
impl Perform for Restoring {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut instance = Instance::open(&self.connection, context).await?;
        let look = self.look(&mut instance).await?;
        if self.in_place(&look) {
            return Ok(Observation::InPlace { note: self.is_there(&look) });
        }
        let refused = self.guard(&look, &mut instance).await.err();
        let refused = refused.map(|fault| format!("; it will be refused: {}", fault.message)).unwrap_or_default();
        Ok(Observation::Differs { change: format!("{}{refused}", self.words(&look)) })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut instance = Instance::open(&self.connection, context).await?;
        let look = self.look(&mut instance).await?;
        if self.in_place(&look) {
            return Ok(Effect { summary: self.is_there(&look), data: self.data(&look), changed: Some(false) });
        }
        self.guard(&look, &mut instance).await?;
        for left in &look.left_out {
            context.output().line(format!("left out: {}: {}", left.place, left.why));
        }
        let all = 1 + look.logs.len();
        let mut ended = Ended::default();
        if !look.goes_on() {
            let part = Part { done: 0, all };
            restoring::full(&mut instance, &self.database, &look.full.file, &look.full, self.replace, part).await?;
        }
        for (number, header) in look.logs.iter().enumerate() {
            let applied = standing(&mut instance, &self.database).await?.map(|now| now.applied);
            if applied.is_some_and(|applied| applied >= header.last) {
                continue;
            }
            if context.is_cancelled() {
                let message = format!("{}: {number} of {} log backups were restored", self.database, look.logs.len());
                return Err(Failure::Unclear(Fault::new("BTN-0674", message, "Retry goes on from there.")));
            }
            let part = Part { done: number + 1, all };
            restoring::log(&mut instance, &self.database, &header.file, header, part, &mut ended).await?;
        }
        if self.then == AfterRestore::Recovery {
            restoring::recover(&mut instance, &self.database, &mut ended).await?;
        }
        let look = self.after(look, &mut instance).await.map_err(Failure::Unclear)?;
        let state = look.copy.as_ref().map_or("absent".to_owned(), |copy| copy.words());
        let summary = format!(
            "{} was restored from {} and {} log backups to LSN {}, and is {state}{}",
            self.database,
            look.full.place(),
            look.logs.len(),
            look.end(),
            left_out_words(&look.left_out)
        );
        if !self.in_place(&look) {
            let applied = look.now.as_ref().map_or("unknown".to_owned(), |now| now.applied.to_string());
            let message = format!("{}: {summary}; the last applied LSN is {applied}", instance.label());
            return Err(Fault::new("BTN-0673", message, "See msdb.dbo.restorehistory, then retry.").into());
        }
        Ok(Effect { summary, data: self.data(&look), changed: None })
    }

    async fn found(&self, context: &Context) -> Result<Value, Fault> {
        let mut instance = Instance::open(&self.connection, context).await?;
        let look = self.look(&mut instance).await?;
        Ok(self.data(&look))
    }

    /// It goes on from what msdb says was restored.
    fn repeatable(&self) -> bool {
        true
    }
}
