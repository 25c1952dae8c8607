//! SQL Server's actions: availability groups, backups, log shipping. One file for each thing that is done.
//!
//! Every action on a group reads what every replica says of itself, decides, sends at most one kind of statement, and counts it
//! as done when the replicas say so. A statement's return is never success, and its error never failure, before they were asked.

use baton_model::outcome::Fault;

mod backup;
pub mod chain;
mod copy_of;
mod decide;
mod failover;
mod force_failover;
mod instance;
mod kill_connections;
mod log_shipping;
mod look;
mod membership;
mod movement;
mod pursuit;
mod restore;
mod restoring;
mod role;
mod sample;
mod send;
mod sessions;
mod set_mode;
mod state;
mod synchronized;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) mod trial;

/// Follows a change of role that is under way already; it is never sent from here.
fn watching<'a>(
    group: &'a str,
    now: &state::GroupState,
    words: &'static str,
    verdict: fn(&state::GroupState) -> Result<decide::Way, Fault>,
) -> pursuit::Pursuit<'a> {
    let own = decide::own(now).ok();
    let start = decide::Start {
        target: own.map(|replica| replica.name.clone()).unwrap_or_default(),
        from: None,
        cluster: own.map_or(state::Cluster::Wsfc, |replica| replica.cluster),
    };
    pursuit::Pursuit { group, start, words, verdict }
}

/// One function an action.
pub mod bind {
    use baton_model::{action::mssql::*, outcome::Fault};

    use super::{super::Perform, backup, log_shipping, restore};

    pub fn ag_synchronized(params: &AgSynchronized) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn ag_role(params: &AgRole) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn ag_sample(params: &AgSample) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn ag_failover(params: &AgFailover) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn ag_force_failover(params: &AgForceFailover) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn ag_resume(params: &AgResume) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn ag_suspend(params: &AgSuspend) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn ag_set_mode(params: &AgSetMode) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn ag_add(params: &AgAdd) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn ag_join(params: &AgJoin) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn ag_leave(params: &AgLeave) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn backup(params: &Backup) -> Result<Box<dyn Perform>, Fault> {
        backup::bind(params)
    }
    pub fn restore(params: &Restore) -> Result<Box<dyn Perform>, Fault> {
        restore::bind(params)
    }
    pub fn kill_connections(params: &KillConnections) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn log_shipping_state(params: &LogShippingState) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn log_shipping_remove(params: &LogShippingRemove) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn log_shipping_copy(params: &LogShippingCopy) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn log_shipping_apply(params: &LogShippingApply) -> Result<Box<dyn Perform>, Fault> {
        log_shipping::apply::bind(params)
    }
    pub fn log_shipping_recover(params: &LogShippingRecover) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn log_shipping_primary(params: &LogShippingPrimary) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
    pub fn log_shipping_secondary(params: &LogShippingSecondary) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(params.clone()))
    }
}
