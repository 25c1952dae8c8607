//! RESTORE HEADERONLY, FILELISTONLY, LABELONLY: what a file says of itself.

use super::media::{Media, Set};
use crate::answer::{Type, Value};
use crate::sql::rows::{Rows, maybe, text};

const GUID: Type = Type::UniqueIdentifier;
const LSN: Type = Type::Numeric { precision: 25 };
const fn nvarchar(length: u16) -> Type {
    Type::NVarChar { length }
}

pub fn header_rows(media: &Media) -> Rows {
    let mut rows = Rows::of(&[
        ("BackupName", nvarchar(128)),
        ("BackupDescription", nvarchar(255)),
        ("BackupType", Type::SmallInt),
        ("ExpirationDate", Type::DateTime),
        ("Compressed", Type::Bit),
        ("Position", Type::SmallInt),
        ("DeviceType", Type::TinyInt),
        ("UserName", nvarchar(128)),
        ("ServerName", nvarchar(128)),
        ("DatabaseName", nvarchar(128)),
        ("DatabaseVersion", Type::Int),
        ("DatabaseCreationDate", Type::DateTime),
        ("BackupSize", Type::Numeric { precision: 20 }),
        ("FirstLSN", LSN),
        ("LastLSN", LSN),
        ("CheckpointLSN", LSN),
        ("DatabaseBackupLSN", LSN),
        ("BackupStartDate", Type::DateTime),
        ("BackupFinishDate", Type::DateTime),
        ("SortOrder", Type::SmallInt),
        ("CodePage", Type::SmallInt),
        ("UnicodeLocaleId", Type::Int),
        ("UnicodeComparisonStyle", Type::Int),
        ("CompatibilityLevel", Type::TinyInt),
        ("SoftwareVendorId", Type::Int),
        ("SoftwareVersionMajor", Type::Int),
        ("SoftwareVersionMinor", Type::Int),
        ("SoftwareVersionBuild", Type::Int),
        ("MachineName", nvarchar(128)),
        ("Flags", Type::Int),
        ("BindingID", GUID),
        ("RecoveryForkID", GUID),
        ("Collation", nvarchar(128)),
        ("FamilyGUID", GUID),
        ("HasBulkLoggedData", Type::Bit),
        ("IsSnapshot", Type::Bit),
        ("IsReadOnly", Type::Bit),
        ("IsSingleUser", Type::Bit),
        ("HasBackupChecksums", Type::Bit),
        ("IsDamaged", Type::Bit),
        ("BeginsLogChain", Type::Bit),
        ("HasIncompleteMetaData", Type::Bit),
        ("IsForceOffline", Type::Bit),
        ("IsCopyOnly", Type::Bit),
        ("FirstRecoveryForkID", GUID),
        ("ForkPointLSN", LSN),
        ("RecoveryModel", nvarchar(60)),
        ("DifferentialBaseLSN", LSN),
        ("DifferentialBaseGUID", GUID),
        ("BackupTypeDescription", nvarchar(60)),
        ("BackupSetGUID", GUID),
        ("CompressedBackupSize", Type::BigInt),
        ("containment", Type::TinyInt),
        ("KeyAlgorithm", nvarchar(32)),
        ("EncryptorThumbprint", Type::VarBinary { length: 20 }),
        ("EncryptorType", nvarchar(32)),
    ]);
    for set in &media.sets {
        rows.push(header(set));
    }
    rows
}

fn header(set: &Set) -> Vec<Value> {
    let header = &set.header;
    let log = header.kind == 'L';
    let no = Value::Bit(false);
    vec![
        maybe(set.backup_name.as_deref(), text),
        Value::Null,
        Value::SmallInt(if log { 2 } else { 1 }),
        Value::Null,
        no.clone(),
        Value::SmallInt(i16::try_from(header.position).unwrap_or(i16::MAX)),
        Value::TinyInt(2),
        text(&set.user),
        text(&header.server),
        text(&header.database),
        Value::Int(957),
        Value::DateTime(set.created),
        Value::Numeric(i128::from(header.size)),
        Value::Numeric(header.first),
        Value::Numeric(header.last),
        Value::Numeric(header.checkpoint),
        Value::Numeric(header.database_backup),
        Value::DateTime(header.started),
        Value::DateTime(header.finished),
        Value::SmallInt(52),
        Value::SmallInt(0),
        Value::Int(1033),
        Value::Int(196_609),
        Value::TinyInt(160),
        Value::Int(4608),
        Value::Int(16),
        Value::Int(0),
        Value::Int(4085),
        text(&header.server),
        Value::Int(512),
        Value::Guid(header.family),
        Value::Guid(header.last_fork),
        text("SQL_Latin1_General_CP1_CI_AS"),
        Value::Guid(header.family),
        no.clone(),
        no.clone(),
        no.clone(),
        no.clone(),
        Value::Bit(true),
        no.clone(),
        Value::Bit(header.begins_log_chain),
        no,
        Value::Bit(header.force_offline),
        Value::Bit(header.copy_only),
        Value::Guid(header.first_fork),
        maybe(header.fork_point, Value::Numeric),
        text(&header.recovery_model),
        Value::Null,
        Value::Null,
        text(if log { "Transaction Log" } else { "Database" }),
        Value::Guid(header.set),
        Value::BigInt(header.size),
        Value::TinyInt(0),
        Value::Null,
        Value::Null,
        Value::Null,
    ]
}

pub fn file_rows(set: &Set) -> Rows {
    let mut rows = Rows::of(&[
        ("LogicalName", nvarchar(128)),
        ("PhysicalName", nvarchar(260)),
        ("Type", Type::Char { length: 1 }),
        ("FileGroupName", nvarchar(128)),
        ("Size", Type::Numeric { precision: 20 }),
        ("MaxSize", Type::Numeric { precision: 20 }),
        ("FileId", Type::BigInt),
    ]);
    let name = &set.header.database;
    for (at, (logical, file, kind)) in
        [(name.clone(), format!("{name}.mdf"), "D"), (format!("{name}_log"), format!("{name}_log.ldf"), "L")]
            .into_iter()
            .enumerate()
    {
        rows.push(vec![
            text(logical),
            text(format!("/var/opt/mssql/data/{file}")),
            text(kind),
            if kind == "D" { text("PRIMARY") } else { Value::Null },
            Value::Numeric(8_388_608),
            Value::Numeric(35_184_372_080_640),
            Value::BigInt(i64::try_from(at).unwrap_or(0) + 1),
        ]);
    }
    rows
}

pub fn label_rows(set: &Set) -> Rows {
    let mut rows = Rows::of(&[
        ("MediaName", nvarchar(128)),
        ("MediaSetId", GUID),
        ("FamilyCount", Type::Int),
        ("FamilySequenceNumber", Type::Int),
        ("SoftwareName", nvarchar(128)),
        ("MediaDate", Type::DateTime),
    ]);
    rows.push(vec![
        Value::Null,
        Value::Guid(set.header.set),
        Value::Int(1),
        Value::Int(1),
        text("Microsoft SQL Server"),
        Value::DateTime(set.header.finished),
    ]);
    rows
}
