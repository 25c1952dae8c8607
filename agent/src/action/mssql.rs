//! SQL Server's actions. Being built.

use baton_model::outcome::Fault;

use super::Perform;

mod chain;

fn absent(name: &str) -> Result<Box<dyn Perform>, Fault> {
    Err(Fault::new("BTN-0498", format!("{name} is not built into this agent"), "Use a newer agent."))
}

/// One function an action.
pub mod bind {
    use baton_model::{action::mssql::*, outcome::Fault};

    use super::{super::Perform, absent};

    pub fn ag_synchronized(_params: &AgSynchronized) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.ag.synchronized")
    }
    pub fn ag_role(_params: &AgRole) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.ag.role")
    }
    pub fn ag_sample(_params: &AgSample) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.ag.sample")
    }
    pub fn ag_failover(_params: &AgFailover) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.ag.failover")
    }
    pub fn ag_force_failover(_params: &AgForceFailover) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.ag.force_failover")
    }
    pub fn ag_resume(_params: &AgResume) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.ag.resume")
    }
    pub fn ag_suspend(_params: &AgSuspend) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.ag.suspend")
    }
    pub fn ag_set_mode(_params: &AgSetMode) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.ag.set_mode")
    }
    pub fn ag_add(_params: &AgAdd) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.ag.add")
    }
    pub fn ag_join(_params: &AgJoin) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.ag.join")
    }
    pub fn ag_leave(_params: &AgLeave) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.ag.leave")
    }
    pub fn backup(_params: &Backup) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.backup")
    }
    pub fn restore(_params: &Restore) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.restore")
    }
    pub fn kill_connections(_params: &KillConnections) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.kill_connections")
    }
    pub fn log_shipping_state(_params: &LogShippingState) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.log_shipping.state")
    }
    pub fn log_shipping_remove(_params: &LogShippingRemove) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.log_shipping.remove")
    }
    pub fn log_shipping_copy(_params: &LogShippingCopy) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.log_shipping.copy")
    }
    pub fn log_shipping_apply(_params: &LogShippingApply) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.log_shipping.apply")
    }
    pub fn log_shipping_recover(_params: &LogShippingRecover) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.log_shipping.recover")
    }
    pub fn log_shipping_primary(_params: &LogShippingPrimary) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.log_shipping.primary")
    }
    pub fn log_shipping_secondary(_params: &LogShippingSecondary) -> Result<Box<dyn Perform>, Fault> {
        absent("mssql.log_shipping.secondary")
    }
}
