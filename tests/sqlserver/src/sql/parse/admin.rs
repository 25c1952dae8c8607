//! ALTER AVAILABILITY GROUP, ALTER DATABASE, ALTER ENDPOINT.

use super::Parser;
use crate::sql::syntax::{DatabaseAction, GroupAction, What};
use crate::sql::token::Kind;
use crate::world::SqlError;
use crate::world::configure::{GroupOption, ReplicaOption};
use crate::world::database::{Access, RecoveryModel};
use crate::world::group::{Availability, FailoverMode};

impl Parser<'_> {
    pub(super) fn alter(&mut self) -> Result<What, SqlError> {
        self.at += 1;
        if self.takes_all(&["AVAILABILITY", "GROUP"]) {
            let group = self.name()?;
            return Ok(What::AlterGroup { group, action: self.group_action()? });
        }
        if self.takes("DATABASE") {
            let database = self.name()?;
            return Ok(What::AlterDatabase { database, action: self.database_action()? });
        }
        if self.takes("ENDPOINT") {
            self.name()?;
            self.expect("STATE")?;
            self.expect_sign("=")?;
            let started = self.takes("STARTED");
            if !started {
                self.expect("STOPPED")?;
            }
            return Ok(What::AlterEndpoint { started });
        }
        Err(self.unexpected())
    }

    fn group_action(&mut self) -> Result<GroupAction, SqlError> {
        if self.takes("FAILOVER") {
            return Ok(GroupAction::FailOver);
        }
        if self.takes("FORCE_FAILOVER_ALLOW_DATA_LOSS") {
            return Ok(GroupAction::Force);
        }
        if self.takes("OFFLINE") {
            return Ok(GroupAction::Offline);
        }
        if self.takes("JOIN") {
            if self.takes("WITH") {
                self.expect_sign("(")?;
                self.expect("CLUSTER_TYPE")?;
                self.expect_sign("=")?;
                self.name()?;
                self.expect_sign(")")?;
            }
            return Ok(GroupAction::Join);
        }
        if self.takes_all(&["ADD", "DATABASE"]) {
            return Ok(GroupAction::AddDatabases(self.list(Parser::name)?));
        }
        if self.takes_all(&["REMOVE", "DATABASE"]) {
            return Ok(GroupAction::RemoveDatabases(self.list(Parser::name)?));
        }
        if self.takes_all(&["REMOVE", "REPLICA", "ON"]) {
            return Ok(GroupAction::RemoveReplica(self.text()?));
        }
        if self.takes_all(&["MODIFY", "REPLICA", "ON"]) {
            let replica = self.text()?;
            self.expect("WITH")?;
            self.expect_sign("(")?;
            let options = self.list(Parser::replica_option)?;
            self.expect_sign(")")?;
            return Ok(GroupAction::Modify { replica, options });
        }
        if self.takes("SET") {
            self.expect_sign("(")?;
            let action = if self.takes("ROLE") {
                self.expect_sign("=")?;
                self.expect("SECONDARY")?;
                GroupAction::RoleSecondary
            } else if self.takes("WRITE_LEASE_VALIDITY") {
                self.expect_sign("=")?;
                self.integer()?;
                GroupAction::WriteLease
            } else {
                GroupAction::Set(self.list(Parser::group_option)?)
            };
            self.expect_sign(")")?;
            return Ok(action);
        }
        Err(self.unexpected())
    }

    fn number_i32(&mut self) -> Result<i32, SqlError> {
        i32::try_from(self.integer()?).map_err(|_| self.unexpected())
    }

    /// One of several words, each with what it means.
    fn one_of<T: Copy>(&mut self, words: &[(&str, T)]) -> Result<T, SqlError> {
        for (word, meaning) in words {
            if self.takes(word) {
                return Ok(*meaning);
            }
        }
        Err(self.unexpected())
    }

    fn group_option(&mut self) -> Result<GroupOption, SqlError> {
        let name = self.name()?.to_uppercase();
        self.expect_sign("=")?;
        Ok(match name.as_str() {
            "REQUIRED_SYNCHRONIZED_SECONDARIES_TO_COMMIT" => GroupOption::RequiredSynchronized(self.number_i32()?),
            "FAILURE_CONDITION_LEVEL" => GroupOption::FailureConditionLevel(self.number_i32()?),
            "HEALTH_CHECK_TIMEOUT" => GroupOption::HealthCheckTimeout(self.number_i32()?),
            "DB_FAILOVER" => GroupOption::DatabaseFailover(self.one_of(&[("ON", true), ("OFF", false)])?),
            "AUTOMATED_BACKUP_PREFERENCE" => GroupOption::BackupPreference(self.one_of(&[
                ("PRIMARY", 0),
                ("SECONDARY_ONLY", 1),
                ("SECONDARY", 2),
                ("NONE", 3),
            ])?),
            _ => return Err(SqlError::syntax(&name)),
        })
    }

    fn replica_option(&mut self) -> Result<ReplicaOption, SqlError> {
        let name = self.name()?.to_uppercase();
        if matches!(name.as_str(), "PRIMARY_ROLE" | "SECONDARY_ROLE") {
            self.expect_sign("(")?;
            let option = self.role_option(name == "PRIMARY_ROLE")?;
            self.expect_sign(")")?;
            return Ok(option);
        }
        self.expect_sign("=")?;
        Ok(match name.as_str() {
            "AVAILABILITY_MODE" => ReplicaOption::Availability(self.one_of(&[
                ("SYNCHRONOUS_COMMIT", Availability::Synchronous),
                ("ASYNCHRONOUS_COMMIT", Availability::Asynchronous),
                ("CONFIGURATION_ONLY", Availability::ConfigurationOnly),
            ])?),
            "FAILOVER_MODE" => ReplicaOption::Failover(self.one_of(&[
                ("AUTOMATIC", FailoverMode::Automatic),
                ("MANUAL", FailoverMode::Manual),
                ("EXTERNAL", FailoverMode::External),
            ])?),
            "SESSION_TIMEOUT" => ReplicaOption::SessionTimeout(self.number_i32()?),
            "BACKUP_PRIORITY" => ReplicaOption::BackupPriority(self.number_i32()?),
            "SEEDING_MODE" => ReplicaOption::SeedingManual(self.one_of(&[("MANUAL", true), ("AUTOMATIC", false)])?),
            "ENDPOINT_URL" => ReplicaOption::Endpoint(self.text()?),
            _ => return Err(SqlError::syntax(&name)),
        })
    }

    fn role_option(&mut self, primary: bool) -> Result<ReplicaOption, SqlError> {
        let name = self.name()?.to_uppercase();
        self.expect_sign("=")?;
        Ok(match (name.as_str(), primary) {
            ("ALLOW_CONNECTIONS", true) => ReplicaOption::PrimaryAllow(self.one_of(&[("ALL", 2), ("READ_WRITE", 3)])?),
            ("ALLOW_CONNECTIONS", false) => {
                ReplicaOption::SecondaryAllow(self.one_of(&[("NO", 0), ("READ_ONLY", 1), ("ALL", 2)])?)
            }
            ("READ_ONLY_ROUTING_URL", false) => ReplicaOption::RoutingUrl(self.text()?),
            ("READ_ONLY_ROUTING_LIST", true) => {
                if self.takes("NONE") {
                    return Ok(ReplicaOption::RoutingList(Vec::new()));
                }
                self.expect_sign("(")?;
                let list = self.list(Parser::text)?;
                self.expect_sign(")")?;
                ReplicaOption::RoutingList(list)
            }
            _ => return Err(SqlError::syntax(&name)),
        })
    }

    fn database_action(&mut self) -> Result<DatabaseAction, SqlError> {
        if self.takes_all(&["MODIFY", "NAME"]) {
            self.expect_sign("=")?;
            return Ok(DatabaseAction::Rename(self.name()?));
        }
        self.expect("SET")?;
        if self.takes("HADR") {
            if self.takes("SUSPEND") {
                return Ok(DatabaseAction::Suspend);
            }
            if self.takes("RESUME") {
                return Ok(DatabaseAction::Resume);
            }
            if self.takes("OFF") {
                return Ok(DatabaseAction::Leave);
            }
            self.expect("AVAILABILITY")?;
            self.expect("GROUP")?;
            self.expect_sign("=")?;
            return Ok(DatabaseAction::Join(self.name()?));
        }
        let access =
            [("SINGLE_USER", Access::Single), ("MULTI_USER", Access::Multi), ("RESTRICTED_USER", Access::Restricted)];
        for (word, access) in access {
            if self.takes(word) {
                return Ok(DatabaseAction::Access { access, rollback: self.rollback_after()? });
            }
        }
        if self.takes("RECOVERY") {
            return Ok(DatabaseAction::Recovery(self.one_of(&[
                ("FULL", RecoveryModel::Full),
                ("SIMPLE", RecoveryModel::Simple),
                ("BULK_LOGGED", RecoveryModel::BulkLogged),
            ])?));
        }
        let states = [
            ("READ_ONLY", DatabaseAction::ReadOnly(true)),
            ("READ_WRITE", DatabaseAction::ReadOnly(false)),
            ("ONLINE", DatabaseAction::Online(true)),
            ("OFFLINE", DatabaseAction::Online(false)),
        ];
        for (word, action) in states {
            if self.takes(word) {
                self.rollback_after()?;
                return Ok(action);
            }
        }
        for word in [
            "PAGE_VERIFY",
            "ALLOW_SNAPSHOT_ISOLATION",
            "READ_COMMITTED_SNAPSHOT",
            "AUTO_CLOSE",
            "AUTO_SHRINK",
            "TRUSTWORTHY",
        ] {
            if self.takes(word) {
                self.name()?;
                self.rollback_after()?;
                return Ok(DatabaseAction::Harmless);
            }
        }
        Err(self.unexpected())
    }

    /// `WITH ROLLBACK IMMEDIATE`, `WITH ROLLBACK AFTER n`, `WITH NO_WAIT`.
    fn rollback_after(&mut self) -> Result<bool, SqlError> {
        if !self.is_word("WITH")
            || !matches!(self.peek_at(1), Kind::Word(word) if ["rollback", "no_wait"].contains(&word.to_lowercase().as_str()))
        {
            return Ok(false);
        }
        self.at += 1;
        if self.takes("NO_WAIT") {
            return Ok(false);
        }
        self.at += 1;
        if self.takes("AFTER") {
            self.integer()?;
            self.takes("SECONDS");
        } else {
            self.expect("IMMEDIATE")?;
        }
        Ok(true)
    }
}
