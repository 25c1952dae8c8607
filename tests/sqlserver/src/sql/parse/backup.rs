//! BACKUP and RESTORE.

use super::Parser;
use crate::answer::{Type, Value};
use crate::sql::syntax::{Backup, Expression, Name, Restore, RestoreEnd, RestoreWhat, What};
use crate::sql::token::Kind;
use crate::world::SqlError;

impl Parser<'_> {
    fn name_or_variable(&mut self) -> Result<Name, SqlError> {
        if let Kind::Variable(name) = self.peek().clone() {
            self.at += 1;
            return Ok(Name::Variable(name));
        }
        Ok(Name::Plain(self.name()?))
    }

    /// A text or a variable.
    fn file_name(&mut self) -> Result<Expression, SqlError> {
        if let Kind::Variable(name) = self.peek().clone() {
            self.at += 1;
            return Ok(Expression::Variable(name));
        }
        let text = self.text()?;
        Ok(Expression::Literal(Value::Text(text), Type::NVarChar { length: 4000 }))
    }

    fn device(&mut self) -> Result<Expression, SqlError> {
        self.expect("DISK")?;
        self.expect_sign("=")?;
        self.file_name()
    }

    pub(super) fn backup(&mut self) -> Result<What, SqlError> {
        self.at += 1;
        let log = self.takes("LOG");
        if !log {
            self.expect("DATABASE")?;
        }
        let database = self.name_or_variable()?;
        self.expect("TO")?;
        let device = self.device()?;
        let mut backup = Backup {
            database,
            log,
            device,
            copy_only: false,
            differential: false,
            no_recovery: false,
            standby: None,
            no_truncate: false,
            init: false,
            stats: false,
            name: None,
        };
        if self.takes("WITH") {
            self.list(|parser| parser.backup_option(&mut backup))?;
        }
        Ok(What::Backup(backup))
    }

    fn backup_option(&mut self, backup: &mut Backup) -> Result<(), SqlError> {
        let option = self.name()?.to_uppercase();
        match option.as_str() {
            "COPY_ONLY" => backup.copy_only = true,
            "DIFFERENTIAL" if !backup.log => backup.differential = true,
            "NORECOVERY" if backup.log => backup.no_recovery = true,
            "STANDBY" if backup.log => {
                self.expect_sign("=")?;
                backup.standby = Some(self.text()?);
            }
            "NO_TRUNCATE" if backup.log => backup.no_truncate = true,
            "INIT" | "FORMAT" => backup.init = true,
            "NOINIT"
            | "NOFORMAT"
            | "CHECKSUM"
            | "NO_CHECKSUM"
            | "COMPRESSION"
            | "NO_COMPRESSION"
            | "SKIP"
            | "NOSKIP"
            | "NOREWIND"
            | "REWIND"
            | "NOUNLOAD"
            | "UNLOAD"
            | "CONTINUE_AFTER_ERROR"
            | "STOP_ON_ERROR" => {}
            "STATS" => {
                backup.stats = true;
                if self.takes_sign("=") {
                    self.integer()?;
                }
            }
            "NAME" => {
                self.expect_sign("=")?;
                backup.name = Some(self.text()?);
            }
            "DESCRIPTION" | "MEDIANAME" | "MEDIADESCRIPTION" => {
                self.expect_sign("=")?;
                self.text()?;
            }
            "BUFFERCOUNT" | "MAXTRANSFERSIZE" | "BLOCKSIZE" | "RETAINDAYS" => {
                self.expect_sign("=")?;
                self.integer()?;
            }
            _ => return Err(SqlError::syntax(&option)),
        }
        Ok(())
    }

    pub(super) fn restore(&mut self) -> Result<What, SqlError> {
        self.at += 1;
        let kinds = [
            ("DATABASE", RestoreWhat::Database),
            ("LOG", RestoreWhat::Log),
            ("HEADERONLY", RestoreWhat::HeaderOnly),
            ("FILELISTONLY", RestoreWhat::FileListOnly),
            ("VERIFYONLY", RestoreWhat::VerifyOnly),
            ("LABELONLY", RestoreWhat::LabelOnly),
        ];
        let Some((_, what)) = kinds.iter().find(|(word, _)| self.is_word(word)) else {
            return Err(self.unexpected());
        };
        self.at += 1;
        let named = matches!(what, RestoreWhat::Database | RestoreWhat::Log);
        let database = if named { Some(self.name_or_variable()?) } else { None };
        let mut restore = Restore {
            what: *what,
            database,
            device: None,
            file: None,
            recovery: RestoreEnd::Recovery,
            replace: false,
            stats: false,
        };
        if self.takes("FROM") {
            restore.device = Some(self.device()?);
        } else if !named {
            return Err(self.unexpected());
        }
        if self.takes("WITH") {
            self.list(|parser| parser.restore_option(&mut restore))?;
        }
        Ok(What::Restore(restore))
    }

    fn restore_option(&mut self, restore: &mut Restore) -> Result<(), SqlError> {
        let option = self.name()?.to_uppercase();
        match option.as_str() {
            "RECOVERY" => restore.recovery = RestoreEnd::Recovery,
            "NORECOVERY" => restore.recovery = RestoreEnd::NoRecovery,
            "STANDBY" => {
                self.expect_sign("=")?;
                restore.recovery = RestoreEnd::Standby(self.file_name()?);
            }
            "REPLACE" => restore.replace = true,
            "FILE" => {
                self.expect_sign("=")?;
                restore.file = Some(self.integer()?);
            }
            "STATS" => {
                restore.stats = true;
                if self.takes_sign("=") {
                    self.integer()?;
                }
            }
            // Files have no place of their own here.
            "MOVE" => {
                self.text()?;
                self.expect("TO")?;
                self.file_name()?;
            }
            "CHECKSUM"
            | "NO_CHECKSUM"
            | "RESTART"
            | "NOUNLOAD"
            | "UNLOAD"
            | "CONTINUE_AFTER_ERROR"
            | "STOP_ON_ERROR"
            | "KEEP_REPLICATION" => {}
            "BUFFERCOUNT" | "MAXTRANSFERSIZE" | "BLOCKSIZE" => {
                self.expect_sign("=")?;
                self.integer()?;
            }
            _ => return Err(SqlError::syntax(&option)),
        }
        Ok(())
    }
}
