//! What an appliance is: its name, organisation, side, address, databases and where its files are.
//! Names only; nothing here touches the disk.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// A database of an appliance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Database {
    /// Fabric: every appliance has it.
    Fdb,
    /// Element: tenants only.
    Edb,
    /// App volumes manager: tenants only.
    Avdb,
}

impl Database {
    /// The database's name on the server.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fdb => "fdb",
            Self::Edb => "edb",
            Self::Avdb => "avdb",
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Whose appliance it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Organization {
    /// The service provider, organisation 1000.
    Provider,
    /// The one tenant, organisation 1001.
    Tenant,
}

impl Organization {
    /// The number the vendor's Service Center shows.
    pub fn id(self) -> i32 {
        match self {
            Self::Provider => 1000,
            Self::Tenant => 1001,
        }
    }

    /// The databases its appliances have.
    pub fn databases(self) -> &'static [Database] {
        match self {
            Self::Provider => &[Database::Fdb],
            Self::Tenant => &[Database::Fdb, Database::Edb, Database::Avdb],
        }
    }
}

/// Which of the two appliances of an organisation: A is the primary at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The first, Slony node 1.
    A,
    /// The second, Slony node 2.
    B,
}

/// A service that the vendor's procedure stops and starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// The main service; depends on fdb as `fdb.properties` says.
    DtService,
    /// Depends on avdb as `avdb.properties` says (on the provider, which has none: on fdb).
    AvManager,
    /// Depends on the JDBC addresses in `application.properties`.
    Diagnose,
}

impl Service {
    /// All three, in the vendor's order.
    pub const ALL: [Self; 3] = [Self::DtService, Self::AvManager, Self::Diagnose];

    /// The name for `service NAME start`.
    pub fn name(self) -> &'static str {
        match self {
            Self::DtService => "dtService",
            Self::AvManager => "av-manager",
            Self::Diagnose => "diagnose",
        }
    }

    /// The service of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// Where its health is asked by HTTP.
    pub fn port(self) -> u16 {
        match self {
            Self::DtService => 8080,
            Self::AvManager => 8081,
            Self::Diagnose => 8082,
        }
    }
}

/// One appliance. Cheap to clone: names and paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appliance {
    /// `sp-a`, `sp-b`, `ta-a`, `ta-b`; also its name in the table `appliance`.
    pub name: String,
    /// Whose it is.
    pub organization: Organization,
    /// Which of the two.
    pub side: Side,
    /// Its own loopback address.
    pub address: Ipv4Addr,
    /// Where its PostgreSQL listens.
    pub database_port: u16,
    /// The address of the other appliance of the organisation.
    pub peer: Ipv4Addr,
    /// Its root directory.
    pub root: PathBuf,
}

impl Appliance {
    /// Its database server.
    pub fn server(&self) -> SocketAddr {
        SocketAddr::from((self.address, self.database_port))
    }

    /// Where a service's health is: `GET /` answers 200 only when it can write to its database.
    pub fn health(&self, service: Service) -> SocketAddr {
        SocketAddr::from((self.address, service.port()))
    }

    /// A path inside the root directory, given as the vendor writes it (`/usr/local/…`).
    pub fn path(&self, vendor: &str) -> PathBuf {
        self.root.join(vendor.trim_start_matches('/'))
    }

    /// The properties file that names a database's hosts.
    pub fn properties(&self, database: Database) -> PathBuf {
        // The vendor has fdb's in conf/, the others one level up.
        self.path(match database {
            Database::Fdb => "/usr/local/desktone/release/active/conf/fdb.properties",
            Database::Edb => "/usr/local/desktone/release/active/edb.properties",
            Database::Avdb => "/usr/local/desktone/release/active/avdb.properties",
        })
    }

    /// The file with the JDBC addresses.
    pub fn application_properties(&self) -> PathBuf {
        self.path("/usr/local/xmpms/diagnose/config/application.properties")
    }

    /// The vendor's `av-setup`.
    pub fn av_setup(&self) -> PathBuf {
        self.path("/usr/local/desktone/scripts/av-setup")
    }

    /// The script that starts the slon of a database.
    pub fn slon_script(&self, database: Database) -> PathBuf {
        self.path(&format!("/usr/local/desktone/scripts/start_slon_{database}.sh"))
    }

    /// The script that starts the watchdog that restarts slons.
    pub fn watchdog_script(&self) -> PathBuf {
        self.path("/usr/local/desktone/scripts/start_slon_watchdog.sh")
    }

    /// The pid file of a slon; also an argument on its command line, and so what tells it from other appliances'.
    pub fn slon_pid_file(&self, database: Database) -> PathBuf {
        self.path(&format!("/run/slon_{database}.pid"))
    }

    /// The service manager: `service NAME start|stop|restart|status`.
    pub fn service_command(&self) -> PathBuf {
        self.path("/bin/service")
    }

    /// The journal of effects: a line `TIME NAME VERB` for each.
    pub fn effects(&self) -> PathBuf {
        self.path("/var/effects.log")
    }

    /// A log file.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path(&format!("/var/log/{name}.log"))
    }

    /// The data directory of its database server.
    pub fn data(&self) -> PathBuf {
        self.path("/pgdata")
    }

    /// The password file of libpq for its slons, scripts and services.
    pub fn pgpass(&self) -> PathBuf {
        self.path("/etc/pgpass")
    }

    /// A file with nothing but the password of the databases: what `DB_PASSWORD` must be.
    pub fn password_file(&self) -> PathBuf {
        self.path("/etc/database-password")
    }

    /// Its databases.
    pub fn databases(&self) -> &'static [Database] {
        self.organization.databases()
    }
}

/// One line of an appliance's journal of effects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// When, as the script saw it (RFC 3339, UTC, milliseconds).
    pub at: String,
    /// What it was done to: `dtService`, `slon_fdb`, `av-setup`.
    pub what: String,
    /// What was done: `start`, `stop`, `run`; `start-again` and `stop-again` changed nothing.
    pub verb: String,
}

/// Reads a journal of effects. A journal that is not there yet holds none.
pub fn effects(path: &Path) -> std::io::Result<Vec<Effect>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let effect = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        Some(Effect { at: words.next()?, what: words.next()?, verb: words.next()? })
    };
    Ok(text.lines().filter_map(effect).collect())
}
