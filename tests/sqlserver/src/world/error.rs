//! Errors and information with SQL Server's own numbers, classes and words.
//!
//! Apart so that the words stand in one place, next to each other. It must never invent a number: what the simulator cannot do
//! is 50000 with a sentence.

use crate::answer::Message;
use std::fmt;

/// What a statement says instead of, or besides, its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    pub number: i32,
    pub class: u8,
    pub state: u8,
    pub text: String,
    pub procedure: String,
    /// Errors that follow on the wire: 3013 after the reason, 5069, 18456.
    pub then: Vec<SqlError>,
}

impl SqlError {
    /// A catalogued error with its `%s` filled in order.
    pub fn new(number: i32, values: &[&str]) -> SqlError {
        let (class, template) = match CATALOGUE.binary_search_by_key(&number, |(number, _, _)| *number) {
            Ok(found) => (CATALOGUE[found].1, CATALOGUE[found].2),
            Err(_) => (16, "%s"),
        };
        let mut text = String::new();
        let mut values = values.iter();
        let mut rest = template;
        while let Some(at) = rest.find('%') {
            text.push_str(&rest[..at]);
            if rest[at..].starts_with("%s") {
                text.push_str(values.next().copied().unwrap_or(""));
            } else {
                text.push('%');
            }
            rest = rest.get(at + 2..).unwrap_or("");
        }
        text.push_str(rest);
        SqlError { number, class, state: 1, text, procedure: String::new(), then: Vec::new() }
    }

    /// What the simulator cannot do; never an empty success.
    pub fn unsupported(what: impl fmt::Display) -> SqlError {
        SqlError::new(50000, &[&format!("The simulator does not know this: {what}.")])
    }

    pub fn syntax(near: &str) -> SqlError {
        SqlError::new(102, &[near])
    }

    #[must_use]
    pub fn then(mut self, next: SqlError) -> SqlError {
        self.then.push(next);
        self
    }

    /// A backup's or restore's error: the reason first, then 3013.
    #[must_use]
    pub fn terminating(self, command: &str) -> SqlError {
        self.then(SqlError::new(3013, &[command]))
    }

    #[must_use]
    pub fn with_state(mut self, state: u8) -> SqlError {
        self.state = state;
        self
    }

    #[must_use]
    pub fn in_procedure(mut self, procedure: &str) -> SqlError {
        self.procedure = procedure.to_owned();
        self
    }

    /// As messages, in order.
    pub fn messages(&self, line: i32) -> Vec<Message> {
        let own = Message {
            number: self.number,
            state: self.state,
            // Severity 10 travels as class 0.
            class: if self.class <= 10 { 0 } else { self.class },
            text: self.text.clone(),
            procedure: self.procedure.clone(),
            line,
        };
        std::iter::once(own).chain(self.then.iter().flat_map(|next| next.messages(line))).collect()
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Msg {}, Level {}, State {}: {}", self.number, self.class, self.state, self.text)
    }
}

impl std::error::Error for SqlError {}

/// Number, class, words; in order of the numbers.
const CATALOGUE: &[(i32, u8, &str)] = &[
    (102, 15, r#"Incorrect syntax near '%s'."#),
    (105, 15, r#"Unclosed quotation mark after the character string '%s'."#),
    (113, 15, r#"Missing end comment mark '*/'."#),
    (
        120,
        15,
        r#"The select list for the INSERT statement contains fewer items than the insert list. The number of SELECT values must match the number of INSERT columns."#,
    ),
    (
        121,
        15,
        r#"The select list for the INSERT statement contains more items than the insert list. The number of SELECT values must match the number of INSERT columns."#,
    ),
    (137, 15, r#"Must declare the scalar variable "%s"."#),
    (174, 15, r#"The %s function requires %s argument(s)."#),
    (195, 15, r#"'%s' is not a recognized built-in function name."#),
    (201, 16, r#"Procedure or function '%s' expects parameter '%s', which was not supplied."#),
    (
        205,
        16,
        r#"All queries combined using a UNION, INTERSECT or EXCEPT operator must have an equal number of expressions in their target lists."#,
    ),
    (207, 16, r#"Invalid column name '%s'."#),
    (208, 16, r#"Invalid object name '%s'."#),
    (209, 16, r#"Ambiguous column name '%s'."#),
    (213, 16, r#"Column name or number of supplied values does not match table definition."#),
    (226, 16, r#"%s statement not allowed within multi-statement transaction."#),
    (229, 14, r#"The %s permission was denied on the object '%s', database '%s', schema '%s'."#),
    (241, 16, r#"Conversion failed when converting date and/or time from character string."#),
    (245, 16, r#"Conversion failed when converting the %s value '%s' to data type %s."#),
    (262, 14, r#"%s permission denied in database '%s'."#),
    (297, 16, r#"The user does not have permission to perform this action."#),
    (300, 14, r#"%s permission was denied on object '%s', database '%s'."#),
    (
        512,
        16,
        r#"Subquery returned more than 1 value. This is not permitted when the subquery follows =, !=, <, <= , >, >= or when the subquery is used as an expression."#,
    ),
    (
        515,
        16,
        r#"Cannot insert the value NULL into column '%s', table '%s'; column does not allow nulls. INSERT fails."#,
    ),
    (574, 16, r#"%s statement cannot be used inside a user transaction."#),
    (596, 21, r#"Cannot continue the execution because the session is in the kill state."#),
    (911, 16, r#"Database '%s' does not exist. Make sure that the name is entered correctly."#),
    (
        916,
        14,
        r#"The server principal "%s" is not able to access the database "%s" under the current security context."#,
    ),
    (921, 14, r#"Database '%s' has not been recovered yet. Wait and try again."#),
    (922, 14, r#"Database '%s' is being recovered. Waiting until recovery is finished."#),
    (924, 14, r#"Database '%s' is already open and can only have one user at a time."#),
    (927, 14, r#"Database '%s' cannot be opened. It is in the middle of a restore."#),
    (942, 14, r#"Database '%s' cannot be opened because it is offline."#),
    (
        976,
        14,
        r#"The target database, '%s', is participating in an availability group and is currently not accessible for queries. Either data movement is suspended or the availability replica is not enabled for read access. To allow read-only access to this and other databases in the availability group, enable read access to one or more secondary availability replicas in the group.  For more information, see the ALTER AVAILABILITY GROUP statement in SQL Server Books Online."#,
    ),
    (
        978,
        14,
        r#"The target database ('%s') is in an availability group and is currently accessible for connections when the application intent is set to read only. For more information about application intent, see SQL Server Books Online."#,
    ),
    (
        983,
        14,
        r#"Unable to access availability database '%s' because the database replica is not in the PRIMARY or SECONDARY role. Connections to an availability database is permitted only when the database replica is in the PRIMARY or SECONDARY role. Try the operation again later."#,
    ),
    (
        988,
        14,
        r#"Unable to access database '%s' because it lacks a quorum of nodes for high availability. Try the operation again later."#,
    ),
    (
        1408,
        16,
        r#"The remote copy of database "%s" is not recovered far enough to enable database mirroring or to join it to the availability group. You need to apply missing log records to the remote database by restoring the current log backups from the principal/primary database."#,
    ),
    (
        1468,
        16,
        r#"The operation cannot be performed on database "%s" because it is involved in a database mirroring session or an availability group. Some operations are not allowed on a database that is participating in a database mirroring session or in an availability group."#,
    ),
    (
        1475,
        16,
        r#"Database "%s" might contain bulk logged changes that have not been backed up. Take a log backup on the principal database or primary database. Then restore this backup either on the mirror database to enable database mirroring or on every secondary database to enable you to join it to the availability group."#,
    ),
    (
        1478,
        16,
        r#"The mirror database, "%s", has insufficient transaction log data to preserve the log backup chain of the principal database.  This may happen if a log backup from the principal database has not been taken or has not been restored on the mirror database."#,
    ),
    (1801, 16, r#"Database '%s' already exists. Choose a different database name."#),
    (
        2627,
        14,
        r#"Violation of %s constraint '%s'. Cannot insert duplicate key in object '%s'. The duplicate key value is (%s)."#,
    ),
    (2714, 16, r#"There is already an object named '%s' in the database."#),
    (2812, 16, r#"Could not find stored procedure '%s'."#),
    (3013, 16, r#"%s is terminating abnormally."#),
    (3014, 0, r#"%s successfully processed %s pages in %s seconds (%s MB/sec)."#),
    (3021, 16, r#"Cannot perform a backup or restore operation within a transaction."#),
    (
        3036,
        16,
        r#"The database "%s" is in warm-standby state (set by executing RESTORE WITH STANDBY) and cannot be backed up until the entire restore sequence is completed."#,
    ),
    (3059, 16, r#"This BACKUP or RESTORE command is not supported on a database mirror or secondary replica."#),
    (3101, 16, r#"Exclusive access could not be obtained because the database is in use."#),
    (
        3102,
        16,
        r#"RESTORE cannot process database '%s' because it is in use by this session. It is recommended that the master database be used when performing this operation."#,
    ),
    (
        3104,
        16,
        r#"RESTORE cannot operate on database '%s' because it is configured for database mirroring or has joined an availability group. If you intend to restore the database, use ALTER DATABASE to remove mirroring or to remove the database from its availability group."#,
    ),
    (3117, 16, r#"The log or differential backup cannot be restored because no files are ready to rollforward."#),
    (
        3118,
        16,
        r#"The database "%s" does not exist. RESTORE can only create a database when restoring either a full backup or a file backup of the primary file."#,
    ),
    (
        3141,
        16,
        r#"The database to be restored was named '%s'. Reissue the statement using the WITH REPLACE option to overwrite the '%s' database."#,
    ),
    (3153, 16, r#"The database is already fully recovered."#),
    (3154, 16, r#"The backup set holds a backup of a database other than the existing '%s' database."#),
    (
        3159,
        16,
        r#"The tail of the log for the database "%s" has not been backed up. Use BACKUP LOG WITH NORECOVERY to backup the log if it contains work you do not want to lose. Use the WITH REPLACE or WITH STOPAT clause of the RESTORE statement to just overwrite the contents of the log."#,
    ),
    (3170, 16, r#"The STANDBY filename is invalid."#),
    (3201, 16, r#"Cannot open backup device '%s'. Operating system error %s."#),
    (3202, 16, r#"Write on "%s" failed: %s"#),
    (3203, 16, r#"Read on "%s" failed: %s"#),
    (3211, 0, r#"%s percent processed."#),
    (
        3241,
        16,
        r#"The media family on device '%s' is incorrectly formed. SQL Server cannot process this media family."#,
    ),
    (3287, 16, r#"The file ID %s on device '%s' is incorrectly formed and can not be read."#),
    (3621, 0, r#"The statement has been terminated."#),
    (3701, 11, r#"Cannot %s the %s '%s', because it does not exist or you do not have permission."#),
    (3702, 16, r#"Cannot drop database "%s" because it is currently in use."#),
    (
        3752,
        16,
        r#"The database '%s' is currently joined to an availability group.  Before you can drop the database, you need to remove it from the availability group."#,
    ),
    (3902, 16, r#"The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION."#),
    (3903, 16, r#"The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION."#),
    (3906, 16, r#"Failed to update database "%s" because the database is read-only."#),
    (
        4014,
        20,
        r#"A fatal error occurred while reading the input stream from the network. The session will be terminated (input error: %s, output error: 0)."#,
    ),
    (4060, 11, r#"Cannot open database "%s" requested by the login. The login failed."#),
    (4104, 16, r#"The multi-part identifier "%s" could not be bound."#),
    (
        4208,
        16,
        r#"The statement %s is not allowed while the recovery model is SIMPLE. Use BACKUP DATABASE or change the recovery model using ALTER DATABASE."#,
    ),
    (4214, 16, r#"BACKUP LOG cannot be performed because there is no current database backup."#),
    (
        4305,
        16,
        r#"The log in this backup set begins at LSN %s, which is too recent to apply to the database. An earlier log backup that includes LSN %s can be restored."#,
    ),
    (
        4326,
        16,
        r#"The log in this backup set terminates at LSN %s, which is too early to apply to the database. A more recent log backup that includes LSN %s can be restored."#,
    ),
    (
        4330,
        16,
        r#"This backup set cannot be applied because it is on a recovery path that is inconsistent with the database. The recovery path is the sequence of data and log backups that have brought the database to a particular recovery point. Find a compatible backup to restore, or restore the rest of the database to match a recovery point within this backup set, which will restore the database to a different point in time.  For more information about recovery paths, see SQL Server Books Online."#,
    ),
    (
        5011,
        14,
        r#"User does not have permission to alter database '%s', the database does not exist, or the database is not in a state that allows access checks."#,
    ),
    (5052, 16, r#"%s is not permitted while a database is in the %s state."#),
    (5060, 10, r#"Nonqualified transactions are being rolled back. Estimated rollback completion: %s%%."#),
    (5061, 16, r#"ALTER DATABASE failed because a lock could not be placed on database '%s'. Try again later."#),
    (5063, 16, r#"Database '%s' is in warm standby. A warm-standby database is read-only."#),
    (
        5064,
        16,
        r#"Changes to the state or options of database '%s' cannot be made at this time. The database is in single-user mode, and a user is currently connected to it."#,
    ),
    (5069, 16, r#"ALTER DATABASE statement failed."#),
    (5701, 0, r#"Changed database context to '%s'."#),
    (5703, 0, r#"Changed language setting to us_english."#),
    (6101, 16, r#"Session ID %s is not valid."#),
    (6102, 14, r#"User does not have permission to use the KILL statement."#),
    (6104, 16, r#"Cannot use KILL to kill your own process."#),
    (6106, 16, r#"Process ID %s is not an active process ID."#),
    (6107, 14, r#"Only user processes can be killed."#),
    (6115, 16, r#"KILL command cannot be used inside user transactions."#),
    (6120, 16, r#"Status report cannot be obtained. Rollback operation for Process ID %s is not in progress."#),
    (8114, 16, r#"Error converting data type %s to %s."#),
    (8115, 16, r#"Arithmetic overflow error converting %s to data type %s."#),
    (
        8120,
        16,
        r#"Column '%s' is invalid in the select list because it is not contained in either an aggregate function or the GROUP BY clause."#,
    ),
    (8134, 16, r#"Divide by zero error encountered."#),
    (8144, 16, r#"Procedure or function %s has too many arguments specified."#),
    (8145, 16, r#"%s is not a parameter for procedure %s."#),
    (8152, 16, r#"String or binary data would be truncated."#),
    (8169, 16, r#"Conversion failed when converting from a character string to uniqueidentifier."#),
    (8178, 16, r#"The parameterized query '%s' expects the parameter '%s', which was not supplied."#),
    (14260, 16, r#"You do not have sufficient permission to run this command. Contact your system administrator."#),
    (14262, 16, r#"The specified %s ('%s') does not exist."#),
    (15151, 16, r#"Cannot %s the %s '%s', because it does not exist or you do not have permission."#),
    (15247, 16, r#"User does not have permission to perform this action."#),
    (
        18401,
        14,
        r#"Login failed for user '%s'. Reason: Server is in script upgrade mode. Only administrator can connect at this time."#,
    ),
    (18456, 14, r#"Login failed for user '%s'."#),
    (18470, 14, r#"Login failed for user '%s'. Reason: The account is disabled."#),
    (
        19504,
        16,
        r#"Cannot failover availability group '%s' since it is a distributed availability group. Only force failover is supported in this version of SQL Server."#,
    ),
    (21089, 16, r#"Only members of the sysadmin fixed server role can perform this operation."#),
    (22022, 16, r#"SQLServerAgent Error: %s"#),
    (32007, 16, r#"Database %s is not ONLINE."#),
    (32009, 16, r#"Log shipping Primary Database %s does not exist."#),
    (32014, 16, r#"Database %s does not exist as log shipping secondary."#),
    (
        32023,
        16,
        r#"An entry for primary server %s, primary database %s does not exist on this secondary. Register the primary first."#,
    ),
    (
        32025,
        16,
        r#"Primary Database %s has active log shipping secondary database(s). Drop the secondary database(s) first."#,
    ),
    (
        35208,
        16,
        r#"Availability-group DDL operations are permitted only when you are using the master database.  Run the USE master statement, and retry your availability-group DDL command."#,
    ),
    (
        35210,
        16,
        r#"Failed to modify options for availability replica '%s' in availability group '%s'. Before the availability group configuration could be updated, the operation encountered SQL Server error %s. When this error has been resolved, retry the operation."#,
    ),
    (
        35211,
        16,
        r#"The %s operation is not allowed. The operation attempted to change the configuration of availability replica '%s' to the asynchronous-commit availability mode with automatic failover, which is an invalid configuration. Either change the failover mode to manual or the availability mode to synchronous commit, and retry the operation."#,
    ),
    (
        35212,
        16,
        r#"The %s operation is not allowed by the current availability-group configuration. This operation would exceed the maximum number of %s synchronous-commit availability replicas in availability group '%s'."#,
    ),
    (
        35213,
        16,
        r#"The %s operation is not allowed by the current availability-group configuration. This operation would exceed the maximum number of %s automatic failover targets in availability group '%s'."#,
    ),
    (
        35220,
        16,
        r#"Could not process the operation. Always On Availability Groups replica manager is waiting for the host computer to start a Windows Server Failover Clustering (WSFC) cluster and join it. Either the local computer is not a cluster node, or the local cluster node is not online."#,
    ),
    (
        35221,
        16,
        r#"Could not process the operation. Always On Availability Groups replica manager is disabled on this instance of SQL Server. Enable Always On Availability Groups, by using the SQL Server Configuration Manager. Then, restart the SQL Server service, and retry the currently operation."#,
    ),
    (35236, 15, r#"The endpoint URL specified for the availability replica %s is invalid."#),
    (
        35239,
        16,
        r#"The ALTER DATABASE <database-name> SET HADR SUSPEND (or SET HADR RESUME) statement failed on database '%s' of availability group '%s'. Either the availability group does not contain the specified database, or the database has not joined the availability group, or the database has not yet started. Reenter the command after the database is online and has joined the availability group."#,
    ),
    (
        35240,
        16,
        r#"Database '%s' cannot be joined to or unjoined from availability group '%s'. This operation is not supported on the primary replica of the availability group."#,
    ),
    (
        35242,
        16,
        r#"Cannot complete this ALTER DATABASE <database-name> SET HADR operation on database '%s'.  The database is not joined to an availability group.  After the database has joined the availability group, retry the command."#,
    ),
    (
        35244,
        16,
        r#"Database '%s' cannot be added to availability group '%s'.  The database is currently joined to another availability group.  Verify that the database name is correct and that the database is not joined to an availability group, then retry the operation."#,
    ),
    (
        35248,
        16,
        r#"The value specified for required_synchronized_secondaries_to_commit (%s) is too large for availability group '%s'."#,
    ),
    (35250, 16, r#"The connection to the primary replica is not active.  The command cannot be processed."#),
    (
        35251,
        16,
        r#"This command can be run only on the primary replica.  Connect to the primary replica, and retry the command."#,
    ),
    (
        35252,
        16,
        r#"The command can only be run on a secondary database. Connect to the correct secondary replica, and retry the command."#,
    ),
    (
        35253,
        16,
        r#"Database "%s" is not in the correct state to become the primary database. The log must be restored from a previous primary replica to bring the database out of the reinitializing state."#,
    ),
    (
        41100,
        16,
        r#"The availability group '%s' and/or its local availability replica does not exist.  Verify that the specified availability group name is correct, and that the local availability replica has joined the availability group, then retry the operation."#,
    ),
    (
        41104,
        16,
        r#"Failover of the availability group '%s' to the local replica failed because the availability group resource did not come online due to a previous error. To identify that error, check the SQL Server error log and the Windows Server Failover Cluster logs and system event logs."#,
    ),
    (
        41105,
        16,
        r#"Failed to create the Windows Server Failover Clustering (WSFC) resource with name '%s' and type '%s'."#,
    ),
    (
        41113,
        16,
        r#"Cannot failover availability group '%s' to this instance of SQL Server because a failover command is already pending on the local replica of this availability group. Wait for the pending failover command to complete before issuing another command on the local replica of this availability group."#,
    ),
    (
        41122,
        16,
        r#"Cannot failover availability group '%s' to this instance of SQL Server.  The local availability replica is already the primary replica of the availability group.  To failover this availability group to another instance of SQL Server, run the failover command on that instance of SQL Server.  If local instance of SQL Server is intended to host the primary replica of the availability group, then no action is required."#,
    ),
    (
        41125,
        16,
        r#"The local replica of availability group '%s' cannot become the primary replica because the WSFC cluster was started in Force Quorum mode. Consider performing a forced manual failover (with possible data loss). For information about how to force failover, see SQL Server Books Online."#,
    ),
    (
        41131,
        16,
        r#"Failed to bring availability group '%s' online.  The operation timed out. If this is a Windows Server Failover Clustering (WSFC) availability group, verify that the local WSFC node is online. Then verify that the availability group resource exists in the WSFC cluster. If the problem persists, you might need to drop the availability group and create it again."#,
    ),
    (
        41134,
        16,
        r#"Cannot bring the availability group '%s' online.  The local instance was not the previous primary replica when the availability group went offline, not all databases are synchronized, and no force failover command was issued on the local availability replica. To designate the local availability replica as the primary replica of the availability group, run the force failover command on this replica."#,
    ),
    (
        41138,
        17,
        r#"Cannot accept availability group request. The local replica or database is processing another operation. Retry the operation later."#,
    ),
    (
        41140,
        16,
        r#"Availability group '%s' cannot process the ALTER AVAILABILITY GROUP command, because the local availability replica is not the primary replica.  Connect to the server instance that is currently hosting the primary replica of this availability group, and rerun the command."#,
    ),
    (
        41142,
        16,
        r#"The availability replica for availability group '%s' on this instance of SQL Server cannot become the primary replica. One or more databases are not synchronized or have not joined the availability group. If the availability replica uses the asynchronous-commit mode, consider performing a forced manual failover (with possible data loss). Otherwise, once all local secondary databases are joined and synchronized, you can perform a planned manual failover to this secondary replica (without data loss). For more information, see SQL Server Books Online."#,
    ),
    (
        41145,
        10,
        r#"Cannot join database '%s' to availability group '%s'.  The database has already joined the availability group.  This is an informational message.  No user action is required."#,
    ),
    (
        41148,
        16,
        r#"Cannot add or join database '%s' to availability group '%s'. The database does not exist on this instance of SQL Server. Verify that the database name is correct and that the database exists on the server instance. Then retry the operation, specifying the correct database name."#,
    ),
    (
        41149,
        16,
        r#"Operation on availability group '%s' has been cancelled or terminated, either because of a connection timeout or cancellation by user. This is an informational message. No user action is required."#,
    ),
    (
        41158,
        16,
        r#"Failed to join local availability replica to availability group '%s'.  The operation encountered SQL Server error %s and has been rolled back.  Check the SQL Server error log for more details.  When the cause of the error has been resolved, retry the ALTER AVAILABILITY GROUP JOIN command."#,
    ),
    (
        41167,
        16,
        r#"Availability replica '%s' cannot be found in availability group '%s'.  Verify that the availability group name and availability replica name are correct, then retry the command."#,
    ),
    (
        41185,
        10,
        r#"Replica option specified in ALTER AVAILABILITY GROUP '%s' MODIFY DDL is same as cached availability group configuration."#,
    ),
    (
        41190,
        16,
        r#"Availability group '%s' failed to process %s command. The local availability replica is not in a state that could process the command. Verify that the availability group is online and that the local availability replica is the primary replica, then retry the command."#,
    ),
    (
        47101,
        16,
        r#"Failover mode MANUAL is the only mode supported for availability groups with CLUSTER_TYPE = NONE (replica '%s')."#,
    ),
    (
        47102,
        16,
        r#"Failover mode EXTERNAL is the only mode supported for availability groups with CLUSTER_TYPE = EXTERNAL (replica '%s')."#,
    ),
    (
        47103,
        16,
        r#"Failover mode EXTERNAL is not supported for availability groups of this cluster type (replica '%s')."#,
    ),
    (
        47104,
        16,
        r#"This operation cannot be performed on the availability group '%s' because it has EXTERNAL cluster type. Use the cluster management tools to perform the operation."#,
    ),
    (
        47106,
        16,
        r#"Cannot join availability group '%s'. Download configuration timeout. Please check primary configuration, network connectivity and firewall setup, then retry the operation."#,
    ),
    (
        47109,
        16,
        r#"Availability group '%s' cannot failover to this replica. Configuration-only replica cannot become primary. An attempt to fail over an availability group to a replica that is not allowed to become primary."#,
    ),
    (
        47115,
        16,
        r#"The '%s' option is not valid for WSFC availability group '%s'. Remove the option and retry the operation."#,
    ),
    (
        47122,
        16,
        r#"Cannot failover an availability replica for availability group '%s' since it has CLUSTER_TYPE = NONE. Only force failover is supported in this version of SQL Server."#,
    ),
    (50000, 16, r#"%s"#),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_in_order_and_fills_in_values() {
        assert!(CATALOGUE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(SqlError::new(207, &["x"]).text, "Invalid column name 'x'.");
        assert!(SqlError::new(5060, &["100"]).text.ends_with("completion: 100%."));
        let numbers: Vec<i32> = SqlError::new(4305, &["1", "2"])
            .terminating("RESTORE LOG")
            .messages(1)
            .iter()
            .map(|one| one.number)
            .collect();
        assert_eq!(numbers, [4305, 3013]);
    }
}
