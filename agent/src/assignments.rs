//! Which assignments are taken: what this host is to its groups, as a coordinator says it.
//!
//! Pure, and apart from the orders: nothing here makes a task due. It must never take an older word for a newer one.

use std::{collections::BTreeSet, sync::Arc};

use baton_model::{assignment::Assignment, group::Lease, ids::GroupName, outcome::Fault, time::Span};
use baton_wire::assignment::Assigning;

use crate::{
    decide,
    ledger::{Assigned, Change, Ledger},
};

/// What must be on disk before it takes effect and is answered; or why it is not taken.
pub fn admit(ledger: &Ledger, from: &str, assigning: &Assigning) -> Result<Vec<Change>, Fault> {
    let fence = assigning.fence;
    decide::obeys(ledger, from, fence.reign())?;
    let seen = &ledger.assigned;
    if (fence.generation, fence.index) < (seen.generation, seen.index) {
        let message = format!(
            "the assignment is of index {}.{}, and this host has one of {}.{}",
            fence.generation, fence.index, seen.generation, seen.index
        );
        return Err(Fault::new("BTN-0444", message, ""));
    }
    let mut groups = BTreeSet::new();
    for assignment in &assigning.assignments {
        if !groups.insert(&assignment.group) {
            let message = format!("group {} is assigned twice in one message", assignment.group);
            return Err(Fault::new("BTN-0444", message, "Install the same version on agents and coordinators."));
        }
        if assignment.index > fence.index {
            let message = format!(
                "the assignment of {} is of index {}, and came with one of {}",
                assignment.group, assignment.index, fence.index
            );
            return Err(Fault::new("BTN-0444", message, "Install the same version on agents and coordinators."));
        }
        let known = seen.of(&assignment.group).filter(|_| fence.generation == seen.generation);
        if let Some(known) = known.filter(|known| assignment.index < known.index || assignment.epoch < known.epoch) {
            let message = format!(
                "the assignment of {} is of index {} and epoch {}, and this host has one of index {} and epoch {}",
                assignment.group, assignment.index, assignment.epoch, known.index, known.epoch
            );
            return Err(Fault::new("BTN-0444", message, ""));
        }
    }
    let assigned = Assigned { generation: fence.generation, index: fence.index, list: assigning.assignments.clone() };
    if assigned == **seen {
        return Ok(Vec::new());
    }
    Ok(vec![Change::Assignments(Arc::new(assigned))])
}

impl Assigned {
    pub fn of(&self, group: &GroupName) -> Option<&Assignment> {
        self.list.iter().find(|assignment| assignment.group == *group)
    }
    pub fn lease(&self, group: &GroupName) -> Option<Lease> {
        self.of(group).and_then(|assignment| assignment.lease)
    }
}

/// The shortest lease among these groups: for so long at most a host goes by what it was told.
pub fn shortest(list: &[Assignment]) -> Option<Span> {
    list.iter().filter_map(|assignment| assignment.lease).map(|lease| lease.lasts).min()
}

#[cfg(test)]
mod tests;
