//! Who is connected to a database, and ending that.
//!
//! Apart because KILL takes no parameter: a number that the server gave is written into a statement here and nowhere else. It
//! never ends a system session or its own, and takes "is gone already" for what it is.

use std::{collections::BTreeMap, time::Duration};

use baton_model::outcome::Fault;
use serde::Serialize;

use super::instance::Instance;
use crate::{action::sql::sqlserver::fault, host::sqlserver::Parameter};

/// Between two rounds: pooled clients come back at once, and a rollback takes its time.
const ROUND_EVERY: Duration = Duration::from_millis(200);
/// Before each KILL that makes way.
const PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(2),
    Duration::from_millis(8),
    Duration::from_millis(32),
    Duration::from_millis(128),
];
/// From so many refusals on a round begins with the longer wait.
const OFTEN: usize = 50;
const SELDOM: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Connected {
    pub session: i64,
    pub login: String,
    pub host: String,
    pub program: String,
}

impl Connected {
    /// `sql\app on WEB1 (POM), session 57`.
    pub fn words(&self) -> String {
        let host = if self.host.is_empty() { "an unnamed host" } else { &self.host };
        let program = if self.program.is_empty() { String::new() } else { format!(" ({})", self.program) };
        format!("{} on {host}{program}, session {}", self.login, self.session)
    }
}

/// Everyone whose current database it is. Somebody in another database with a lock in this one is not seen here: RESTORE then says
/// 3101 again, and the callers come back.
pub async fn connected(instance: &mut Instance<'_>, database: &str) -> Result<Vec<Connected>, Fault> {
    const SQL: &str = "SELECT session_id, login_name, host_name, program_name FROM sys.dm_exec_sessions \
                       WHERE database_id = DB_ID(@P1) AND is_user_process = 1 AND session_id <> @@SPID ORDER BY session_id";
    let rows = instance.rows(SQL, &[Parameter::Text(database)]).await?;
    let text = |row: &crate::host::sqlserver::Row, name: &str| row.text(name).unwrap_or_default().trim().to_owned();
    let read = |row: &crate::host::sqlserver::Row| {
        Some(Connected {
            session: row.int("session_id")?,
            login: text(row, "login_name"),
            host: text(row, "host_name"),
            program: text(row, "program_name"),
        })
    };
    Ok(rows.iter().filter_map(read).collect())
}

/// Ends them once, all in one batch: the first must not be back before the last is told. Who was told to end is added to `ended`;
/// whether they are gone, the next look says.
pub async fn end_once(instance: &mut Instance<'_>, database: &str, ended: &mut Ended) -> Result<usize, Fault> {
    let found = connected(instance, database).await?;
    if found.is_empty() {
        return Ok(0);
    }
    let kills: Vec<String> = found.iter().map(|one| format!("KILL {}", one.session)).collect();
    match instance.batch(&kills.join("; ")).await {
        Ok(()) => {}
        // One is gone meanwhile, is not a user's, or is our own; the others were told.
        Err(error) if matches!(error.number(), Some(6101 | 6106 | 6107 | 6104)) => {}
        Err(error) => return Err(fault(&error)),
    }
    found.iter().for_each(|one| ended.add(one));
    Ok(found.len())
}

/// Makes way for a statement that wants the database for itself and was refused (3101), `refused` times before now: the caller
/// sends it again at once, since a client that has lost its connection is back within milliseconds, and every wait between KILL and
/// the statement is its chance. What it waits before that is for sessions that take their time to end, and never the same for long.
pub async fn make_way(
    instance: &mut Instance<'_>,
    database: &str,
    refused: usize,
    ended: &mut Ended,
) -> Result<(), Fault> {
    let round = refused % PAUSES.len();
    // A server writes each refusal into its error log.
    let pause = if refused >= OFTEN && round == 0 { SELDOM } else { PAUSES[round] };
    let over = tokio::select! {
        biased;
        () = instance.context().cancelled() => true,
        () = tokio::time::sleep(pause) => false,
    };
    if over {
        return Err(come_back(instance, database, ended));
    }
    let found = end_once(instance, database, ended).await?;
    let times = refused + 1;
    instance
        .context()
        .progress(format!("{database} is in use (refusal {times}): {found} sessions were told to end"), None);
    Ok(())
}

/// Ends them again and again until a look finds nobody; an error at the task's end, with those who are still there.
pub async fn end_all(instance: &mut Instance<'_>, database: &str, ended: &mut Ended) -> Result<(), Fault> {
    loop {
        let found = end_once(instance, database, ended).await?;
        if found == 0 {
            return Ok(());
        }
        instance.context().progress(format!("{database}: {found} sessions were told to end"), None);
        let ended_early = tokio::select! {
            () = instance.context().cancelled() => true,
            () = tokio::time::sleep(ROUND_EVERY) => false,
        };
        if ended_early {
            return Err(come_back(instance, database, ended));
        }
    }
}

fn come_back(instance: &Instance<'_>, database: &str, ended: &Ended) -> Fault {
    let label = instance.label();
    if ended.count() == 0 {
        let message = format!("{label}: {database} is in use, and it is nobody's current database");
        let remedy = "See who holds it (sys.dm_tran_locks, resource_type DATABASE), or whether an earlier RESTORE still runs, then retry.";
        return Fault::new("BTN-0663", message, remedy);
    }
    let message = format!("{label}: sessions of {database} come back or do not end: {}", ended.words());
    let remedy =
        "Stop what connects (services, pools), see KILL … WITH STATUSONLY for one that rolls back, then retry.";
    Fault::new("BTN-0663", message, remedy)
}

/// Whom a task ended, and how often: by who they are, since a pool's sessions come back under other numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended(BTreeMap<(String, String, String), u32>);

impl Ended {
    fn add(&mut self, session: &Connected) {
        *self.0.entry((session.login.clone(), session.host.clone(), session.program.clone())).or_default() += 1;
    }

    pub fn count(&self) -> u32 {
        self.0.values().sum()
    }

    pub fn words(&self) -> String {
        let one = |((login, host, program), times): (&(String, String, String), &u32)| {
            let times = if *times > 1 { format!(", {times} times") } else { String::new() };
            format!("{login} on {} ({program}{times})", if host.is_empty() { "an unnamed host" } else { host })
        };
        match self.0.is_empty() {
            true => "nobody".to_owned(),
            false => self.0.iter().take(10).map(one).collect::<Vec<_>>().join(", "),
        }
    }

    pub fn data(&self) -> serde_json::Value {
        let one = |((login, host, program), times): (&(String, String, String), &u32)| serde_json::json!({ "login": login, "host": host, "program": program, "times": times });
        self.0.iter().take(40).map(one).collect()
    }
}
