//! The door to SQL Server: sessions that always end.
//!
//! Apart from the actions for the same reasons as the door to PostgreSQL: a bound on connecting, a bound on every statement
//! (the client's own would poison the session in the middle of a failover), and an attention to the server when the task ends
//! early. Besides, it proves who answered: an instance with another name than expected, or one that a listener leads to, is
//! refused. It must never hold an opinion on what a statement means, never follow where it is sent, never show a password.

use std::{fmt, future::Future, time::Duration};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel, ToSql};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};
use zeroize::Zeroizing;

mod error;
pub mod number;
mod row;
pub mod text;

pub use super::postgres::Limits;
pub use error::{Error, Said};
pub use row::{Cell, Row};

/// How long an attention may take: a server that does not answer it is frozen, and the connection is dropped.
const ATTENTION_WITHIN: Duration = Duration::from_secs(2);
/// A peer that vanished without a word is noticed after so long, also while a restore runs for hours.
const PEER_SILENT: Duration = Duration::from_secs(30);

/// How the connection is kept from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    Off,
    /// TLS within the protocol, and the certificate must be good.
    Verify(Authority),
    /// TLS around the protocol (TDS 8), and the certificate must be good.
    Strict(Authority),
    /// TLS with any certificate.
    Trust,
}

/// Whose word a certificate needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authority {
    /// Besides the host's own authorities.
    pub ca_file: Option<String>,
    /// The name in the certificate, where that is not the host's.
    pub name: Option<String>,
}

/// Which instance, which database, and who asks.
#[derive(Clone)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: Option<Zeroizing<String>>,
    pub encryption: Encryption,
    /// `@@SERVERNAME`, where it is known: another instance that answers is refused.
    pub instance: Option<String>,
    pub connect_timeout: Duration,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.instance {
            Some(instance) => write!(f, "{instance} at {}:{}", self.host, self.port),
            None => write!(f, "SQL Server at {}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self}, login {})", self.user)
    }
}

/// A value of a statement. It is bound, never written into the text.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter<'a> {
    Null,
    Bit(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
}

impl<'a> From<&'a str> for Parameter<'a> {
    fn from(text: &'a str) -> Self {
        Parameter::Text(text)
    }
}

impl ToSql for Parameter<'_> {
    fn to_sql(&self) -> ColumnData<'_> {
        match self {
            Parameter::Null => ColumnData::String(None),
            Parameter::Bit(value) => ColumnData::Bit(Some(*value)),
            Parameter::Int(value) => ColumnData::I64(Some(*value)),
            Parameter::Float(value) => ColumnData::F64(Some(*value)),
            Parameter::Text(text) => ColumnData::String(Some((*text).into())),
        }
    }
}

/// One connection to one instance.
pub struct Session {
    client: Client<Compat<TcpStream>>,
    who: Who,
    limits: Limits,
    id: i64,
    /// A statement was left in the middle, or the server closed: nothing more can be asked.
    over: bool,
}

/// What messages say of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    pub target: String,
    pub login: String,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (login {})", self.target, self.login)
    }
}

impl Session {
    /// Connects and proves who answers, within the target's `connect_timeout`.
    pub async fn open(target: &Target, limits: &Limits) -> Result<Self, Error> {
        let who = Who { target: target.to_string(), login: target.user.clone() };
        let config = configuration(target, &who)?;
        let until = limits.deadline.min(Instant::now() + target.connect_timeout);
        let address = (target.host.as_str(), target.port);
        let opening = async {
            let unreachable = |reason: String| Error::Unreachable { who: who.clone(), reason };
            let stream = TcpStream::connect(address).await.map_err(|error| unreachable(error.to_string()))?;
            watch_peer(&stream).map_err(|error| unreachable(error.to_string()))?;
            let client = Client::connect(config, stream.compat_write())
                .await
                .map_err(|error| Error::of_login(&who, &target.database, error))?;
            let mut session = Self { client, who: who.clone(), limits: limits.clone(), id: 0, over: false };
            session.introduce(target).await?;
            Ok(session)
        };
        tokio::select! {
            () = limits.cancel.cancelled() => Err(Error::Cancelled { who: who.clone() }),
            opened = timeout_at(until, opening) => opened.unwrap_or_else(|_| {
                let reason = format!("no answer within {:?}; the instance may be frozen or starting", target.connect_timeout);
                Err(Error::Unreachable { who: who.clone(), reason })
            }),
        }
    }

    async fn introduce(&mut self, target: &Target) -> Result<(), Error> {
        let rows = self.rows("SELECT @@SERVERNAME AS server_name, @@SPID AS session_id", &[]).await?;
        let row = rows.first().cloned().unwrap_or_default();
        self.id = row.int("session_id").unwrap_or_default();
        let found = row.text("server_name").unwrap_or_default();
        match &target.instance {
            Some(expected) if !expected.eq_ignore_ascii_case(&found) => {
                Err(Error::OtherInstance { who: self.who.clone(), expected: expected.clone(), found })
            }
            _ => Ok(()),
        }
    }

    /// The instance and the login, for messages.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// `@@SPID`: what the server calls this session.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Nothing more can be asked of it: open another.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The end of everything asked from here on.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Executes text without parameters as one batch: the way for DDL, RESTORE, KILL, SET. Only the first error of a batch is
    /// told, and messages below level 11 never are.
    pub async fn batch(&mut self, sql: &str) -> Result<(), Error> {
        self.sets(sql).await.map(|_| ())
    }

    /// The result sets of a batch without parameters.
    pub async fn sets(&mut self, sql: &str) -> Result<Vec<Vec<Row>>, Error> {
        let Self { client, who, limits, over, .. } = self;
        let asking = async { client.simple_query(sql).await?.into_results().await };
        let ended = bounded(who, limits, over, asking).await;
        let results = self.settle(ended).await?;
        results.iter().map(|rows| self.read(rows)).collect()
    }

    /// The rows of a query's first result.
    pub async fn rows(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        let bound: Vec<&dyn ToSql> = parameters.iter().map(|value| value as &dyn ToSql).collect();
        let Self { client, who, limits, over, .. } = self;
        let asking = async { client.query(sql, &bound).await?.into_first_result().await };
        let ended = bounded(who, limits, over, asking).await;
        let rows = self.settle(ended).await?;
        self.read(&rows)
    }

    /// Executes a statement; how many rows it affected.
    pub async fn execute(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, Error> {
        let bound: Vec<&dyn ToSql> = parameters.iter().map(|value| value as &dyn ToSql).collect();
        let Self { client, who, limits, over, .. } = self;
        let asking = async { client.execute(sql, &bound).await };
        let ended = bounded(who, limits, over, asking).await;
        Ok(self.settle(ended).await?.total())
    }

    fn read(&self, rows: &[tiberius::Row]) -> Result<Vec<Row>, Error> {
        let read = rows.iter().map(Row::read).collect::<Result<Vec<_>, _>>();
        read.map_err(|reason| Error::Unreadable { who: self.who.clone(), reason })
    }

    /// After an end before the answer: the server is told to stop. The session can be used again where it did.
    async fn settle<T>(&mut self, ended: Result<T, Error>) -> Result<T, Error> {
        match &ended {
            Ok(_) => {}
            Err(Error::TooSlow { .. } | Error::Cancelled { .. }) if !self.over => {
                self.over = !matches!(timeout(ATTENTION_WITHIN, self.client.cancel_query()).await, Ok(Ok(())));
            }
            Err(Error::Broken { .. }) => self.over = true,
            Err(_) => {}
        }
        ended
    }
}

async fn bounded<T>(
    who: &Who,
    limits: &Limits,
    over: &bool,
    asking: impl Future<Output = tiberius::Result<T>>,
) -> Result<T, Error> {
    if *over {
        return Err(Error::Broken { who: who.clone(), number: None, reason: "it had ended before".to_owned() });
    }
    tokio::select! {
        () = limits.cancel.cancelled() => Err(Error::Cancelled { who: who.clone() }),
        answer = timeout_at(limits.deadline, asking) => match answer {
            Err(_) => Err(Error::TooSlow { who: who.clone() }),
            Ok(answer) => answer.map_err(|error| Error::of_statement(who, error)),
        },
    }
}

/// Waits a little between two looks; an error where the task ends first.
pub async fn pause(limits: &Limits, who: &Who, time: Duration) -> Result<(), Error> {
    let end = Instant::now() + time;
    tokio::select! {
        () = limits.cancel.cancelled() => Err(Error::Cancelled { who: who.clone() }),
        () = sleep_until(limits.deadline.min(end)) => {
            if end > limits.deadline { Err(Error::TooSlow { who: who.clone() }) } else { Ok(()) }
        }
    }
}

/// Without this a machine that lost its power would be waited for until the deadline.
fn watch_peer(stream: &TcpStream) -> std::io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PEER_SILENT / 3)?;
    sockopt::set_tcp_keepintvl(stream, PEER_SILENT / 6)?;
    sockopt::set_tcp_user_timeout(stream, PEER_SILENT.as_millis() as u32)?;
    Ok(())
}

fn configuration(target: &Target, who: &Who) -> Result<Config, Error> {
    let mut config = Config::new();
    config.host(&target.host);
    config.port(target.port);
    config.database(&target.database);
    config.application_name("baton");
    // Both bounds are ours: the client's would leave the session in the middle of an answer.
    config.handshake_timeout(None);
    config.command_timeout(None);
    let password = target.password.as_ref().map_or("", |password| password.as_str());
    config.authentication(AuthMethod::sql_server(&target.user, password));
    match &target.encryption {
        Encryption::Off => config.encryption(EncryptionLevel::NotSupported),
        Encryption::Trust => {
            config.encryption(EncryptionLevel::Required);
            config.trust_cert();
        }
        Encryption::Verify(authority) => {
            config.encryption(EncryptionLevel::Required);
            vouched(&mut config, authority, who)?;
        }
        Encryption::Strict(authority) => {
            config.encryption(EncryptionLevel::Strict);
            vouched(&mut config, authority, who)?;
        }
    }
    Ok(config)
}

fn vouched(config: &mut Config, authority: &Authority, who: &Who) -> Result<(), Error> {
    if let Some(path) = &authority.ca_file {
        let failed = |reason: String| Error::Authority { who: who.clone(), path: path.clone(), reason };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
        let found = certificates.collect::<Result<Vec<_>, _>>().map_err(|error| failed(error.to_string()))?;
        if found.is_empty() {
            return Err(failed("there is no certificate in it".to_owned()));
        }
        config.trust_cert_ca_bundle(std::fs::read(path).map_err(|error| failed(error.to_string()))?);
    }
    if let Some(name) = &authority.name {
        config.hostname_in_certificate(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
