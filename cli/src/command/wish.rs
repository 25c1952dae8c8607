//! What an operator wishes to be planned: the arguments that `plan`, `switchover`, `failover` and `run` share.

use baton_model::ids::{GroupName, MemberName};
use baton_proto::v1::PlanRequest;
use clap::Args;

use crate::arguments::Assignment;

#[derive(Debug, Clone, Args)]
pub struct Wish {
    /// The member that becomes primary; needed where there is more than one other
    #[arg(long, value_name = "MEMBER")]
    to: Option<MemberName>,
    /// An input of the runbook; repeat it for several
    #[arg(short, long = "input", value_name = "NAME=VALUE")]
    inputs: Vec<Assignment>,
    /// Why, for the record
    #[arg(short, long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Lift a guard for this one run, with the reason; repeat it for several
    #[arg(long = "override", value_name = "GUARD=REASON")]
    overrides: Vec<Assignment>,
}

impl Wish {
    /// Inputs go as they were typed: the runbook says what type each has.
    pub fn request(&self, group: &GroupName, runbook: &str) -> PlanRequest {
        let pairs = |list: &[Assignment]| list.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect();
        PlanRequest {
            group: group.to_string(),
            runbook: runbook.to_owned(),
            to: self.to.as_ref().map(ToString::to_string).unwrap_or_default(),
            inputs: pairs(&self.inputs),
            reason: self.reason.clone(),
            overrides: pairs(&self.overrides),
            observe: true,
            accept_data_loss: false,
        }
    }
}
