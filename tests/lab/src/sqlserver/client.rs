//! The lab's own client of SQL Server: for services that depend on a database, for writers, for judging.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tiberius::{AuthMethod, Client, Config, EncryptionLevel, Row};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt as _};

/// One instance, a database on it, and who asks.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub address: SocketAddr,
    pub database: String,
    pub user: String,
    pub password: String,
}

/// A connection to an instance.
pub struct Session(Client<Compat<TcpStream>>);

impl Endpoint {
    pub async fn connect(&self) -> Result<Session> {
        let mut config = Config::new();
        config.host(self.address.ip());
        config.port(self.address.port());
        config.database(&self.database);
        config.application_name("baton-lab");
        config.authentication(AuthMethod::sql_server(&self.user, &self.password));
        // The instance makes a certificate of its own at every start.
        config.encryption(EncryptionLevel::Required);
        config.trust_cert();
        let what = || format!("connect to {} at {}", self.database, self.address);
        let stream = TcpStream::connect(self.address).await.with_context(what)?;
        stream.set_nodelay(true)?;
        Ok(Session(Client::connect(config, stream.compat_write()).await.with_context(what)?))
    }

    /// Whether the database is open for writing here: it is the primary's copy, or in no group at all.
    pub async fn is_writable(&self) -> Result<bool> {
        let mut session = self.connect().await?;
        let sql = "SELECT sys.fn_hadr_is_primary_replica(DB_NAME()) AS leads, \
                   CAST(DATABASEPROPERTYEX(DB_NAME(), 'Status') AS nvarchar(60)) AS status, \
                   CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(60)) AS updateability";
        let rows = session.rows(sql).await?;
        let row = rows.first().context("no row")?;
        let text = |name: &str| row.get::<&str, _>(name).unwrap_or_default().to_owned();
        let leads = row.get::<bool, _>("leads").unwrap_or(true);
        Ok(leads && text("status") == "ONLINE" && text("updateability") == "READ_WRITE")
    }
}

impl Session {
    /// The rows of one statement.
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<Row>> {
        let results = self.0.simple_query(sql).await.with_context(|| sql.to_owned())?;
        results.into_first_result().await.with_context(|| sql.to_owned())
    }

    /// A statement without rows.
    pub async fn run(&mut self, sql: &str) -> Result<()> {
        let results = self.0.simple_query(sql).await.with_context(|| sql.to_owned())?;
        results.into_results().await.with_context(|| sql.to_owned()).map(drop)
    }
}
