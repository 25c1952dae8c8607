//! `exec.powershell`. Being built.

use baton_model::{action::exec::Powershell, outcome::Fault};

use super::Perform;

pub fn bind(_params: &Powershell) -> Result<Box<dyn Perform>, Fault> {
    Err(Fault::new("BTN-0498", "exec.powershell is not built into this agent", "Use a newer agent."))
}
