//! An instance asked about its own affairs: a session in master, long statements beside a watcher, and files as the server
//! sees them.
//!
//! Apart from the availability groups' statements, which return before their effect: BACKUP and RESTORE answer when they have
//! ended, and the question is only how far they are. No conclusion is drawn here from an error; the callers read the state again.

use std::time::Duration;

use baton_model::{action::sql::Connection, outcome::Fault};
use tokio::time::Instant;

use super::chain::{Header, Lsn, Seen, SetKind};
use crate::{
    action::{
        Context,
        sql::{
            limits,
            sqlserver::{fault, target},
        },
    },
    host::sqlserver::{Error, Limits, Parameter, Row, Session, Target, text::literal},
};

/// Between two looks at a long statement.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// So long one look may take: the watcher must never outlive what it watches.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// See the module.
pub struct Instance<'a> {
    target: Target,
    session: Session,
    context: &'a Context,
}

/// How far a long statement is, as part of a whole: `2 of 5`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Part {
    pub done: usize,
    pub all: usize,
}

impl<'a> Instance<'a> {
    /// A session in master, whatever database the connection names: one that is being restored takes nobody in.
    pub async fn open(connection: &Connection, context: &'a Context) -> Result<Self, Fault> {
        let target = Target { database: "master".to_owned(), ..target(connection, context).await? };
        let session = Session::open(&target, &limits(context)).await.map_err(|error| fault(&error))?;
        Ok(Self { target, session, context })
    }

    pub fn context(&self) -> &'a Context {
        self.context
    }

    /// What groups and the server itself call it; the host where nobody said.
    pub fn name(&self) -> &str {
        self.target.instance.as_deref().unwrap_or(&self.target.host)
    }

    /// The instance, for a person.
    pub fn label(&self) -> String {
        self.target.to_string()
    }

    /// A session that was cut (a KILL, a restart) is opened again: nothing of a session's own is relied on here.
    async fn session(&mut self) -> Result<&mut Session, Error> {
        if self.session.is_over() {
            self.session = Session::open(&self.target, &limits(self.context)).await?;
        }
        Ok(&mut self.session)
    }

    pub async fn rows(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Fault> {
        let rows = async { self.session().await?.rows(sql, parameters).await }.await;
        rows.map_err(|error| fault(&error))
    }

    /// One batch, and the server's own error.
    pub async fn batch(&mut self, sql: &str) -> Result<(), Error> {
        self.context.output().line(format!("{}: {sql}", self.target));
        let said = async { self.session().await?.batch(sql).await }.await;
        if let Err(error) = &said {
            self.context.output().line(error.to_string());
        }
        said
    }

    /// A statement that may take hours, with its progress from a second connection.
    pub async fn long(&mut self, sql: &str, what: &str, part: Part) -> Result<(), Error> {
        self.session().await?;
        let (target, context) = (self.target.clone(), self.context);
        let watching = watch(&target, self.session.id(), what, part, context);
        tokio::select! {
            said = self.batch(sql) => said,
            never = watching => match never {},
        }
    }

    /// What a file holds. `Ok(None)`: there is no such file, or the server may not open it.
    pub async fn headers(&mut self, path: &str, file: &str) -> Result<Option<Seen>, Fault> {
        let sql = format!("RESTORE HEADERONLY FROM DISK = {}", literal(path));
        let sets = async { self.session().await?.sets(&sql).await }.await;
        match sets {
            Ok(sets) => {
                let rows = sets.into_iter().next().unwrap_or_default();
                Ok(Some(Seen::Sets(rows.iter().map(|row| header(file, row)).collect::<Result<_, _>>()?)))
            }
            Err(error) => match (&error, error.number()) {
                (_, Some(3201)) => Ok(None),
                // Read failed, not a backup, a device of another form, an empty one, not wholly written.
                (_, Some(number @ (3203 | 3206 | 3241 | 3242 | 3243 | 3246 | 3254 | 3270 | 3271 | 3183 | 3189))) => {
                    let why = match number {
                        3241 => "its header cannot be read: it is no backup, or still being copied (3241)".to_owned(),
                        number => format!("its header cannot be read ({number})"),
                    };
                    Ok(Some(Seen::Unreadable { file: file.to_owned(), why }))
                }
                // Nobody knows what it holds, or a right is missing: that is no reason to go on without it.
                _ => {
                    let mut fault = fault(&error);
                    fault.message = format!("{path}: {}", fault.message);
                    Err(fault)
                }
            },
        }
    }
}

/// Tells how far the statement of a session is, until it is dropped.
async fn watch(target: &Target, session: i64, what: &str, part: Part, context: &Context) -> std::convert::Infallible {
    const SQL: &str = "SELECT command, percent_complete FROM sys.dm_exec_requests WHERE session_id = @P1";
    let mut eye: Option<Session> = None;
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        let soon = Limits { cancel: context.cancel_token().clone(), deadline: Instant::now() + LOOK_WITHIN };
        let look = async {
            let mut open = match eye.take().filter(|eye| !eye.is_over()) {
                Some(open) => open,
                None => Session::open(target, &soon).await.ok()?,
            };
            open.limit(soon.clone());
            let rows = open.rows(SQL, &[Parameter::Int(session)]).await.ok()?;
            eye = Some(open);
            let percent = rows.first()?.text("percent_complete")?.parse::<f64>().ok()?;
            Some(percent.clamp(0.0, 100.0))
        };
        // A watcher that cannot look says nothing; what it watches goes on.
        if let Some(percent) = look.await {
            let whole = match part.all {
                0 => percent,
                all => (part.done as f64 * 100.0 + percent) / all as f64,
            };
            context.progress(format!("{what}: {percent:.0} percent"), Some(whole as u8));
        }
    }
}

/// Columns are read by name: their number differs between versions.
fn header(file: &str, row: &Row) -> Result<Header, Fault> {
    let lsn = |name: &str| row.lsn(name).map(Lsn);
    let needed = |name: &str, found: Option<Lsn>| {
        found.ok_or_else(|| {
            let message = format!("RESTORE HEADERONLY of {file} gives no {name}");
            Fault::new("BTN-0660", message, "Look at the file with RESTORE HEADERONLY by hand.")
        })
    };
    Ok(Header {
        file: file.to_owned(),
        position: row.int("Position").unwrap_or(1),
        kind: SetKind::of(row.int("BackupType").unwrap_or_default()),
        database: row.text("DatabaseName").unwrap_or_default(),
        name: row.text("BackupName").unwrap_or_default(),
        family: identity(row, "FamilyGUID"),
        first_fork: identity(row, "FirstRecoveryForkID"),
        fork: identity(row, "RecoveryForkID"),
        set: identity(row, "BackupSetGUID"),
        first: needed("FirstLSN", lsn("FirstLSN"))?,
        last: needed("LastLSN", lsn("LastLSN"))?,
        database_backup: lsn("DatabaseBackupLSN"),
        damaged: row.flag("IsDamaged").unwrap_or(false),
        copy_only: row.flag("IsCopyOnly").unwrap_or(false),
        tail: row.flag("IsForceOffline").unwrap_or(false),
        finished: row.text("BackupFinishDate").unwrap_or_default(),
    })
}

/// An identity; a GUID of zeros is none.
pub fn identity(row: &Row, column: &str) -> Option<String> {
    let text = row.text(column)?.to_ascii_lowercase();
    text.bytes().any(|byte| !matches!(byte, b'0' | b'-')).then_some(text)
}

/// A file of a directory, as the server writes paths.
pub fn at_server(directory: &str, file: &str) -> String {
    let windows = directory.contains('\\') || directory.as_bytes().get(1) == Some(&b':');
    let separator = if windows { '\\' } else { '/' };
    format!("{}{separator}{file}", directory.trim_end_matches(['\\', '/']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sqlserver::Cell;

    #[test]
    fn paths_are_written_as_the_server_writes_them() {
        let table = [
            ("/var/ls", "/var/ls/f.trn"),
            ("/var/ls/", "/var/ls/f.trn"),
            ("D:\\ls", "D:\\ls\\f.trn"),
            ("D:", "D:\\f.trn"),
            ("\\\\b\\share\\", "\\\\b\\share\\f.trn"),
        ];
        for (directory, expected) in table {
            assert_eq!(at_server(directory, "f.trn"), expected);
        }
    }

    #[test]
    fn a_header_is_read_by_its_columns_names_and_misses_no_lsn() {
        let mut row = Row(vec![
            ("BackupType".into(), Cell::Int(2)),
            ("Position".into(), Cell::Int(3)),
            ("DatabaseName".into(), Cell::Text("mgc".into())),
            ("FirstLSN".into(), Cell::Number("1234567890123456789012345".into())),
            ("LastLSN".into(), Cell::Number("1234567890123456789012346".into())),
            ("FamilyGUID".into(), Cell::Text("AB000000-0000-0000-0000-000000000000".into())),
            ("RecoveryForkID".into(), Cell::Text("00000000-0000-0000-0000-000000000000".into())),
            ("IsDamaged".into(), Cell::Bit(true)),
        ]);
        let seen = header("f.trn", &row).expect("read");
        assert_eq!((seen.kind, seen.position, seen.damaged, seen.copy_only), (SetKind::Log, 3, true, false));
        assert_eq!(seen.first.to_string(), "1234567890123456789012345");
        assert_eq!((seen.family.as_deref(), seen.fork), (Some("ab000000-0000-0000-0000-000000000000"), None));
        row.0.retain(|(name, _)| name != "FirstLSN");
        assert_eq!(header("f.trn", &row).expect_err("no LSN").code, "BTN-0660");
    }
}
