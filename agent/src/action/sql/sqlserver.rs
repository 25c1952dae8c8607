//! SQL on SQL Server, and what an operator reads when an instance cannot be asked.

use baton_model::{
    action::sql::{Connection, Kind, Tls},
    outcome::Fault,
    time::Span,
};
use serde_json::Value;
use zeroize::Zeroizing;

use super::limits;
use crate::{
    action::Context,
    host::sqlserver::{Authority, Encryption, Error, Parameter, Session, Target, number, number::Class},
};

const NO_SUCH_PROCEDURE: u32 = 2812;

/// What an operator reads when an instance cannot be asked, or refuses.
pub(in crate::action) fn fault(error: &Error) -> Fault {
    let (code, remedy) = match error {
        Error::Unreachable { .. } => (
            "BTN-0601",
            "Check that the instance runs, that address and port are right, that TCP is enabled for it, and the firewall.",
        ),
        Error::Authority { .. } => ("BTN-0602", "Correct ca_file of the connection."),
        Error::Insecure { .. } => (
            "BTN-0602",
            "Give the connection the authority that signed the instance's certificate (ca_file) and the name in it (certificate_name), or install a certificate that is good for the host's name.",
        ),
        Error::Login { said, .. } if number::is_login(said.number) => (
            "BTN-0603",
            "Correct user and password of the connection; the reason is in the instance's error log. The instance must accept SQL Server logins.",
        ),
        Error::Login { said, .. } | Error::Statement { said, .. } => of_number(said.number),
        Error::Routed { .. } => (
            "BTN-0604",
            "Name the instance itself in the connection, not a listener or a read-only route: an action must know whom it speaks to.",
        ),
        Error::OtherInstance { .. } => (
            "BTN-0605",
            "Correct host, port or server_name of the connection: server_name is what SELECT @@SERVERNAME returns there.",
        ),
        Error::Broken { .. } => (
            "BTN-0608",
            "Somebody ended the session (KILL, a failover, a restart), or the network broke. See the instance's error log; whether the last statement took effect is not known.",
        ),
        Error::Unsendable { .. } | Error::Unreadable { .. } => {
            ("BTN-0613", "Cast the value to nvarchar in the statement, or give another.")
        }
        Error::TooSlow { .. } => {
            ("BTN-0611", "Find out what the instance waits for, or give the step a longer timeout.")
        }
        Error::Cancelled { .. } => ("BTN-0612", ""),
    };
    Fault::new(code, error.to_string(), remedy)
}

fn of_number(number: u32) -> (&'static str, &'static str) {
    match number {
        15151 => (
            "BTN-0606",
            "Either it does not exist there, or the login may not see it: give the login ALTER ANY AVAILABILITY GROUP, VIEW SERVER STATE and VIEW ANY DEFINITION, or correct the name.",
        ),
        297 | 300 => {
            ("BTN-0606", "GRANT VIEW SERVER STATE to the login (from 2022 on: VIEW SERVER PERFORMANCE STATE).")
        }
        6102 => ("BTN-0606", "GRANT ALTER ANY CONNECTION to the login."),
        14260 | 21089 => {
            ("BTN-0606", "Make the login a member of sysadmin on that instance: this procedure asks for it.")
        }
        _ if number::is_right(number) => ("BTN-0606", "Give the login the right that is named."),
        911 | 4060 => {
            ("BTN-0607", "Correct the database of the connection; for the instance's own affairs it is master.")
        }
        927 => ("BTN-0607", "The database is being restored, and nobody can connect to it: connect to master."),
        976 | 978 | 979 => (
            "BTN-0607",
            "The instance holds a secondary copy that takes no such connection: ask the primary, or connect to master.",
        ),
        988 => ("BTN-0607", "The cluster has no quorum: bring nodes back, or force quorum, before anything else."),
        942 | 945 => ("BTN-0607", "The database is offline: see why in the instance's error log."),
        1222 | 1205 => (
            "BTN-0609",
            "Another session holds the lock: find it in sys.dm_exec_requests (blocking_session_id), then retry.",
        ),
        1408 | 1412 | 1478 => (
            "BTN-0610",
            "The copy lacks log that the primary does not give any more: restore a newer full backup and every log after it, then join it again.",
        ),
        _ if number::is_database(number) => ("BTN-0607", "Wait until the database is open there, then retry."),
        _ => match number::class(number) {
            Class::Retry => ("BTN-0610", "It should pass: retry."),
            Class::Place => (
                "BTN-0610",
                "It was asked of the wrong instance, or too early: see the state of every instance (mssql.ag.role).",
            ),
            Class::Kill => ("BTN-0610", "Sessions are in the way: end them (mssql.kill_connections), then retry."),
            Class::Permission => {
                ("BTN-0610", "Rights or configuration forbid it: no retry helps before they are corrected.")
            }
            _ => ("BTN-0610", ""),
        },
    }
}

/// Where the connection leads, with its secrets filled in.
pub(in crate::action) async fn target(connection: &Connection, context: &Context) -> Result<Target, Fault> {
    if connection.kind != Kind::Sqlserver {
        let message =
            format!("{}:{} is no SQL Server: its connection says kind: postgres", connection.host, connection.port());
        return Err(Fault::new("BTN-0614", message, "Give the connection kind: sqlserver, or name another."));
    }
    let password = match &connection.password {
        Some(password) => Some(Zeroizing::new(context.resolve(password).await?.expose().to_owned())),
        None => None,
    };
    let authority = Authority { ca_file: connection.ca_file.clone(), name: connection.certificate_name.clone() };
    Ok(Target {
        host: connection.host.clone(),
        port: connection.port(),
        database: connection.database.clone(),
        user: connection.user.clone(),
        password,
        encryption: match connection.tls {
            Tls::Off => Encryption::Off,
            Tls::Verify => Encryption::Verify(authority),
            Tls::Strict => Encryption::Strict(authority),
            Tls::Trust => Encryption::Trust,
        },
        instance: connection.server_name.clone(),
        connect_timeout: connection.connect_timeout.to_std(),
    })
}

/// A session until the task's end.
pub(in crate::action) async fn open(connection: &Connection, context: &Context) -> Result<Session, Fault> {
    let target = target(connection, context).await?;
    Session::open(&target, &limits(context)).await.map_err(|error| fault(&error))
}

pub(super) async fn rows(session: &mut Session, sql: &str, params: &[Value]) -> Result<Vec<Value>, Fault> {
    let found = session.rows(sql, &bound(sql, params)?).await.map_err(|error| fault(&error))?;
    Ok(found.iter().map(|row| row.object()).collect())
}

pub(super) async fn execute(session: &mut Session, sql: &str, params: &[Value]) -> Result<u64, Fault> {
    session.execute(sql, &bound(sql, params)?).await.map_err(|error| fault(&error))
}

/// An application lock of the session.
pub(super) async fn hold(session: &mut Session, number: i64, within: Span) -> Result<(), Fault> {
    let sql = format!(
        "DECLARE @got int; EXEC @got = sp_getapplock @Resource = N'baton-{number}', @LockMode = N'Exclusive', @LockOwner = N'Session', @LockTimeout = {}; SELECT @got AS got",
        milliseconds(within)
    );
    let sets = match session.sets(&sql).await {
        // Some that speak the protocol have no application locks; the condition alone must do there.
        Err(error) if error.number() == Some(NO_SUCH_PROCEDURE) => return Ok(()),
        other => other.map_err(|error| fault(&error))?,
    };
    match sets.last().and_then(|rows| rows.first()).and_then(|row| row.int("got")) {
        Some(0..) => Ok(()),
        got => {
            let message =
                format!("{}: these statements are being executed by another session ({got:?})", session.who());
            Err(Fault::new("BTN-0609", message, "Wait until that session has ended, then retry."))
        }
    }
}

/// Any error takes the whole transaction back; a lock is not waited for without end.
pub(super) async fn begin(session: &mut Session, within: Span) -> Result<(), Fault> {
    let settings = format!("SET XACT_ABORT ON; SET LOCK_TIMEOUT {}", milliseconds(within));
    session.batch(&settings).await.map_err(|error| fault(&error))?;
    session.batch("BEGIN TRANSACTION").await.map_err(|error| fault(&error))
}

/// What `SET LOCK_TIMEOUT` can hold.
fn milliseconds(span: Span) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX).clamp(0, i64::from(i32::MAX))
}

/// The values of a statement, checked against the number that it takes.
fn bound<'a>(sql: &str, params: &'a [Value]) -> Result<Vec<Parameter<'a>>, Fault> {
    let takes = highest(sql);
    if takes != params.len() {
        let message = format!("{sql:?} takes {takes} parameters and {} were given", params.len());
        return Err(Fault::new("BTN-0715", message, "Correct the step's params: they are @P1 and so on."));
    }
    params.iter().map(parameter).collect()
}

fn parameter(value: &Value) -> Result<Parameter<'_>, Fault> {
    Ok(match value {
        Value::Null => Parameter::Null,
        Value::Bool(value) => Parameter::Bit(*value),
        Value::String(text) => Parameter::Text(text),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Parameter::Int(whole),
            (None, Some(value)) if !number.is_u64() => Parameter::Float(value),
            _ => return Err(unfit(value)),
        },
        Value::Array(_) | Value::Object(_) => return Err(unfit(value)),
    })
}

fn unfit(value: &Value) -> Fault {
    Fault::new("BTN-0715", format!("{value} does not fit a parameter of SQL Server"), "Give it as text.")
}

/// The highest `@Pn` outside of strings, quoted names and comments.
fn highest(sql: &str) -> usize {
    let bytes = sql.as_bytes();
    let mut at = 0;
    let mut highest = 0;
    while at < bytes.len() {
        let ends_with = |end: &[u8], from: usize| {
            bytes[from.min(bytes.len())..]
                .windows(end.len())
                .position(|seen| seen == end)
                .map_or(bytes.len(), |found| from + found + end.len())
        };
        at = match bytes[at] {
            b'\'' => ends_with(b"'", at + 1),
            b'"' => ends_with(b"\"", at + 1),
            b'[' => ends_with(b"]", at + 1),
            b'-' if bytes[at..].starts_with(b"--") => ends_with(b"\n", at + 2),
            b'/' if bytes[at..].starts_with(b"/*") => ends_with(b"*/", at + 2),
            b'@' => {
                let name =
                    bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
                let word = &sql[at + 1..at + 1 + name];
                let digits = word.strip_prefix(['P', 'p']).and_then(|digits| digits.parse::<usize>().ok());
                highest = highest.max(digits.unwrap_or(0));
                at + 1 + name
            }
            _ => at + 1,
        };
    }
    highest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::host::sqlserver::{Said, Who};

    fn who() -> Who {
        Who { target: "SQL2 at 10.0.0.2:1433".to_owned(), login: "baton".to_owned() }
    }

    fn refused(number: u32, message: &str) -> Error {
        Error::Statement { who: who(), said: Said { number, state: 1, level: 14, message: message.to_owned() } }
    }

    #[test]
    fn every_fault_names_the_instance_the_login_the_number_and_a_remedy() {
        let login = Error::Login {
            who: who(),
            said: Said { number: 18456, state: 1, level: 14, message: "Login failed for user 'baton'.".to_owned() },
        };
        let table = [
            (login, "BTN-0603", "18456"),
            (refused(15151, "Cannot alter the availability group 'pom'"), "BTN-0606", "15151"),
            (refused(300, "VIEW SERVER STATE permission was denied"), "BTN-0606", "300"),
            (refused(14260, "You do not have sufficient permission"), "BTN-0606", "14260"),
            (refused(6102, "no KILL"), "BTN-0606", "6102"),
            (refused(976, "not accessible"), "BTN-0607", "976"),
            (refused(988, "no quorum"), "BTN-0607", "988"),
            (refused(1222, "lock"), "BTN-0609", "1222"),
            (refused(41140, "not the primary"), "BTN-0610", "41140"),
            (
                Error::Broken { who: who(), number: Some(596), reason: "error 596, level 21".to_owned() },
                "BTN-0608",
                "596",
            ),
            (Error::Routed { who: who(), to: "SQL3:1433".to_owned() }, "BTN-0604", "SQL3:1433"),
            (
                Error::OtherInstance { who: who(), expected: "SQL2".to_owned(), found: "SQL9".to_owned() },
                "BTN-0605",
                "SQL9",
            ),
            (
                Error::Insecure { who: who(), reason: "certificate not valid for name".to_owned() },
                "BTN-0602",
                "certificate",
            ),
            (Error::Unreachable { who: who(), reason: "connection refused".to_owned() }, "BTN-0601", "refused"),
        ];
        for (error, code, named) in table {
            let fault = fault(&error);
            assert_eq!(fault.code, code, "{fault}");
            for part in ["SQL2 at 10.0.0.2:1433", "login baton", named] {
                assert!(fault.message.contains(part), "{part:?} in {fault}");
            }
            assert!(!fault.remedy.is_empty(), "{fault}");
        }
    }

    #[test]
    fn parameters_are_counted_outside_of_strings_and_comments() {
        let table = [
            ("SELECT 1", 0),
            ("SELECT @P1, @p2", 2),
            ("UPDATE t SET a = @P2 WHERE b = @P1 AND c = '@P7' -- @P8\n AND d = [@P9] /* @P10 */", 2),
            ("SELECT @@SERVERNAME, @Plan, @P12", 12),
            ("SELECT 'it''s @P3', @P1", 1),
            ("SELECT 'open", 0),
        ];
        for (sql, expected) in table {
            assert_eq!(highest(sql), expected, "{sql}");
        }
    }

    #[test]
    fn values_are_bound_with_their_own_types() {
        let values = [json!(null), json!(true), json!(-3), json!(1.5), json!("O'Hara")];
        let kinds: Vec<Parameter> = values.iter().map(|value| parameter(value).expect("fits")).collect();
        assert_eq!(
            kinds,
            [
                Parameter::Null,
                Parameter::Bit(true),
                Parameter::Int(-3),
                Parameter::Float(1.5),
                Parameter::Text("O'Hara")
            ]
        );
        for value in [json!([1]), json!({"a": 1}), json!(u64::MAX)] {
            assert_eq!(parameter(&value).expect_err("no parameter").code, "BTN-0715", "{value}");
        }
        assert_eq!(bound("SELECT @P1", &[]).expect_err("one is missing").code, "BTN-0715");
    }
}
