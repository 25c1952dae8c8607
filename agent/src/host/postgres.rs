//! The door to PostgreSQL: sessions that always end.
//!
//! Apart from the actions, because every one of them needs the same three things, and a session without them hangs for ever on
//! a frozen server: a bound on connecting (TCP alone is no sign of life), a bound on every statement, and a cancel request to
//! the server when the task ends early. It must never hold an opinion on what a statement means, and never show a password.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_postgres::{
    Client, Config, NoTls, Row, Statement,
    config::SslMode,
    error::{DbError, SqlState},
    types::ToSql,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// How long a cancel request may take: the server that does not answer it is frozen, and nothing more can be done.
const CANCEL_WITHIN: Duration = Duration::from_secs(2);
/// The server ends a statement by itself this long after the task's deadline, if the agent has died.
const SERVER_GRACE: Duration = Duration::from_secs(5);

/// Which server, which database, and who asks.
#[derive(Clone)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: Option<Zeroizing<String>>,
    /// The authority's file: with it TLS is a must, and the certificate must be good for the host's name.
    pub verify: Option<String>,
    pub connect_timeout: Duration,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}:{}", self.database, self.host, self.port)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self}, user {})", self.user)
    }
}

/// When work on a server ends, whatever it is doing.
#[derive(Debug, Clone)]
pub struct Limits {
    pub cancel: CancellationToken,
    pub deadline: Instant,
}

impl Limits {
    /// The same end, but no later than `within` from now.
    pub fn at_most(&self, within: Duration) -> Self {
        Self { cancel: self.cancel.clone(), deadline: self.deadline.min(Instant::now() + within) }
    }
    /// What is left until the deadline.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
    /// Waits a little between two polls; an error where the task ends first.
    pub async fn pause(&self, what: &str, time: Duration) -> Result<(), Error> {
        let end = Instant::now() + time;
        tokio::select! {
            () = self.cancel.cancelled() => Err(Error::Cancelled { what: what.to_owned() }),
            () = sleep_until(self.deadline.min(end)) => {
                if end > self.deadline { Err(Error::TooSlow { what: what.to_owned() }) } else { Ok(()) }
            }
        }
    }
}

/// Why a server could not be asked, or what it said.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to {target}: {reason}")]
    Connect { target: String, reason: String },
    #[error("cannot use the certificate authority {path}: {reason}")]
    Authority { path: String, reason: String },
    /// The server refused the statement.
    #[error("{target}: {}", said(.error))]
    Statement { target: String, error: Box<DbError> },
    /// The session broke: whether the statement took effect is not known here.
    #[error("{target}: the session broke: {reason}")]
    Broken { target: String, reason: String },
    #[error("{target}: the statement cannot be sent: {reason}")]
    Unsendable { target: String, reason: String },
    #[error("{what}: no answer before the task's deadline")]
    TooSlow { what: String },
    #[error("{what}: cancelled")]
    Cancelled { what: String },
}

impl Error {
    /// The server's own error code, where it gave one.
    pub fn state(&self) -> Option<&SqlState> {
        match self {
            Error::Statement { error, .. } => Some(error.code()),
            _ => None,
        }
    }
    /// The server may or may not have done what it was asked.
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Error::Broken { .. } | Error::TooSlow { .. } | Error::Cancelled { .. })
    }
}

fn said(error: &DbError) -> String {
    let mut text = format!("{}: {} ({})", error.severity(), error.message(), error.code().code());
    for (label, more) in [("detail", error.detail()), ("hint", error.hint())] {
        if let Some(more) = more {
            text.push_str(&format!("; {label}: {more}"));
        }
    }
    text
}

/// One connection to one database.
pub struct Session {
    client: Client,
    label: String,
    limits: Limits,
    connection: JoinHandle<()>,
    tls: Option<MakeRustlsConnect>,
    in_flight: Arc<AtomicBool>,
}

impl Session {
    /// Connects, within the target's `connect_timeout`, handshake and authentication included.
    pub async fn open(target: &Target, limits: &Limits) -> Result<Self, Error> {
        let label = target.to_string();
        let failed = |reason: String| Error::Connect { target: label.clone(), reason };
        let tls = target.verify.as_deref().map(verifying).transpose()?;
        let mut config = Config::new();
        config.host(&target.host).port(target.port).dbname(&target.database).user(&target.user);
        config.application_name("baton").connect_timeout(target.connect_timeout);
        config.keepalives_idle(Duration::from_secs(10)).tcp_user_timeout(Duration::from_secs(30));
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        if let Some(password) = &target.password {
            config.password(password.as_bytes());
        }
        let statement_ms = (limits.left() + SERVER_GRACE).as_millis().min(i32::MAX as u128);
        config.options(format!("-c statement_timeout={statement_ms}"));
        let until = limits.deadline.min(Instant::now() + target.connect_timeout);
        let connecting = async {
            match tls.clone() {
                Some(tls) => config.connect(tls).await.map(|(client, connection)| (client, spawn(connection))),
                None => config.connect(NoTls).await.map(|(client, connection)| (client, spawn(connection))),
            }
        };
        let (client, connection) = tokio::select! {
            () = limits.cancel.cancelled() => return Err(Error::Cancelled { what: format!("connect to {label}") }),
            connected = timeout_at(until, connecting) => connected
                .map_err(|_| failed(format!("no answer within {:?}; the server may be frozen", target.connect_timeout)))?
                .map_err(|error| failed(reason(&error)))?,
        };
        Ok(Self { client, label, limits: limits.clone(), connection, tls, in_flight: Arc::default() })
    }

    /// The database and server, for messages.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The end of everything asked from here on.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Learns the types of a statement's parameters and columns.
    pub async fn prepare(&self, sql: &str) -> Result<Statement, Error> {
        self.bounded(self.client.prepare(sql)).await
    }

    /// The rows of a query.
    pub async fn rows(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        self.bounded(self.client.query(sql, params)).await
    }

    /// The rows of a prepared query.
    pub async fn rows_of(&self, statement: &Statement, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        self.bounded(self.client.query(statement, params)).await
    }

    /// The only row of a query.
    pub async fn row(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Row, Error> {
        self.bounded(self.client.query_one(sql, params)).await
    }

    /// Rows one by one, for results that need not fit into memory.
    pub async fn stream(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<std::pin::Pin<Box<tokio_postgres::RowStream>>, Error> {
        Ok(Box::pin(self.bounded(self.client.query_raw(sql, params.iter().copied())).await?))
    }

    /// The next row of a stream.
    pub async fn next(&self, stream: &mut std::pin::Pin<Box<tokio_postgres::RowStream>>) -> Result<Option<Row>, Error> {
        use futures::TryStreamExt;
        self.bounded(stream.try_next()).await
    }

    /// Executes a prepared statement; how many rows it affected.
    pub async fn execute_of(&self, statement: &Statement, params: &[&(dyn ToSql + Sync)]) -> Result<u64, Error> {
        self.bounded(self.client.execute(statement, params)).await
    }

    /// Executes a statement; how many rows it affected.
    pub async fn execute(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, Error> {
        self.bounded(self.client.execute(sql, params)).await
    }

    /// Executes statements without parameters.
    pub async fn batch(&self, sql: &str) -> Result<(), Error> {
        self.bounded(self.client.batch_execute(sql)).await
    }

    /// The server's process of this session.
    pub async fn backend(&self) -> Result<i32, Error> {
        Ok(self.row("SELECT pg_backend_pid()", &[]).await?.get(0))
    }

    async fn bounded<T>(&self, asking: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Error> {
        self.in_flight.store(true, Ordering::Relaxed);
        let answer = tokio::select! {
            () = self.limits.cancel.cancelled() => Err(Error::Cancelled { what: self.label.clone() }),
            answer = timeout_at(self.limits.deadline, asking) => match answer {
                Err(_) => Err(Error::TooSlow { what: self.label.clone() }),
                Ok(answer) => answer.map_err(|error| self.classify(&error)),
            },
        };
        if matches!(answer, Err(Error::Cancelled { .. } | Error::TooSlow { .. })) {
            request_cancel(self.client.cancel_token(), self.tls.clone()).await;
        }
        self.in_flight.store(false, Ordering::Relaxed);
        answer
    }

    fn classify(&self, error: &tokio_postgres::Error) -> Error {
        let target = self.label.clone();
        match error.as_db_error() {
            // The server ends the session with these: what was under way may or may not have been committed.
            Some(said) if [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN].contains(said.code()) => {
                Error::Broken { target, reason: said.message().to_owned() }
            }
            Some(said) => Error::Statement { target, error: Box::new(said.clone()) },
            None if error.is_closed() || self.client.is_closed() => Error::Broken { target, reason: reason(error) },
            None => Error::Unsendable { target, reason: reason(error) },
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A future dropped in the middle of a statement: without this the server would go on with it.
        if self.in_flight.load(Ordering::Relaxed)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(request_cancel(self.client.cancel_token(), self.tls.clone()));
        }
        self.connection.abort();
    }
}

async fn request_cancel(token: tokio_postgres::CancelToken, tls: Option<MakeRustlsConnect>) {
    let asking = async {
        match tls {
            Some(tls) => token.cancel_query(tls).await,
            None => token.cancel_query(NoTls).await,
        }
    };
    match tokio::time::timeout(CANCEL_WITHIN, asking).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = reason(&error), "the server did not take the cancel request"),
        Err(_) => tracing::warn!("no answer to the cancel request"),
    }
}

fn spawn<S, T>(connection: tokio_postgres::Connection<S, T>) -> JoinHandle<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = reason(&error), "a database session ended");
        }
    })
}

/// All of an error's causes: the first line of tokio-postgres alone says only "db error".
fn reason(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    if let Some(said_by_server) = error.as_db_error() {
        return said(said_by_server);
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}

fn verifying(path: &str) -> Result<MakeRustlsConnect, Error> {
    let failed = |reason: String| Error::Authority { path: path.to_owned(), reason };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failed("there is no certificate in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
