//! Asking every instance of a group what it says of itself, each with a bound of its own, all at once.
//!
//! Apart because it is the only thing that reads a group's state: every action decides on what stands in a [`GroupState`].
//! It must never change anything, and never wait for one instance longer than an answer takes.

use std::time::Duration;

use baton_model::{action::sql::Connection, outcome::Fault};
use futures::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    decide::two_primaries,
    state::{GroupState, Told, Views},
};
use crate::{
    action::{
        Context,
        sql::sqlserver::{fault, target},
    },
    host::sqlserver::{Error, Limits, Row, Session, Target},
};

/// How long an instance that is connected may take to answer five small queries.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// While a role moves, an old and a new word may be read side by side: two primaries are looked at again before they count.
const DOUBT_EVERY: Duration = Duration::from_millis(400);
const DOUBT: Duration = Duration::from_secs(4);

const OWN: &str = "SELECT ar.replica_server_name, ag.cluster_type, rs.role, rs.operational_state, rs.connected_state, \
    rs.synchronization_health, gs.primary_replica \
    FROM sys.availability_groups AS ag \
    JOIN sys.dm_hadr_availability_replica_states AS rs ON rs.group_id = ag.group_id AND rs.is_local = 1 \
    JOIN sys.availability_replicas AS ar ON ar.replica_id = rs.replica_id \
    LEFT JOIN sys.dm_hadr_availability_group_states AS gs ON gs.group_id = ag.group_id \
    WHERE ag.name = @P1";
const MODES: &str = "SELECT ar.replica_server_name, ar.availability_mode, ar.failover_mode \
    FROM sys.availability_replicas AS ar \
    JOIN sys.availability_groups AS ag ON ag.group_id = ar.group_id \
    WHERE ag.name = @P1";
const DATABASES: &str = "SELECT adc.database_name \
    FROM sys.availability_databases_cluster AS adc \
    JOIN sys.availability_groups AS ag ON ag.group_id = adc.group_id \
    WHERE ag.name = @P1";
const COPIES: &str = "SELECT adc.database_name, ar.replica_server_name, drs.is_local, drs.synchronization_state, \
    drs.is_suspended, drs.suspend_reason_desc, drs.database_state, drs.last_hardened_lsn, drs.end_of_log_lsn, \
    drs.recovery_lsn, drs.last_commit_time, drs.log_send_queue_size, drs.log_send_rate, drs.redo_queue_size \
    FROM sys.dm_hadr_database_replica_states AS drs \
    JOIN sys.availability_databases_cluster AS adc ON adc.group_database_id = drs.group_database_id \
    JOIN sys.availability_replicas AS ar ON ar.replica_id = drs.replica_id \
    JOIN sys.availability_groups AS ag ON ag.group_id = drs.group_id \
    WHERE ag.name = @P1";
const MEMBERSHIPS: &str = "SELECT cs.database_name, ar.replica_server_name, cs.is_failover_ready, cs.is_database_joined \
    FROM sys.dm_hadr_database_replica_cluster_states AS cs \
    JOIN sys.availability_replicas AS ar ON ar.replica_id = cs.replica_id \
    JOIN sys.availability_groups AS ag ON ag.group_id = ar.group_id \
    WHERE ag.name = @P1";
/// Instances before 2017 have no such column, and every group is the cluster's.
const CLUSTER_TYPE: &str = "ag.cluster_type";
const INVALID_COLUMN: u32 = 207;

/// One instance, and the session on which it is asked.
struct Seat {
    name: String,
    target: Target,
    session: Option<Session>,
}

/// The instances of one group. Sessions are kept between looks.
pub struct Eyes {
    group: String,
    seats: Vec<Seat>,
}

impl Eyes {
    /// `connection` is the instance that the action is about; it need not be among `replicas`.
    pub async fn new(
        group: &str,
        connection: &Connection,
        replicas: &[Connection],
        context: &Context,
    ) -> Result<Self, Fault> {
        let mut seats: Vec<Seat> = Vec::new();
        for connection in std::iter::once(connection).chain(replicas) {
            let target = target(connection, context).await?;
            if !target.database.eq_ignore_ascii_case("master") {
                // DDL on groups is permitted there only (35208), and what the policy names is what is entered.
                let message = format!(
                    "the connection to {target} enters {}, and a group's statements go to master",
                    target.database
                );
                return Err(Fault::new("BTN-0614", message, "database: master in the connection."));
            }
            if !seats.iter().any(|seat| seat.target.host == target.host && seat.target.port == target.port) {
                seats.push(Seat { name: connection.instance().to_owned(), target, session: None });
            }
        }
        Ok(Self { group: group.to_owned(), seats })
    }

    /// The instance that the action is about.
    pub fn own(&self) -> &Target {
        &self.seats[0].target
    }

    /// Where to reach the replica of this name.
    pub fn target_of(&self, state: &GroupState, name: &str) -> Option<&Target> {
        let at = state.told.iter().position(|(_, told)| match told {
            Told::Said(replica) => super::state::same(&replica.name, name),
            Told::Absent | Told::Silent(_) => false,
        })?;
        self.seats.get(at).map(|seat| &seat.target)
    }

    /// Everybody's word. Two primaries that stay are the fault, whatever was asked.
    pub async fn look(&mut self) -> Result<GroupState, Fault> {
        let doubted_until = Instant::now() + DOUBT;
        loop {
            let state = self.glance().await;
            match two_primaries(&state) {
                None => return Ok(state),
                Some(fault) if Instant::now() >= doubted_until => return Err(fault),
                Some(_) => tokio::time::sleep(DOUBT_EVERY).await,
            }
        }
    }

    /// Everybody's word as it comes; while a role moves, an old and a new one may stand side by side.
    pub async fn glance(&mut self) -> GroupState {
        let group = self.group.clone();
        let told = join_all(self.seats.iter_mut().map(|seat| {
            let group = &group;
            async move { (seat.name.clone(), seat.ask(group).await) }
        }));
        GroupState { group: group.clone(), told: told.await }
    }
}

impl Seat {
    async fn ask(&mut self, group: &str) -> Told {
        let within = self.target.connect_timeout + ANSWER_WITHIN;
        // Not the task's limits: what a group says is asked for even when the task's time is over, to know how it ended.
        let limits = Limits { cancel: CancellationToken::new(), deadline: Instant::now() + within };
        let mut answer = self.views(group, &limits).await;
        if matches!(answer, Err(Error::Broken { .. })) {
            // The session of an earlier look, cut by a change of role: no word on the instance yet.
            answer = self.views(group, &limits).await;
        }
        match answer {
            Ok(views) => views.read().map_or(Told::Absent, |replica| Told::Said(Box::new(replica))),
            Err(error) => Told::Silent(fault(&error)),
        }
    }

    async fn views(&mut self, group: &str, limits: &Limits) -> Result<Views, Error> {
        let mut session = match self.session.take().filter(|session| !session.is_over()) {
            Some(mut session) => {
                session.limit(limits.clone());
                session
            }
            None => Session::open(&self.target, limits).await?,
        };
        let group = [group.into()];
        let own = match session.rows(OWN, &group).await {
            Err(error) if error.number() == Some(INVALID_COLUMN) => {
                let older = OWN.replace(CLUSTER_TYPE, "0 AS cluster_type");
                session.rows(&older, &group).await?
            }
            other => other?,
        };
        let mut ask = async |sql: &str| -> Result<Vec<Row>, Error> { session.rows(sql, &group).await };
        let views = Views {
            own,
            modes: ask(MODES).await?,
            databases: ask(DATABASES).await?,
            copies: ask(COPIES).await?,
            memberships: ask(MEMBERSHIPS).await?,
        };
        self.session = Some(session);
        Ok(views)
    }
}
