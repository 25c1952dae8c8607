//! What a host did on its own account: each deed once, however often it is told.

use baton_model::{assignment::Deed, ids::HostName, outcome::Fault};

use crate::{
    command::Answer,
    state::{
        State,
        automatic::{ALERTS_MAX, Alert},
    },
};

use super::{Context, confirm_cause::within};

/// Deeds in one entry.
const DEEDS_MAX: usize = 64;

pub(super) fn record(
    state: &mut State,
    context: &Context<'_>,
    host: &HostName,
    deeds: &[Deed],
) -> Result<Answer, Fault> {
    if deeds.len() > DEEDS_MAX {
        return Err(Fault::new(
            "BTN-0120",
            format!("{host} tells of {} deeds at once; at most {DEEDS_MAX}.", deeds.len()),
            "This is a defect; report it.",
        ));
    }
    let mut recorded = false;
    for deed in deeds {
        // A group that is gone, or never had this host: heard, and of no further use.
        let Some(group) = state.groups.get_mut(&deed.group) else { continue };
        if !group.definition.hosts.contains(host) {
            continue;
        }
        let heard = group.alerts.heard.entry(host.clone()).or_default();
        if deed.number <= *heard {
            continue;
        }
        *heard = deed.number;
        if group.alerts.latest.len() == ALERTS_MAX {
            group.alerts.latest.pop_front();
        }
        let deed = Deed { what: within(&deed.what), ..deed.clone() };
        group.alerts.latest.push_back(Alert { host: host.clone(), deed, recorded: context.author.when });
        recorded = true;
    }
    Ok(if recorded { Answer::Done } else { Answer::Already })
}
