//! One SQL Server instance: its address, version, logins and databases.
//!
//! Apart from its process, which may be dead while all of this persists.

use super::database::Database;
use super::msdb::Msdb;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// `HOST` or `HOST\INSTANCE`.
    pub name: String,
    /// `host:port` where it listens.
    pub address: String,
    /// The cluster's node that carries it; the host's part of its name by default.
    pub node: String,
    /// 15: 2019, 16: 2022.
    pub version: u16,
    pub edition: String,
    pub hadr_enabled: bool,
    /// SQL Server Agent runs.
    pub agent_running: bool,
    pub logins: BTreeMap<String, Account>,
    /// By lower-case name, system databases included.
    pub databases: BTreeMap<String, Database>,
    pub msdb: Msdb,
    pub started_at: i64,
    /// A process was this instance once. Until then it counts as running, as it was built.
    pub begun: bool,
    /// Connections must be encrypted.
    pub force_encryption: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    pub password: String,
    pub disabled: bool,
    pub default_database: String,
    pub rights: BTreeSet<Right>,
    /// Databases that it cannot enter, in lower case.
    pub denied_databases: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Right {
    Sysadmin,
    ViewServerState,
    ViewAnyDefinition,
    AlterAnyAvailabilityGroup,
    AlterAnyConnection,
    /// dbcreator: backup, restore, alter of any database.
    AlterAnyDatabase,
}

impl Right {
    /// As `HAS_PERMS_BY_NAME` and messages call it.
    pub fn words(self) -> &'static str {
        match self {
            Right::Sysadmin => "CONTROL SERVER",
            Right::ViewServerState => "VIEW SERVER STATE",
            Right::ViewAnyDefinition => "VIEW ANY DEFINITION",
            Right::AlterAnyAvailabilityGroup => "ALTER ANY AVAILABILITY GROUP",
            Right::AlterAnyConnection => "ALTER ANY CONNECTION",
            Right::AlterAnyDatabase => "ALTER ANY DATABASE",
        }
    }

    pub const ALL: [Right; 6] = [
        Right::Sysadmin,
        Right::ViewServerState,
        Right::ViewAnyDefinition,
        Right::AlterAnyAvailabilityGroup,
        Right::AlterAnyConnection,
        Right::AlterAnyDatabase,
    ];
}

impl Account {
    pub fn administrator(name: &str, password: &str) -> Account {
        Account::with_rights(name, password, &[Right::Sysadmin])
    }

    pub fn with_rights(name: &str, password: &str, rights: &[Right]) -> Account {
        Account {
            name: name.to_owned(),
            password: password.to_owned(),
            disabled: false,
            default_database: "master".to_owned(),
            rights: rights.iter().copied().collect(),
            denied_databases: BTreeSet::new(),
        }
    }

    pub fn may(&self, right: Right) -> bool {
        self.rights.contains(&Right::Sysadmin) || self.rights.contains(&right)
    }
}

impl Server {
    pub fn new(name: &str, address: &str, at: i64) -> Server {
        Server {
            name: name.to_owned(),
            address: address.to_owned(),
            node: name.split('\\').next().unwrap_or(name).to_owned(),
            version: 16,
            edition: "Enterprise Edition (64-bit)".to_owned(),
            hadr_enabled: true,
            agent_running: true,
            logins: BTreeMap::new(),
            databases: BTreeMap::new(),
            msdb: Msdb::default(),
            started_at: at,
            begun: false,
            force_encryption: false,
        }
    }

    pub fn product_version(&self) -> &'static str {
        match self.version {
            13 => "13.0.7016.1",
            14 => "14.0.3456.2",
            15 => "15.0.4298.1",
            17 => "17.0.1000.7",
            _ => "16.0.4085.2",
        }
    }

    pub fn year(&self) -> &'static str {
        match self.version {
            13 => "2016",
            14 => "2017",
            15 => "2019",
            17 => "2025",
            _ => "2022",
        }
    }

    pub fn next_database_id(&self) -> i32 {
        (5..)
            .find(|id| self.databases.values().all(|one| one.id != *id))
            .expect("there are fewer databases than numbers")
    }
}
