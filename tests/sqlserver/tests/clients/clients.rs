//! One way to ask an instance through three clients: tiberius, and two that we did not write, in Python.
//!
//! Apart so that every conformance case can go through all of them: one author's client and server would agree on the same
//! mistake. Include it with `#[path = "clients/clients.rs"] mod clients;`. It never skips: a client that is not installed
//! fails the test, and says what to install.

#![allow(dead_code)] // Each test program uses what it needs.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value as Json, json};
use tiberius::{AuthMethod, ColumnData, Config, EncryptionLevel, ToSql};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_util::compat::TokioAsyncWriteCompatExt as _;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Rust. Shows the **first** error of an answer only, and no information.
    Tiberius,
    /// python-tds. Shows every error and all information.
    PyTds,
    /// pymssql over FreeTDS. Shows one error, the first of the highest class, with the texts of all; and all information
    /// of a statement that succeeds.
    PyMsSql,
}

pub const ALL: [Client; 3] = [Client::Tiberius, Client::PyTds, Client::PyMsSql];

/// Whom, as whom.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub user: String,
    pub password: String,
    /// Empty: the login's default.
    pub database: String,
    /// ApplicationIntent=ReadOnly, where the client can ([`Client::has_read_only_intent`]).
    pub read_only: bool,
    /// Verified TLS for everything, by this authority, for the name `localhost`, where the Python clients then connect to;
    /// otherwise without TLS (pymssql: as it likes).
    pub authority: Option<std::path::PathBuf>,
    /// Leaves the Python clients' own settings: they open a transaction at once. Otherwise every statement stands alone.
    pub defaults: bool,
    /// How long the Python clients wait for an answer before they cancel it.
    pub patience_s: Option<u32>,
}

impl Target {
    pub fn new(address: SocketAddr, user: &str, password: &str) -> Self {
        Self {
            address,
            user: user.into(),
            password: password.into(),
            database: String::new(),
            read_only: false,
            authority: None,
            defaults: false,
            patience_s: None,
        }
    }

    pub fn database(mut self, database: &str) -> Self {
        self.database = database.into();
        self
    }

    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    pub fn authority(mut self, file: &Path) -> Self {
        self.authority = Some(file.into());
        self
    }

    pub fn defaults(mut self) -> Self {
        self.defaults = true;
        self
    }

    pub fn patience_s(mut self, seconds: u32) -> Self {
        self.patience_s = Some(seconds);
        self
    }
}

/// One thing to ask.
#[derive(Debug, Clone)]
pub enum Statement {
    /// As a batch.
    Batch(String),
    /// With parameters: numbers, texts, booleans, null. Marked `@P1`, `@P2` for tiberius and `%s` for Python; pymssql writes
    /// them into the text.
    Parameters(String, Vec<Json>),
    /// A procedure by name; not with tiberius here.
    Procedure(String, Vec<Json>),
}

impl From<&str> for Statement {
    fn from(text: &str) -> Self {
        Statement::Batch(text.into())
    }
}

/// A result set. Values: null, booleans (`bit`), numbers (integers, `float`), text; as text also `numeric`, `datetime`
/// (`2026-11-21T03:50:29.123`), `uniqueidentifier` (upper case), binary (`0x0a…`).
#[derive(Debug, Clone, PartialEq, Default, serde::Deserialize)]
pub struct Rows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Json>>,
}

/// What a statement came to.
#[derive(Debug, Clone, PartialEq, Default, serde::Deserialize)]
pub struct Answer {
    pub sets: Vec<Rows>,
    /// Information, where the client shows it.
    pub messages: Vec<String>,
    /// A procedure's, where the client shows it (python-tds).
    #[serde(default)]
    pub status: Option<i32>,
}

impl Answer {
    /// The only value of the first set.
    pub fn value(&self) -> &Json {
        &self.sets[0].rows[0][0]
    }
}

/// An error of the server.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct ServerError {
    pub number: i32,
    /// Severity.
    pub class: u8,
    pub message: String,
}

/// Why there is no answer: what the server said, or nothing where the connection or the client failed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Failure {
    pub errors: Vec<ServerError>,
    /// In the client's words.
    pub text: String,
}

impl Failure {
    /// The numbers that this client shows; 0 alone where the server said nothing.
    pub fn numbers(&self) -> Vec<i32> {
        if self.errors.is_empty() { vec![0] } else { self.errors.iter().map(|error| error.number).collect() }
    }
}

impl Client {
    /// pytds 1.11 sets a bit that does not exist, and pymssql has no way to ask for it.
    pub fn has_read_only_intent(self) -> bool {
        self == Client::Tiberius
    }

    /// All of the server's errors are shown, not only one.
    pub fn shows_every_error(self) -> bool {
        self == Client::PyTds
    }

    /// Of the errors of one answer, in order, with their classes: the numbers that this client shows.
    pub fn shown(self, errors: &[(i32, u8)]) -> Vec<i32> {
        match self {
            Client::Tiberius => errors.iter().take(1).map(|error| error.0).collect(),
            Client::PyTds => errors.iter().map(|error| error.0).collect(),
            Client::PyMsSql => {
                let highest = errors.iter().map(|error| error.1).max();
                errors.iter().find(|error| Some(error.1) == highest).map(|error| error.0).into_iter().collect()
            }
        }
    }

    fn python(self) -> Option<&'static str> {
        match self {
            Client::Tiberius => None,
            Client::PyTds => Some("pytds"),
            Client::PyMsSql => Some("pymssql"),
        }
    }
}

/// Longer than any test's statement; then the test fails.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(60);

/// Asks one after the other on one connection. Outside: the login's failure.
pub async fn run<S>(
    client: Client,
    target: &Target,
    statements: impl IntoIterator<Item = S>,
) -> Result<Vec<Result<Answer, Failure>>, Failure>
where
    S: Into<Statement>,
{
    let statements: Vec<Statement> = statements.into_iter().map(Into::into).collect();
    let asked = async {
        match client.python() {
            None => through_tiberius(target, &statements).await,
            Some(name) => through_python(name, target, &statements).await,
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.unwrap_or_else(|_| panic!("{client:?} did not end: {statements:?}"))
}

async fn through_python(
    name: &str,
    target: &Target,
    statements: &[Statement],
) -> Result<Vec<Result<Answer, Failure>>, Failure> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Told {
        Answer(Answer),
        Failure(Failure),
    }
    #[derive(serde::Deserialize)]
    struct Out {
        login: Option<Failure>,
        answers: Vec<Told>,
    }
    let statements: Vec<Json> = statements
        .iter()
        .map(|statement| match statement {
            Statement::Batch(sql) => json!({ "sql": sql, "parameters": [] }),
            Statement::Parameters(sql, parameters) => json!({ "sql": sql, "parameters": parameters }),
            Statement::Procedure(name, parameters) => json!({ "procedure": name, "parameters": parameters }),
        })
        .collect();
    let host = if target.authority.is_some() { "localhost".to_owned() } else { target.address.ip().to_string() };
    let ask = json!({
        "host": host,
        "port": target.address.port(),
        "user": target.user,
        "password": target.password,
        "database": target.database,
        "cafile": target.authority,
        "read_only": target.read_only,
        "defaults": target.defaults,
        "timeout": target.patience_s,
        "statements": statements,
    });
    let out = python(name, target, &ask).await;
    let out: Out = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{name} printed {out}: {error}"));
    match out.login {
        Some(failure) => Err(failure),
        None => Ok(out
            .answers
            .into_iter()
            .map(|told| match told {
                Told::Answer(answer) => Ok(answer),
                Told::Failure(failure) => Err(failure),
            })
            .collect()),
    }
}

/// The system's Python, for which Debian's packages are, whatever else is in the path.
const PYTHON: &str = "/usr/bin/python3";

async fn python(name: &str, target: &Target, ask: &Json) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/ask.py");
    let mut command = tokio::process::Command::new(PYTHON);
    command
        .arg(script)
        .arg(name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // FreeTDS reads how to encrypt from a file, and nothing else of it is wanted.
    let settings = tempfile::NamedTempFile::new().expect("make a file for FreeTDS");
    let text = match &target.authority {
        Some(authority) => format!("[global]\nencryption = require\nca file = {}\n", authority.display()),
        None => "[global]\n".to_owned(),
    };
    std::fs::write(settings.path(), text).expect("write FreeTDS's file");
    command.env("FREETDSCONF", settings.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    let mut child = command.spawn().unwrap_or_else(|error| panic!("start {PYTHON}: {error}; {}", installation(name)));
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin.write_all(ask.to_string().as_bytes()).await.expect("tell the client what to ask");
    drop(stdin);
    let output = child.wait_with_output().await.expect("wait for the client");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !stderr.contains("ImportError") && !stderr.contains("ModuleNotFoundError"),
        "{}\n{stderr}",
        installation(name)
    );
    assert!(output.status.success(), "{name} failed: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).expect("JSON is UTF-8")
}

fn installation(name: &str) -> String {
    let packages = if name == "pytds" { "python3-tds and python3-openssl" } else { "python3-pymssql" };
    format!("{name} cannot be used: install the Debian packages {packages} (tests/run does)")
}

async fn through_tiberius(target: &Target, statements: &[Statement]) -> Result<Vec<Result<Answer, Failure>>, Failure> {
    let mut config = Config::new();
    config.host(if target.authority.is_some() { "localhost".to_owned() } else { target.address.ip().to_string() });
    config.port(target.address.port());
    config.authentication(AuthMethod::sql_server(&target.user, &target.password));
    if !target.database.is_empty() {
        config.database(&target.database);
    }
    config.readonly(target.read_only);
    match &target.authority {
        Some(authority) => {
            config.encryption(EncryptionLevel::Required);
            config.trust_cert_ca(authority.to_str().expect("a test's path is UTF-8"));
        }
        None => config.encryption(EncryptionLevel::NotSupported),
    }
    let socket = TcpStream::connect(target.address).await.map_err(|error| failure(&error.into()))?;
    let mut client = tiberius::Client::connect(config, socket.compat_write()).await.map_err(|error| failure(&error))?;
    let mut answers = Vec::new();
    for statement in statements {
        answers.push(one(&mut client, statement).await.map_err(|error| failure(&error)));
    }
    Ok(answers)
}

async fn one<S>(client: &mut tiberius::Client<S>, statement: &Statement) -> tiberius::Result<Answer>
where
    S: futures::AsyncRead + futures::AsyncWrite + Unpin + Send,
{
    use futures::TryStreamExt as _;
    let owned: Vec<Box<dyn ToSql>>;
    let mut stream = match statement {
        Statement::Batch(sql) => client.simple_query(sql.as_str()).await?,
        Statement::Parameters(sql, parameters) => {
            owned = parameters.iter().map(parameter).collect();
            let borrowed: Vec<&dyn ToSql> = owned.iter().map(AsRef::as_ref).collect();
            client.query(sql.as_str(), &borrowed).await?
        }
        Statement::Procedure(..) => panic!("procedures by name go through Python"),
    };
    let mut answer = Answer::default();
    while let Some(item) = stream.try_next().await? {
        match item {
            tiberius::QueryItem::Metadata(metadata) => answer.sets.push(Rows {
                columns: metadata.columns().iter().map(|column| column.name().to_owned()).collect(),
                rows: Vec::new(),
            }),
            tiberius::QueryItem::Row(row) => {
                let row = row.into_iter().map(json_of).collect();
                answer.sets.last_mut().expect("rows come after their columns").rows.push(row);
            }
        }
    }
    Ok(answer)
}

fn parameter(value: &Json) -> Box<dyn ToSql> {
    match value {
        Json::Null => Box::new(None::<&str>),
        Json::Bool(bit) => Box::new(*bit),
        Json::Number(number) if number.is_i64() => match i32::try_from(number.as_i64().expect("it is one")) {
            Ok(int) => Box::new(int),
            Err(_) => Box::new(number.as_i64()),
        },
        Json::Number(number) => Box::new(number.as_f64()),
        Json::String(text) => Box::new(text.clone()),
        other => panic!("{other} is no parameter"),
    }
}

fn json_of(data: ColumnData<'static>) -> Json {
    let text = |text: Option<String>| text.map_or(Json::Null, Json::String);
    match &data {
        ColumnData::U8(number) => json!(number),
        ColumnData::I16(number) => json!(number),
        ColumnData::I32(number) => json!(number),
        ColumnData::I64(number) => json!(number),
        ColumnData::F32(number) => json!(number),
        ColumnData::F64(number) => json!(number),
        ColumnData::Bit(bit) => json!(bit),
        ColumnData::String(it) => text(it.as_ref().map(ToString::to_string)),
        ColumnData::Guid(guid) => text(guid.map(|guid| guid.to_string().to_uppercase())),
        ColumnData::Numeric(numeric) => text(numeric.map(|numeric| numeric.value().to_string())),
        ColumnData::Binary(bytes) => {
            text(bytes.as_ref().map(|bytes| bytes.iter().fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))))
        }
        ColumnData::DateTime(_) => {
            let time =
                <tiberius::time::chrono::NaiveDateTime as tiberius::FromSql>::from_sql(&data).expect("it is a time");
            text(time.map(|time| {
                // As ISO 8601 already, with as many digits as it needs.
                let time = format!("{time:?}");
                let (whole, fraction) = time.split_once('.').unwrap_or((&time, ""));
                format!("{whole}.{fraction:0<3.3}")
            }))
        }
        other => panic!("the simulator has no such type: {other:?}"),
    }
}

fn failure(error: &tiberius::error::Error) -> Failure {
    let errors = match error {
        tiberius::error::Error::Server(error) => {
            vec![ServerError { number: error.code() as i32, class: error.class(), message: error.message().to_owned() }]
        }
        _ => Vec::new(),
    };
    Failure { errors, text: error.to_string() }
}
