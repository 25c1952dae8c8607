//! A query and its expectation: what `sql.query` asks, asked once on a connection of its own.
//!
//! Apart because a server's silence and an expectation that cannot be evaluated are both faults there, and here they are opposites.
//! A kept connection would answer faster, and would hide a server that takes no new ones.

use baton_model::{
    action::sql::Query,
    outcome::{Fault, Observation},
};

use super::Answer;
use crate::action::{Context, Perform};

/// Faults of the question and not of the server: its authority's file, its login, its parameters, its expectation, a secret, an end
/// from outside.
const OURS: [&str; 14] = [
    "BTN-0420", "BTN-0421", "BTN-0422", "BTN-0423", "BTN-0602", "BTN-0603", "BTN-0612", "BTN-0613", "BTN-0614",
    "BTN-0615", "BTN-0711", "BTN-0715", "BTN-0717", "BTN-0722",
];

pub(super) async fn ask(query: &Query, context: &Context) -> Answer {
    match query.observe(context).await {
        Ok(Observation::InPlace { note }) => Answer::Healthy(note),
        Ok(Observation::Differs { change }) => Answer::Unhealthy(change),
        Ok(Observation::CannotTell { why }) => Answer::CannotTell(why),
        Err(fault) if is_ours(&fault) => Answer::CannotTell(fault.to_string()),
        Err(fault) => Answer::Unhealthy(fault.to_string()),
    }
}

fn is_ours(fault: &Fault) -> bool {
    // PostgreSQL refuses a password, or a host and user that it does not know, while one connects: by SQLSTATE, as the fault shows it.
    let refused = || ["(28P01)", "(28000)"].iter().any(|state| fault.message.contains(state));
    OURS.contains(&fault.code.as_str()) || (fault.code == "BTN-0710" && refused())
}
