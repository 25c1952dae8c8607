//! `mssql.log_shipping.copy`: what is on the share and not in the secondary's directory is there too.
//!
//! Told by header and LSN: a name proves nothing, and neither does a date. A file gets its final name when its bytes are on the
//! disk, equal to the source's, and the server has read the same header in it; until then its name ends with `.baton-copy`. The
//! server may see the share or not; where it does not, headers are read in the copy.

use std::collections::BTreeSet;

use async_trait::async_trait;
use baton_model::{
    action::mssql::LogShippingCopy,
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};

use super::{
    super::{
        chain::{Header, LeftOut, Lsn, Seen, Standing, log_of},
        copy_of::{existing, proven},
        instance::{Instance, at_server},
    },
    directory::{self, Entry, OURS, unfinished},
    left_out_data, left_out_words, listed,
    record::{self, Record},
};
use crate::action::{Context, Effect, Failure, Perform};

mod transfer;

use transfer::Paths;

/// One log, whatever its file is called.
type Identity = (Option<String>, Lsn, Lsn);

fn identity(header: &Header) -> Identity {
    (header.set.clone(), header.first, header.last)
}

/// Both sides, as they are.
struct Sides {
    standing: Standing,
    /// Sets in the destination.
    there: BTreeSet<Identity>,
    destination: Vec<(Entry, Seen)>,
    /// The share, or why it cannot be read.
    source: Result<Vec<Entry>, String>,
    record: Option<Record>,
}

/// What a file of the share is to the secondary.
enum Worth {
    Needed(Vec<Header>),
    Applied,
    There,
    None(String),
}

impl Sides {
    fn worth(&self, seen: &Seen) -> Worth {
        let sets = match seen {
            Seen::Unreadable { why, .. } => return Worth::None(why.clone()),
            Seen::Sets(sets) => sets,
        };
        let (ours, foreign): (Vec<_>, Vec<_>) = sets.iter().partition(|header| log_of(&self.standing, header).is_ok());
        if ours.is_empty() {
            let why = foreign.first().and_then(|header| log_of(&self.standing, header).err());
            return Worth::None(why.unwrap_or_else(|| "there is no backup in it".to_owned()));
        }
        let open: Vec<Header> =
            ours.into_iter().filter(|header| header.last > self.standing.applied).cloned().collect();
        match () {
            () if open.is_empty() => Worth::Applied,
            () if open.iter().all(|header| self.there.contains(&identity(header))) => Worth::There,
            () => Worth::Needed(open),
        }
    }

    fn entry(&self, name: &str) -> Option<&(Entry, Seen)> {
        self.destination.iter().find(|(entry, _)| entry.name == name)
    }

    /// What is known to be missing where the share cannot be read, from records alone.
    fn missing(&self) -> Vec<String> {
        let Some(record) = &self.record else {
            return vec!["no record of log shipping is left: what is missing is not known".to_owned()];
        };
        let base = |path: &str| path.rsplit(['\\', '/']).next().unwrap_or(path).to_owned();
        let mut known = Vec::new();
        match (&record.last_backup_file, &record.last_copied_file) {
            (Some(backup), Some(copied)) if base(backup) == base(copied) => {
                known.push(format!("the last backup that the primary reported, {}, was copied", base(backup)));
            }
            (Some(backup), copied) => known.push(format!(
                "{} of {} was the primary's last known backup; the last that was copied is {}",
                base(backup),
                record.last_backup.as_deref().unwrap_or("an unknown time"),
                copied.as_deref().map_or("unknown".to_owned(), base)
            )),
            (None, copied) => known.push(format!(
                "which backups the primary made after {} ({}) is not known here",
                copied.as_deref().map_or("the last copied one".to_owned(), base),
                record.last_copied.as_deref().unwrap_or("time unknown")
            )),
        }
        known
    }
}

struct Copying<'a> {
    parameters: &'a LogShippingCopy,
    context: &'a Context,
    instance: Instance<'a>,
    paths: Paths,
}

/// What came of it.
#[derive(Default)]
struct Outcome {
    copied: Vec<Value>,
    already: usize,
    applied: usize,
    left_out: Vec<LeftOut>,
    /// The server sees no share, and these would have to be copied to be told.
    untold: Vec<String>,
    needed: Vec<Header>,
}

impl<'a> Copying<'a> {
    async fn open(parameters: &'a LogShippingCopy, context: &'a Context) -> Result<Self, Fault> {
        let instance = Instance::open(&parameters.connection, context).await?;
        let paths = Paths {
            source: context.policy().check_path(&parameters.source)?,
            destination: context.policy().check_path(&parameters.destination)?,
        };
        Ok(Self { parameters, context, instance, paths })
    }

    fn at_server(&self) -> &'a str {
        self.parameters.destination_at_server.as_deref().unwrap_or(&self.parameters.destination)
    }

    async fn sides(&mut self) -> Result<Sides, Fault> {
        let database = &self.parameters.database;
        existing(&mut self.instance, database).await?;
        let standing = proven(&mut self.instance, database).await?;
        let here = self.paths.destination.to_string_lossy().into_owned();
        let entries = directory::list(&here).await.map_err(|why| {
            let message = format!("the directory {} cannot be read: {why}", self.parameters.destination);
            Fault::new("BTN-0672", message, "Correct destination, or let the agent's user read and write it.")
        })?;
        let (at_server, context) = (self.at_server(), self.context);
        let seen = directory::headers(&mut self.instance, at_server, &entries, context).await?;
        let there = seen.iter().flat_map(|seen| match seen {
            Seen::Sets(sets) => sets.iter().map(identity).collect(),
            Seen::Unreadable { .. } => Vec::new(),
        });
        let record = match record::read(&mut self.instance, database).await? {
            Some(record) => Some(record),
            None => record::kept(context, &self.instance, database)?,
        };
        Ok(Sides {
            standing,
            there: there.collect(),
            destination: entries.into_iter().zip(seen).collect(),
            source: directory::list(&self.paths.source.to_string_lossy()).await,
            record,
        })
    }

    fn share_is_down(&self, why: &str, sides: &Sides) -> Fault {
        let message =
            format!("the share {} cannot be read: {why}; {}", self.parameters.source, sides.missing().join("; "));
        let remedy = "Bring the share back and retry; or say source_may_be_down: true where its site is lost, and go on without what is missing.";
        Fault::new("BTN-0675", message, remedy)
    }

    /// Goes through the share; with `copy` it copies what is needed.
    async fn through(&mut self, sides: &mut Sides, entries: &[Entry], copy: bool) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::default();
        let mut server_sees_share = true;
        for (number, entry) in entries.iter().enumerate() {
            if self.context.is_cancelled() {
                let message =
                    format!("{} of {} files were looked at before the end of the step", number, entries.len());
                return Err(Failure::Unclear(Fault::new("BTN-0674", message, "Retry goes on from there.")));
            }
            let file = &entry.name;
            if let Some(why) = unfinished(file) {
                outcome.left_out.push(LeftOut { place: file.clone(), why: why.to_owned() });
                continue;
            }
            let mut seen = None;
            if server_sees_share {
                seen = self.instance.headers(&at_server(&self.parameters.source, file), file).await?;
                server_sees_share = seen.is_some();
            }
            // The server does not see the share: a file of the same bytes in the destination has the same header.
            if seen.is_none()
                && let Some((there, header)) = sides.entry(file)
                && there.bytes == entry.bytes
                && self.paths.same_bytes(file, self.context).await?
            {
                seen = Some(header.clone());
            }
            let worth = match &seen {
                Some(seen) => sides.worth(seen),
                None if copy => {
                    self.copy_to_look(sides, file, &mut outcome).await?;
                    continue;
                }
                None => {
                    outcome.untold.push(file.clone());
                    continue;
                }
            };
            match worth {
                Worth::Applied => outcome.applied += 1,
                Worth::There => outcome.already += 1,
                Worth::None(why) => outcome.left_out.push(LeftOut { place: file.clone(), why }),
                Worth::Needed(headers) if copy => {
                    self.context.progress(
                        format!("{file}: {} of {}", number + 1, entries.len()),
                        Some((number * 100 / entries.len()) as u8),
                    );
                    let hash = self.paths.copy(file, self.context).await?;
                    self.finish(sides, file, headers, &hash, &mut outcome).await?;
                }
                Worth::Needed(headers) => outcome.needed.extend(headers),
            }
        }
        Ok(outcome)
    }

    /// The header is read in a copy under another name.
    async fn copy_to_look(&mut self, sides: &mut Sides, file: &str, outcome: &mut Outcome) -> Result<(), Failure> {
        self.context.progress(format!("{file}: copied to read its header"), None);
        let hash = self.paths.copy(file, self.context).await?;
        let worth = match self.instance.headers(&at_server(self.at_server(), &format!("{file}{OURS}")), file).await? {
            Some(seen) => sides.worth(&seen),
            None => {
                self.paths.forget(file)?;
                let message = format!("{} cannot open {file}{OURS} in {}", self.instance.label(), self.at_server());
                let remedy = "Name the directory as the server sees it (destination_at_server), and let its service account read it.";
                return Err(Fault::new("BTN-0671", message, remedy).into());
            }
        };
        match worth {
            Worth::Needed(headers) => return self.finish(sides, file, headers, &hash, outcome).await,
            Worth::Applied => outcome.applied += 1,
            Worth::There => outcome.already += 1,
            Worth::None(why) => outcome.left_out.push(LeftOut { place: file.to_owned(), why }),
        }
        self.paths.forget(file)?;
        Ok(())
    }

    /// The server reads the same header in the copy, and it gets its name.
    async fn finish(
        &mut self,
        sides: &mut Sides,
        file: &str,
        headers: Vec<Header>,
        hash: &str,
        outcome: &mut Outcome,
    ) -> Result<(), Failure> {
        let read = self.instance.headers(&at_server(self.at_server(), &format!("{file}{OURS}")), file).await?;
        let same = match &read {
            Some(Seen::Sets(sets)) => {
                headers.iter().all(|header| sets.iter().any(|other| identity(other) == identity(header)))
            }
            _ => false,
        };
        if !same {
            self.paths.forget(file)?;
            let message = format!(
                "{}: the copy of {file} has the source's bytes, and its header is not what the source's was: {}",
                self.instance.label(),
                match read {
                    Some(Seen::Unreadable { why, .. }) => why,
                    Some(Seen::Sets(_)) => "other backups are in it".to_owned(),
                    None => "the server cannot open it (3201)".to_owned(),
                }
            );
            return Err(Fault::new(
                "BTN-0676",
                message,
                "See who writes into the share, and destination_at_server; then retry.",
            )
            .into());
        }
        // Another file may have that name: one that cannot be read is what a crash left, and is replaced; any other stays.
        let taken = sides.entry(file).map(|(_, seen)| matches!(seen, Seen::Sets(sets) if !sets.is_empty()));
        let name = match taken {
            Some(true) => format!("{}-{file}", headers[0].first),
            Some(false) | None => file.to_owned(),
        };
        let bytes = self.paths.name(file, &name)?;
        for header in &headers {
            sides.there.insert(identity(header));
        }
        let last = headers.last().expect("one at least");
        self.context.output().line(format!(
            "copied {file} as {name}: {bytes} bytes, sha256 {hash}, LSN {} to {}",
            headers[0].first, last.last
        ));
        outcome.copied.push(json!({
            "file": name, "bytes": bytes, "sha256": hash, "first_lsn": headers[0].first, "last_lsn": last.last,
        }));
        Ok(())
    }

    fn data(&self, sides: &Sides, outcome: &Outcome) -> Value {
        json!({
            "copied": listed(outcome.copied.clone()), "already": outcome.already, "applied": outcome.applied,
            "left_out": left_out_data(&outcome.left_out), "source_down": Value::Null, "missing": [],
            "applied_lsn": sides.standing.applied,
        })
    }

    fn down_data(&self, sides: &Sides, why: &str) -> Value {
        json!({
            "copied": listed(Vec::new()), "already": 0, "applied": 0, "left_out": left_out_data(&[]),
            "source_down": why, "missing": sides.missing(), "applied_lsn": sides.standing.applied,
        })
    }

    fn down_words(&self, sides: &Sides, why: &str) -> String {
        format!(
            "the share {} cannot be read ({why}), nothing was copied; {}",
            self.parameters.source,
            sides.missing().join("; ")
        )
    }
}

#[async_trait]
impl Perform for LogShippingCopy {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut copying = Copying::open(self, context).await?;
        let mut sides = copying.sides().await?;
        let entries = match &sides.source {
            Ok(entries) => entries.clone(),
            Err(why) if self.source_may_be_down => {
                return Ok(Observation::InPlace { note: copying.down_words(&sides, why) });
            }
            Err(why) => return Err(copying.share_is_down(why, &sides)),
        };
        let outcome = copying.through(&mut sides, &entries, false).await.map_err(|failure| match failure {
            Failure::Failed(fault) | Failure::Unclear(fault) => fault,
        })?;
        let left_out = left_out_words(&outcome.left_out);
        if !outcome.untold.is_empty() {
            let why = format!(
                "{} files of {} can only be told by copying them, since {} does not see the share",
                outcome.untold.len(),
                self.source,
                copying.instance.label()
            );
            return Ok(Observation::CannotTell { why });
        }
        Ok(match (outcome.needed.first(), outcome.needed.last()) {
            (Some(first), Some(last)) => Observation::Differs {
                change: format!(
                    "copy {} log backups from {} to {}: {} (LSN {}) to {} (LSN {}){left_out}",
                    outcome.needed.len(),
                    self.source,
                    self.destination,
                    first.place(),
                    first.first,
                    last.place(),
                    last.last
                ),
            },
            _ => Observation::InPlace {
                note: format!(
                    "every log of {} beyond LSN {} on {} is in {}{left_out}",
                    self.database, sides.standing.applied, self.source, self.destination
                ),
            },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut copying = Copying::open(self, context).await?;
        // What a crash left under our own ending.
        copying.paths.sweep()?;
        let mut sides = copying.sides().await?;
        let entries = match &sides.source {
            Ok(entries) => entries.clone(),
            Err(why) if self.source_may_be_down => {
                let (summary, data) = (copying.down_words(&sides, why), copying.down_data(&sides, why));
                return Ok(Effect { summary, data, changed: Some(false) });
            }
            Err(why) => return Err(copying.share_is_down(why, &sides).into()),
        };
        let outcome = copying.through(&mut sides, &entries, true).await?;
        for left in &outcome.left_out {
            context.output().line(format!("left out: {}: {}", left.place, left.why));
        }
        let summary = format!(
            "{}: {} log backups were copied, {} were there, {} are applied already{}",
            self.database,
            outcome.copied.len(),
            outcome.already,
            outcome.applied,
            left_out_words(&outcome.left_out)
        );
        Ok(Effect { summary, data: copying.data(&sides, &outcome), changed: Some(!outcome.copied.is_empty()) })
    }

    async fn found(&self, context: &Context) -> Result<Value, Fault> {
        let mut copying = Copying::open(self, context).await?;
        let mut sides = copying.sides().await?;
        match &sides.source {
            Err(why) => Ok(copying.down_data(&sides, why)),
            Ok(entries) => {
                let entries = entries.clone();
                let outcome = copying.through(&mut sides, &entries, false).await.map_err(|failure| match failure {
                    Failure::Failed(fault) | Failure::Unclear(fault) => fault,
                })?;
                Ok(copying.data(&sides, &outcome))
            }
        }
    }

    fn repeatable(&self) -> bool {
        true
    }

    /// What is there is not copied again.
    fn repeatable_blind(&self) -> bool {
        true
    }
}
