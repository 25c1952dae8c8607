//! RESTORE, one statement at a time, each counted as done when the server's own state says so.
//!
//! Apart because three actions restore, and all must treat an error alike: read the state again, and only then decide. It never
//! decides what is restored; a plan has been proven before.

use std::time::Duration;

use baton_model::outcome::Fault;

use super::{
    chain::Header,
    copy_of::{existing, proven},
    instance::{Instance, Part},
    sessions::{Ended, connected, end_once, make_way},
};
use crate::{
    action::{Failure, sql::sqlserver::fault},
    host::sqlserver::text::{literal, name},
};

/// Between two looks at a database that recovers.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// One log backup, from a path as the server sees it. Readers of a standby database are ended.
pub async fn log(
    instance: &mut Instance<'_>,
    database: &str,
    path: &str,
    header: &Header,
    part: Part,
    ended: &mut Ended,
) -> Result<(), Failure> {
    let what = format!("{database}: file {} of {}, {}", part.done + 1, part.all, header.place());
    instance.context().progress(&what, Some((part.done * 100 / part.all.max(1)) as u8));
    let (mut restart, mut refused) = (false, 0);
    loop {
        let restarted = if restart { ", RESTART" } else { "" };
        let sql = format!(
            "RESTORE LOG {} FROM DISK = {} WITH FILE = {}, NORECOVERY{restarted}",
            name(database),
            literal(path),
            header.position
        );
        let said = instance.long(&sql, &what, part).await;
        // Whatever it said (4326 too): msdb says how far it came.
        let standing = match proven(instance, database).await {
            Ok(standing) => standing,
            Err(unreadable) => return Err(Failure::Unclear(said.as_ref().err().map_or(unreadable, fault))),
        };
        if standing.applied >= header.last {
            return Ok(());
        }
        match said {
            Ok(()) => {
                let message = format!(
                    "{}: {} was restored without an error, and the last applied LSN is {} and not {}",
                    instance.label(),
                    header.place(),
                    standing.applied,
                    header.last
                );
                return Err(Fault::new("BTN-0673", message, "See msdb.dbo.restorehistory, then retry.").into());
            }
            Err(error) if error.number() == Some(3101) => {
                make_way(instance, database, refused, ended).await?;
                refused += 1;
            }
            // A session that broke may go on over there: what msdb says now need not be its last word.
            Err(error) if instance.context().is_cancelled() || error.is_uncertain() => {
                return Err(Failure::Unclear(fault(&error)));
            }
            // An earlier restore of it was cut short: it is done again, from where it was.
            Err(error) if error.number() == Some(4319) && !restart => restart = true,
            Err(error) => return Err(Failure::Failed(fault(&error))),
        }
    }
}

/// A full backup, left restoring. Nobody's session is ended for it: who is in the database is told.
pub async fn full(
    instance: &mut Instance<'_>,
    database: &str,
    path: &str,
    header: &Header,
    replace: bool,
    part: Part,
) -> Result<(), Failure> {
    let what = format!("{database}: {}", header.place());
    instance.context().progress(&what, Some(0));
    let mut restart = false;
    loop {
        let (replaced, restarted) = (if replace { ", REPLACE" } else { "" }, if restart { ", RESTART" } else { "" });
        let sql = format!(
            "RESTORE DATABASE {} FROM DISK = {} WITH FILE = {}, NORECOVERY{replaced}{restarted}",
            name(database),
            literal(path),
            header.position
        );
        let error = match instance.long(&sql, &what, part).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match error.number() {
            Some(4319) if !restart => restart = true,
            Some(3101) => {
                let there = connected(instance, database).await?;
                return Err(in_use(
                    &instance.label(),
                    database,
                    &there.iter().map(|one| one.words()).collect::<Vec<_>>(),
                )
                .into());
            }
            // A restore has no halves that count: what is there is read before it is tried again.
            _ if error.is_uncertain() => return Err(Failure::Unclear(fault(&error))),
            _ => return Err(Failure::Failed(fault(&error))),
        }
    }
}

/// Somebody is in a database that is to be replaced.
pub fn in_use(label: &str, database: &str, sessions: &[String]) -> Fault {
    let named = if sessions.is_empty() {
        "somebody holds it".to_owned()
    } else {
        sessions[..sessions.len().min(10)].join("; ")
    };
    let message = format!("{label}: {database} is in use, and is not replaced under anybody: {named}");
    Fault::new("BTN-0686", message, "See whose they are; end them with mssql.kill_connections, then retry.")
}

/// `RESTORE DATABASE … WITH RECOVERY`, with readers of a standby database ended, and success read from the state alone.
pub async fn recover(instance: &mut Instance<'_>, database: &str, ended: &mut Ended) -> Result<(), Failure> {
    let context = instance.context();
    let sql = format!("RESTORE DATABASE {} WITH RECOVERY", name(database));
    let what = format!("{database}: recovery");
    let mut refused = 0;
    context.progress(&what, None);
    loop {
        let copy = existing(instance, database).await?;
        match copy.state.as_str() {
            "ONLINE" if !copy.standby => return Ok(()),
            // On its way: of our own statement, or of an earlier process whose session still works.
            "RECOVERING" => {}
            "RESTORING" | "ONLINE" => {
                if copy.standby {
                    end_once(instance, database, ended).await?;
                }
                let said = instance.long(&sql, &what, Part::default()).await;
                let now = match (existing(instance, database).await, &said) {
                    (Ok(copy), _) => copy,
                    (Err(_), Err(error)) => return Err(Failure::Unclear(fault(error))),
                    (Err(unreadable), Ok(())) => return Err(Failure::Unclear(unreadable)),
                };
                if now.is_open() {
                    return Ok(());
                }
                match said {
                    Err(error) if error.number() == Some(3101) => {
                        make_way(instance, database, refused, ended).await?;
                        refused += 1;
                        continue;
                    }
                    // 3153 says that it is online: the state will.
                    Err(error) if error.is_uncertain() && now.state != "RECOVERING" => {
                        return Err(Failure::Unclear(fault(&error)));
                    }
                    Err(error) if now.state != "RECOVERING" && error.number() != Some(3153) => {
                        return Err(Failure::Failed(fault(&error)));
                    }
                    _ => {}
                }
            }
            other => {
                let message =
                    format!("{}: {database} is {other} and cannot be brought online by a restore", instance.label());
                return Err(Fault::new("BTN-0665", message, "See the instance's error log for why.").into());
            }
        }
        let over = tokio::select! {
            () = context.cancelled() => true,
            () = tokio::time::sleep(AGAIN_AFTER) => false,
        };
        if over {
            let message = format!("{}: {database} was not online before the end of the step", instance.label());
            return Err(Failure::Unclear(Fault::new("BTN-0666", message, "See its state; retry looks first.")));
        }
    }
}
